/** A thread at one moment, as the kernel tells of it. */
export interface ThreadLook {
  /** Process and thread. */
  readonly id: string
  /** Its program. */
  readonly name: string
  /** It waits in the kernel for something that no signal ends: Linux calls that "disk sleep". */
  readonly waiting: boolean
  /** How often it has been put to sleep so far. */
  readonly switches: number
}

/** A thread that has been found waiting, look after look, without doing anything in between. */
interface Wait {
  readonly name: string
  readonly looks: number
  /** At the first of them. */
  readonly switches: number
}

/** The waits of threads, by their ids. */
export type Waits = ReadonlyMap<string, Wait>

/** Reads `/proc/PID/task/TID/status`; undefined when it does not say. */
export const readThread = (id: string, status: string): ThreadLook | undefined => {
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S.*)$`, "m").exec(status)?.[1]
  const state = field("State")
  const switches = Number(field("voluntary_ctxt_switches"))
  if (state === undefined || !Number.isSafeInteger(switches)) return undefined
  return { id, name: field("Name") ?? "", waiting: state.startsWith("D"), switches }
}

/**
 * What is known after one more look. Disks that are slow let a thread go on between two looks; ZFS wakes one that waits for a
 * pool every few minutes, only to wait on, and that is none.
 */
export const lookAgain = (before: Waits, threads: ReadonlyArray<ThreadLook>): Waits => {
  const after = new Map<string, Wait>()
  for (const { id, name, switches, waiting } of threads) {
    if (!waiting) continue
    const known = before.get(id)
    const still = known !== undefined && switches - known.switches < known.looks
    after.set(id, still ? { ...known, looks: known.looks + 1 } : { name, looks: 1, switches })
  }
  return after
}

/** The first of those that waited for that many looks. */
export const stalled = (waits: Waits, looks: number): Wait | undefined =>
  [...waits.values()].find((wait) => wait.looks >= looks)
