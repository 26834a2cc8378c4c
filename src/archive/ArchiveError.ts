import * as Data from "effect/Data"
import type { Compression } from "../domain/ArchiveIndex.ts"
import type { WorkerFailures } from "../workers/Runner.ts"

const reasons = ["Unreadable", "Changed", "Write", "Corrupt", "Mismatch", "Worker", "Previous"] as const

/**
 * A folder could not be archived, or its archive is not what it should be; the message names file or entry.
 * `Previous`: the archive before could not be copied from, and without it all may be well.
 */
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

/** Archive errors between threads; the message is enough of what it is made of. */
export const archiveFailures: WorkerFailures = {
  pack: (cause) => {
    if (!(cause instanceof ArchiveError)) return undefined
    const { reason, path, message, transient } = cause
    return { reason, path, message, transient }
  },
  unpack: ({ message, path, reason, transient }) =>
    new ArchiveError({
      reason: reasons.find((known) => known === reason) ?? "Worker",
      path: String(path),
      message: String(message),
      transient: transient === true
    })
}

/** What was written. */
export interface ArchiveReport {
  /** Size of the zip in bytes. */
  readonly zipSize: number
  readonly entries: number
  /** Uncompressed bytes. */
  readonly bytes: number
  readonly madeWith: Compression
  /** Files among the entries that were copied from the archive before. */
  readonly copiedFiles: number
  /** What was copied from the archive before, in order. */
  readonly copied: ReadonlyArray<CopiedRange>
}

/** Consecutive entries that lie in a zip as they lay in the archive before, local headers included. */
export interface CopiedRange {
  /** Offset of the first byte, and of the first byte behind it. */
  readonly start: number
  readonly end: number
  /** Entries in it. */
  readonly entries: number
  /** CRC-32 of these bytes of the zip. */
  readonly crc32: number
}

/** Whether a failure is one of ours; anything else is a defect. */
export const isArchiveError = (cause: unknown): cause is ArchiveError => cause instanceof ArchiveError
