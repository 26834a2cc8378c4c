import { explain } from "../domain/Errno.ts"
import { WorkerEnded } from "../workers/Runner.ts"
import { isOutOfMemory } from "../workers/Wire.ts"
import { ArchiveError, type ArchiveReport } from "./ArchiveError.ts"
import { createOutput, type Output } from "./Output.ts"
import { nameOthers } from "./UnreadableFiles.ts"
import { type WriteOptions, writeEntries } from "./WriteEntries.ts"

/** A zip to be written. */
interface ZipOptions extends WriteOptions {
  readonly destination: string
}

/**
 * Writes the zip; it is not synced. On failure, and when `signal` is aborted, nothing is left at the destination.
 * Sizes and CRC stand in the local headers (those of large files are filled in afterwards), so there are no
 * data descriptors and the zip can be read from a pipe.
 */
export const writeZip = async (options: ZipOptions, signal: AbortSignal): Promise<ArchiveReport> => {
  signal.throwIfAborted()
  const output = await createOutput(options.destination)
  try {
    const copied = await writeEntries(options, output, signal)
    const zipSize = output.position()
    await output.finish()
    return {
      zipSize,
      entries: options.manifest.entries.length,
      bytes: options.manifest.bytes,
      madeWith: options.compression,
      copiedFiles: copied.files,
      copied: copied.ranges
    }
  } catch (cause) {
    throw await nameOthers(await discard(output, endedAt(options.destination, cause)), options, signal)
  }
}

/** Removes the partial zip; the failure to report, which says so if that failed too. */
const discard = async (output: Output, cause: unknown): Promise<unknown> => {
  try {
    await output.discard()
    return cause
  } catch (left) {
    if (!(cause instanceof ArchiveError)) return left
    const { reason, path, transient } = cause
    const message = `${cause.message}; the partial zip is left: ${left instanceof ArchiveError ? left.message : explain(left)}`
    return new ArchiveError({ reason, path, transient, message, cause })
  }
}

/** A thread that ended, or memory that was missing on this one, is the failure of what it worked for. */
export const endedAt = (path: string, cause: unknown): unknown => {
  const why =
    cause instanceof WorkerEnded
      ? cause.message
      : isOutOfMemory(cause)
        ? `there is no memory left: ${explain(cause)}`
        : undefined
  return why === undefined
    ? cause
    : new ArchiveError({
        reason: "Worker",
        path,
        message: `cannot work on ${path}: ${why}`,
        transient: true,
        cause
      })
}
