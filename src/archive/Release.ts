import { MessageChannel } from "node:worker_threads"

/** Nobody listens, and nothing is kept for later. */
const { port1: nowhere } = new MessageChannel()
nowhere.close()

/** Less than this is not worth the call. */
const worthwhile = 64 * 1024

/**
 * Gives memory back at once that nobody uses any more: left to the garbage collector, a thread would gather tens of
 * megabytes of it first, and fresh memory costs more than what is done in it. Memory that is sent away belongs to
 * the message, and what is sent to a closed port is dropped. `memory` cannot be used afterwards.
 */
export const release = (memory: ArrayBufferLike): void => {
  if (memory instanceof ArrayBuffer && memory.byteLength >= worthwhile)
    nowhere.postMessage(undefined, [memory])
}
