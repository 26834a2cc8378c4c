/** A piece of memory that all threads see: a thread's result goes there, so that nothing is sent or allocated anew. */
export type Slot = Uint8Array

/** Slots that are used again and again: fresh memory costs more than what is done in it. */
interface Slots {
  readonly take: () => Slot
  readonly give: (slot: Slot) => void
}

/** Slots of `size` bytes, made as they are needed. */
export const makeSlots = (size: number): Slots => {
  const free: Array<Slot> = []
  return {
    take: () => free.pop() ?? new Uint8Array(new SharedArrayBuffer(size)),
    give: (slot) => {
      free.push(slot)
    }
  }
}
