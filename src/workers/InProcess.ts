import * as Directories from "./DirectoryCalls.ts"
import * as Contents from "./FileCalls.ts"
import { type Files, type Runner, WorkerEnded } from "./Runner.ts"

const files: Files = { ...Contents.waiting, ...Directories.waiting }

/** Does all work on this thread. */
export const inProcess: Runner = {
  width: 1,
  followers: 0,
  run: (job, input, signal) =>
    job.kind === "follower"
      ? // It would stop the thread that writes the file.
        Promise.reject(new WorkerEnded("no thread follows files"))
      : job.work(input, files, signal)
}
