import { parentPort } from "node:worker_threads"
import { onWorker } from "./Jobs.ts"
import type { Kind } from "./Runner.ts"
import { ownMemory, packFailure, type Reply, type Request, ready } from "./Wire.ts"

/** Entry point of a worker thread: one piece of work after the other, until the thread is terminated. */
const never = new AbortController().signal

const answer = async <K extends Kind>({ kind, input }: Request<K>): Promise<Reply<K>> => {
  try {
    return { ok: true, value: await onWorker.run(kind, input, never) }
  } catch (cause) {
    return { ok: false, failure: packFailure(cause) }
  }
}

const reply = async (request: Request<Kind>): Promise<void> => {
  const message = await answer(request)
  try {
    parentPort?.postMessage(message, message.ok ? ownMemory(message.value) : [])
  } catch (cause) {
    // A result that cannot be sent: whoever waits for it has to hear that.
    parentPort?.postMessage({ ok: false, failure: packFailure(cause) })
  }
}

let last = Promise.resolve()
parentPort?.on("message", (request: Request<Kind>) => {
  last = last.then(() => reply(request))
})
parentPort?.postMessage(ready)
