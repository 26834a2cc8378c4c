import * as Directories from "./DirectoryCalls.ts"
import { blocking, type FileCalls, waiting } from "./FileCalls.ts"
import { audit } from "./jobs/audit.ts"
import { compressing } from "./jobs/compress.ts"
import { extracting } from "./jobs/extract.ts"
import { follow, hash } from "./jobs/hash.ts"
import { list } from "./jobs/list.ts"
import { verify } from "./jobs/verify.ts"
import { type Inputs, type Kind, type Outputs, type Runner, WorkerEnded } from "./Runner.ts"

type Work = { readonly [K in Kind]: (input: Inputs[K], signal: AbortSignal) => Promise<Outputs[K]> }

const workWith = (calls: FileCalls, directories: Directories.DirectoryCalls): Work => ({
  ...compressing(calls),
  ...extracting(calls),
  verify: verify(calls),
  audit: audit(calls),
  list: list(directories),
  hash: hash(calls),
  follow: calls === blocking ? follow : noFollower
})

/** It would stop the thread that writes the file. */
const noFollower = (): Promise<never> => Promise.reject(new WorkerEnded("no thread follows files"))

const runWith = (work: Work): Runner => ({
  width: 1,
  followers: 0,
  run: (kind, input, signal) => work[kind](input, signal)
})

/** Does all work on this thread. */
export const inProcess: Runner = runWith(workWith(waiting, Directories.waiting))

/** The same on a worker thread, which may wait for a disk. */
export const onWorker: Runner = runWith(workWith(blocking, Directories.blocking))
