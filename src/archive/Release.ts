import { MessageChannel } from "node:worker_threads"
import { ownBuffer } from "../workers/Memory.ts"

/** Nobody listens, and nothing is kept for later. */
const { port1: nowhere } = new MessageChannel()
nowhere.close()

/** Less than this is not worth the call. */
const worthwhile = 64 * 1024

/**
 * Gives memory back at once that nothing uses any more: left to the garbage collector, a thread would gather tens of
 * megabytes of it first, and fresh memory costs more than what is done in it. Memory that is sent away belongs to
 * the message, and what is sent to a closed port is dropped. `bytes` cannot be used afterwards, unless they share their
 * memory with others: then it stays as it is. `allocated` as for {@link ownBuffer}.
 */
export const release = (bytes: Uint8Array, allocated?: number): void => {
  const memory = ownBuffer(bytes, allocated)
  if (memory !== undefined && memory.byteLength >= worthwhile) nowhere.postMessage(undefined, [memory])
}
