import { codeOf } from "./Errno.ts"
import { type FileCalls, waitingCalls } from "./FileCalls.ts"

/** An error as plain data. */
export type Fields = Readonly<Record<string, unknown>>

/** How errors of a job's own class go from one thread to another, where they lose their class. */
export interface WorkerFailures {
  /** Undefined for an error of another class. */
  readonly pack: (cause: unknown) => Fields | undefined
  readonly unpack: (fields: Fields) => Error
}

/** Work that any thread can do. Input and output are plain data, since they may go from one thread to another. */
export interface WorkerJob<Input, Output> {
  /** By which a worker thread knows it. */
  readonly name: string
  /**
   * `brief`: takes milliseconds; the next piece is sent along, so that a thread does not wait for this one.
   * `follower`: waits for what another thread writes; it has threads of its own, and is never done on the main thread.
   */
  readonly kind: "brief" | "long" | "follower"
  readonly failures?: WorkerFailures
  readonly work: (input: Input, files: FileCalls, signal: AbortSignal) => Promise<Output>
}

/** Does the work, on this thread or on other ones. */
export interface Runner {
  /** How much of it goes on at the same time. */
  readonly width: number
  /** How many files can be followed at once (jobs that are a `follower`), beside that; on this thread none. */
  readonly followers: number
  /**
   * Rejects when the signal is aborted; nothing of the work goes on by then. Work may be begun anew when its thread had
   * to be ended for the sake of other work: doing it twice must give the same. Memory that a result holds at its
   * first level is the caller's.
   */
  readonly run: <Input, Output>(
    job: WorkerJob<Input, Output>,
    input: NoInfer<Input>,
    signal: AbortSignal
  ) => Promise<Output>
}

/** A worker thread ended in the middle of its work, or there is none for it. */
export class WorkerEnded extends Error {}

/**
 * The memory behind `bytes` if nothing else lives in it, so that it can go to another thread. Small buffers share node's pool, which
 * node refuses to transfer: only the size tells them apart. `allocated`: how many bytes were asked for.
 */
export const ownBuffer = (bytes: ArrayBufferView, allocated: number = bytes.byteLength): ArrayBuffer | undefined => {
  const { buffer, byteLength } = bytes
  if (!(buffer instanceof ArrayBuffer)) return undefined
  return buffer.byteLength === byteLength || buffer.byteLength === allocated ? buffer : undefined
}

/** What the main thread asks of a worker. */
export interface Request<Input> {
  /** Of the job. */
  readonly name: string
  readonly input: Input
}

/** What a worker says when its program has been loaded. */
export const ready = "ready"

/** What a worker answers, in the order of the requests. */
export type Reply<Output> =
  | { readonly ok: true; readonly value: Output }
  | { readonly ok: false; readonly failure: Failure }

/** An error as plain data: between threads an error loses its class and its fields. */
type Failure =
  | { readonly tag: "own"; readonly fields: Fields; readonly message: string }
  | { readonly tag: "memory"; readonly message: string }
  | { readonly tag: "other"; readonly message: string; readonly code: string | undefined }

/** How node and zlib say that there is no memory left for a buffer. */
const outOfMemory: ReadonlySet<string> = new Set(["ERR_MEMORY_ALLOCATION_FAILED", "Z_MEM_ERROR"])

/** Whether there was no memory left, which says nothing of the data that was worked on. */
export const isOutOfMemory = (cause: unknown): boolean =>
  outOfMemory.has(codeOf(cause) ?? "") ||
  (cause instanceof RangeError && cause.message === "Array buffer allocation failed")

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

/** Memory of a result that need not be copied into the message: what its views at the first level are alone in. */
export const ownMemory = (value: unknown): ReadonlyArray<ArrayBuffer> => {
  if (typeof value !== "object" || value === null) return []
  const own = Object.values(value).flatMap((field: unknown) => {
    const memory = ArrayBuffer.isView(field) ? ownBuffer(field) : undefined
    return memory !== undefined && memory.byteLength > worthwhile ? [memory] : []
  })
  return [...new Set(own)]
}

/** Does all work on this thread. */
export const inProcess: Runner = {
  width: 1,
  followers: 0,
  run: (job, input, signal) =>
    job.kind === "follower"
      ? // It would stop the thread that writes the file.
        Promise.reject(new WorkerEnded("no thread follows files"))
      : job.work(input, waitingCalls, signal)
}
