import { MessageChannel } from "node:worker_threads"
import { codeOf } from "./Errno.ts"
import { type FileCalls, waitingCalls } from "./FileCalls.ts"

type Fields = Readonly<Record<string, unknown>>

/** Takes errors of a job's own class from one thread to another, where they lose their class. */
export interface WorkerFailures {
  readonly pack: (cause: unknown) => Fields | undefined
  readonly unpack: (fields: Fields) => Error
}

/** Work that any thread can do. Input and output are plain data, since they may go from one thread to another. */
export interface WorkerJob<Input, Output> {
  readonly name: string
  /** `brief` takes milliseconds: a thread gets two. `follower` waits for another thread, and has threads of its own. */
  readonly kind: "brief" | "long" | "follower"
  readonly failures?: WorkerFailures
  readonly work: (input: Input, files: FileCalls, signal: AbortSignal) => Promise<Output>
}

export interface Runner {
  readonly width: number
  /** Jobs of the kind `follower` at a time, beside the others. */
  readonly followers: number
  /** Rejects when the signal is aborted and the work has ended. May begin a job anew. The caller owns a result's memory. */
  readonly run: <Input, Output>(
    job: WorkerJob<Input, Output>,
    input: NoInfer<Input>,
    signal: AbortSignal
  ) => Promise<Output>
}

/** A worker thread ended during its work, or there is none. */
export class WorkerEnded extends Error {}

/** The memory behind `bytes` if it can go to another thread, which node's pool of small buffers cannot: the size shows it. */
export const ownBuffer = (bytes: ArrayBufferView, allocated: number = bytes.byteLength): ArrayBuffer | undefined => {
  const { buffer, byteLength } = bytes
  if (!(buffer instanceof ArrayBuffer)) return undefined
  return buffer.byteLength === byteLength || buffer.byteLength === allocated ? buffer : undefined
}

/** A closed port: messages to it are dropped. */
const { port1: nowhere } = new MessageChannel()
nowhere.close()

/**
 * Frees memory at once; the caller has to be its only user. The garbage collector would gather tens of megabytes first, and fresh
 * memory is dear. Parts of node's pool and less than 4 KiB stay. `allocated` as for {@link ownBuffer}.
 */
export const release = (bytes: Uint8Array, allocated?: number): void => {
  const memory = ownBuffer(bytes, allocated)
  if (memory !== undefined && memory.byteLength >= 4096) nowhere.postMessage(undefined, [memory])
}

export interface Request<Input> {
  readonly name: string
  readonly input: Input
}

export const ready = "ready"

/** Replies come in the order of the requests. */
export type Reply<Output> =
  | { readonly ok: true; readonly value: Output }
  | { readonly ok: false; readonly failure: Failure }

type Failure =
  | { readonly tag: "own"; readonly fields: Fields; readonly message: string }
  | { readonly tag: "memory"; readonly message: string }
  | { readonly tag: "other"; readonly message: string; readonly code: string | undefined }

const outOfMemory: ReadonlySet<string> = new Set(["ERR_MEMORY_ALLOCATION_FAILED", "Z_MEM_ERROR"])

/** Whether memory was missing, which says nothing about the data in work. */
export const isOutOfMemory = (cause: unknown): boolean =>
  outOfMemory.has(codeOf(cause) ?? "") ||
  (cause instanceof RangeError && cause.message === "Array buffer allocation failed")

/** An error as plain data for another thread, where `unpackFailure` makes an error of it: its cause and its stack are lost. */
export const packFailure = (cause: unknown, failures?: WorkerFailures): Failure => {
  const message = cause instanceof Error ? cause.message : String(cause)
  if (isOutOfMemory(cause)) return { tag: "memory", message }
  const fields = failures?.pack(cause)
  if (fields !== undefined) return { tag: "own", fields, message }
  return { tag: "other", message, code: codeOf(cause) }
}

export const unpackFailure = (failure: Failure, failures?: WorkerFailures): Error => {
  if (failure.tag === "memory") return new WorkerEnded(`a worker thread has no memory left: ${failure.message}`)
  if (failure.tag === "own" && failures !== undefined) return failures.unpack(failure.fields)
  const error = new Error(failure.message)
  return failure.tag === "own" || failure.code === undefined ? error : Object.assign(error, { code: failure.code })
}

/** Less than this is copied as fast as it is transferred. */
const worthwhile = 8 * 1024

/** Memory of a result that can be transferred: that of its views at the first level. */
export const ownMemory = (value: unknown): ReadonlyArray<ArrayBuffer> => {
  if (typeof value !== "object" || value === null) return []
  const own = Object.values(value).flatMap((field: unknown) => {
    const memory = ArrayBuffer.isView(field) ? ownBuffer(field) : undefined
    return memory !== undefined && memory.byteLength > worthwhile ? [memory] : []
  })
  return [...new Set(own)]
}

/** Works on this thread. A follower, which would stop it, rejects with {@link WorkerEnded}. */
export const inProcess: Runner = {
  width: 1,
  followers: 0,
  run: (job, input, signal) =>
    job.kind === "follower"
      ? // It would block the thread that writes the file.
        Promise.reject(new WorkerEnded("no thread follows files"))
      : job.work(input, waitingCalls, signal)
}
