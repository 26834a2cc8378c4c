import * as RawPath from "../domain/RawPath.ts"
import { withOthers } from "../domain/Unreadable.ts"
import { readOnly } from "../services/regularFile.ts"
import { closeRead } from "../services/tree/OpenWithin.ts"
import { waiting } from "../workers/FileCalls.ts"
import { ArchiveError } from "./ArchiveError.ts"
import { shownName, wantedFrom, wantedOf } from "./Wanted.ts"
import type { WriteOptions } from "./WriteEntries.ts"

/** Files that are tried after one could not be read. */
const mostTried = 100_000

/**
 * One file could not be read, and to mend them one by one takes a run each: the failure names the next ones as well. Files are only
 * opened: bad blocks in the middle of one show when it is read.
 */
export const nameOthers = async (
  cause: unknown,
  { manifest, view }: Pick<WriteOptions, "manifest" | "view">,
  signal: AbortSignal
): Promise<unknown> => {
  if (!(cause instanceof ArchiveError) || cause.reason !== "Unreadable" || cause.transient) return cause
  const from = wantedFrom(view, manifest.folder)
  const names: Array<string> = []
  let tried = 0
  for (const [index, entry] of manifest.entries.entries()) {
    if (entry.kind !== "file") continue
    if (signal.aborted || tried === mostTried) break
    tried += 1
    const wanted = wantedOf(view, manifest, entry, index)
    const opens = await waiting.open(RawPath.toBuffer(wanted.real), readOnly).then(
      (fd) => {
        closeRead(fd)
        return true
      },
      () => false
    )
    if (!opens && RawPath.display(wanted.real) !== cause.path) names.push(shownName(from, wanted))
  }
  const { path, reason, transient } = cause
  const others = { names, count: names.length, open: tried < manifest.files }
  return new ArchiveError({ reason, path, transient, message: withOthers(cause.message, others), cause })
}
