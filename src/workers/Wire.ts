import { codeOf } from "../domain/Errno.ts"
import { ownBuffer } from "./Memory.ts"
import { type Fields, WorkerEnded, type WorkerFailures } from "./Runner.ts"

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
  if (failure.tag === "memory")
    return new WorkerEnded(`a worker thread has no memory left: ${failure.message}`)
  if (failure.tag === "own" && failures !== undefined) return failures.unpack(failure.fields)
  const error = new Error(failure.message)
  return failure.tag === "own" || failure.code === undefined
    ? error
    : Object.assign(error, { code: failure.code })
}

/** Less than this is copied as fast as it is transferred. */
const worthwhile = 8 * 1024

/**
 * Memory of a result that need not be copied: what its views at the first level are alone in. The message takes a copy
 * of the rest.
 */
export const ownMemory = (value: unknown): ReadonlyArray<ArrayBuffer> => {
  if (typeof value !== "object" || value === null) return []
  const own = Object.values(value).flatMap((field: unknown) => {
    const memory = ArrayBuffer.isView(field) ? ownBuffer(field) : undefined
    return memory !== undefined && memory.byteLength > worthwhile ? [memory] : []
  })
  return [...new Set(own)]
}
