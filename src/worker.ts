import { parentPort } from "node:worker_threads"
import { list } from "./source/List.ts"
import { follow, hash } from "./system/Digests.ts"
import { blockingCalls } from "./system/FileCalls.ts"
import { ownMemory, packFailure, type Reply, type Request, ready, type WorkerJob } from "./system/WorkerJob.ts"
import { compressBlock, compressFiles, sampleMethod } from "./zip/Compress.ts"
import { extractSlice } from "./zip/ExtractFiles.ts"
import { finishFolders, makeFolders, syncFolders } from "./zip/ExtractFolders.ts"
import { auditSlice, verifySlice } from "./zip/VerifyZip.ts"

/** Entry point of a worker thread: one piece of work after the other, until the thread is terminated. */
const jobs: ReadonlyArray<WorkerJob<never, unknown>> = [
  compressFiles,
  sampleMethod,
  compressBlock,
  verifySlice,
  auditSlice,
  makeFolders,
  extractSlice,
  finishFolders,
  syncFolders,
  list,
  hash,
  follow
]

const jobOf = new Map(jobs.map((job) => [job.name, job]))

const never = new AbortController().signal

const answer = async ({ input, name }: Request<never>): Promise<Reply<unknown>> => {
  const job = jobOf.get(name)
  try {
    if (job === undefined) throw new Error(`there is no job ${name}`)
    return { ok: true, value: await job.work(input, blockingCalls, never) }
  } catch (cause) {
    return { ok: false, failure: packFailure(cause, job?.failures) }
  }
}

const reply = async (request: Request<never>): Promise<void> => {
  const message = await answer(request)
  try {
    parentPort?.postMessage(message, message.ok ? ownMemory(message.value) : [])
  } catch (cause) {
    // The result cannot be sent: the main thread, which waits for it, gets that instead.
    parentPort?.postMessage({ ok: false, failure: packFailure(cause) })
  }
}

let last = Promise.resolve()
parentPort?.on("message", (request: Request<never>) => {
  last = last.then(() => reply(request))
})
parentPort?.postMessage(ready)
