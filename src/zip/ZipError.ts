import * as Data from "effect/Data"
import { codeOf, explain, isTransientCode } from "../system/Errno.ts"
import { isOutOfMemory, WorkerEnded, type WorkerFailures } from "../system/WorkerJob.ts"
import * as RawPath from "../text/RawPath.ts"
import type { Compression } from "./ArchiveIndex.ts"

const reasons = ["Unreadable", "Changed", "Write", "Corrupt", "Mismatch", "Worker", "Previous"] as const

/** A folder could not be archived, or its archive is damaged. `Previous`: the archive before could not be copied from. */
export class ArchiveError extends Data.TaggedError("ArchiveError")<{
  readonly reason: (typeof reasons)[number]
  readonly path: string
  readonly message: string
  readonly transient: boolean
  /** The message in parts, where it is about a zip: the entry in quotes, and what is wrong with it or with the zip. */
  readonly entry?: string
  readonly problem?: string
  readonly cause?: unknown
}> {}

export const archiveFailures: WorkerFailures = {
  pack: (cause) => {
    if (!(cause instanceof ArchiveError)) return undefined
    const { entry, message, path, problem, reason, transient } = cause
    const code = codeOf(cause.cause)
    return { reason, path, message, transient, entry, problem, code, why: code && explain(cause.cause) }
  },
  unpack: ({ code, entry, message, path, problem, reason, transient, why }) =>
    new ArchiveError({
      reason: reasons.find((known) => known === reason) ?? "Worker",
      path: String(path),
      message: String(message),
      transient: transient === true,
      ...(typeof entry === "string" ? { entry } : {}),
      ...(typeof problem === "string" ? { problem } : {}),
      // Of what caused it, its code decides: whether it is about the archive, or about this process.
      ...(typeof code === "string" ? { cause: Object.assign(new Error(String(why)), { code }) } : {})
    })
}

export const withMessage = (cause: ArchiveError, message: string): ArchiveError => {
  const { path, reason, transient } = cause
  return new ArchiveError({ reason, path, transient, message, cause })
}

export interface ArchiveReport {
  readonly zipSize: number
  readonly entries: number
  readonly bytes: number
  readonly madeWith: Compression
  /** Files among the entries that were copied from the archive before. */
  readonly copiedFiles: number
  readonly copied: ReadonlyArray<CopiedRange>
}

/** Consecutive entries that lie in a zip as they lay in the archive before, local headers included. */
export interface CopiedRange {
  /** Offset of the first byte, and of the first byte behind it. */
  readonly start: number
  readonly end: number
  readonly entries: number
  readonly crc32: number
}

export const isArchiveError = (cause: unknown): cause is ArchiveError => cause instanceof ArchiveError

/** Throws what is wrong with the zip at `path`, or with an entry of it; what is an ArchiveError stays one. */
export const damaged =
  (path: string, entry?: Buffer) =>
  (cause: unknown): never => {
    if (isArchiveError(cause)) throw cause
    const why = explain(cause)
    throw new ArchiveError({
      reason: "Corrupt",
      path,
      message: `${path} is damaged${entry === undefined ? "" : ` at ${quoted(entry)}`}: ${why}`,
      transient: false,
      ...(entry === undefined ? {} : { entry: quoted(entry) }),
      problem: entry === undefined ? `is damaged: ${why}` : why,
      cause
    })
  }

/** The operating system does not give the bytes of the zip at `path`. */
export const unreadable =
  (path: string) =>
  (cause: unknown): never => {
    throw new ArchiveError({
      reason: "Unreadable",
      path,
      message: `cannot read ${path}: ${explain(cause)}`,
      transient: isTransientCode(codeOf(cause)),
      problem: `cannot be read: ${explain(cause)}`,
      cause
    })
  }

export const truncated = (path: string): never => damaged(path)(new Error("something in it points beyond its end"))

/** A thread that ended, or a lack of memory on this one, is the failure of the file that it worked on. */
export const endedAt = (path: string, cause: unknown): unknown => {
  const memory = isOutOfMemory(cause) ? `there is no memory left: ${explain(cause)}` : undefined
  const why = cause instanceof WorkerEnded ? cause.message : memory
  if (why === undefined) return cause
  return new ArchiveError({ reason: "Worker", path, message: `cannot work on ${path}: ${why}`, transient: true, cause })
}

export const quoted = (name: Buffer): string => `"${RawPath.display(RawPath.fromBuffer(name))}"`

/** Throws what is wrong with an entry; the caller, who knows the entry, catches it and names it. */
export function need(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise)
}

/**
 * An archive's content could not be put back. `Changed`: the zip is not the file that was checked. `Target`: DIR is no place to
 * write to. Then nothing was written. `Interrupted`: writing did not come to its end.
 */
export class ExtractError extends Data.TaggedError("ExtractError")<{
  readonly reason: "Changed" | "Target" | "Interrupted"
  readonly message: string
  readonly cause?: unknown
}> {}

export const isExtractError = (cause: unknown): cause is ExtractError => cause instanceof ExtractError

export interface Flaw {
  readonly entry?: string
  /** To be read after "ABCD.zip" or the entry: "its CRC-32 is wrong". */
  readonly problem: string
}
