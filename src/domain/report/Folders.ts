import type { Verified } from "../Verification.ts"
import { coverage, isWhole, type TimedArchive, type Trouble, thinned, worse } from "./Timeline.ts"

/** The size of an archive from one moment on. */
interface SizeAt {
  readonly at: number
  readonly zipBytes: number
}

/** What the history knows of one folder. Times in milliseconds since 1970. */
export interface FolderReport {
  readonly folder: string
  /** Its newest archive; undefined when none was made in all of the history. */
  readonly newest:
    | {
        readonly at: number
        readonly files: number
        /** Uncompressed. */
        readonly bytes: number
        readonly zipBytes: number
        readonly seconds: number
      }
    | undefined
  /** When it was last archived or found unchanged, as far as it is known. */
  readonly good: number | undefined
  /** Gone from the source. */
  readonly gone: boolean
  /** How often it was archived in the period. */
  readonly archives: number
  /** Sizes in the period, thinned. */
  readonly sizes: ReadonlyArray<SizeAt>
  readonly trouble: Trouble | undefined
  /** An archive was published, and its zip is not there. */
  readonly lost?: boolean
  /** What verify found of the archive that is there now; left out when it was not read back since it was published. */
  readonly verified?: Verified
}

interface Known {
  newest: FolderReport["newest"]
  archives: number
  readonly sizes: Array<SizeAt>
  trouble: Trouble | undefined
  /** The run it failed in last. */
  failedIn: TimedArchive | undefined
}

const most = 40

/** Each folder that the runs name, in order of name; `from` is where the period begins. */
export const foldersOf = (runs: ReadonlyArray<TimedArchive>, from: number): ReadonlyArray<FolderReport> => {
  const known = new Map<string, Known>()
  for (const timed of runs) {
    if (isWhole(timed)) settle(known, timed)
    for (const entry of timed.run.folders) {
      const folder = known.get(entry.folder) ?? {
        newest: undefined,
        archives: 0,
        sizes: [],
        trouble: undefined,
        failedIn: undefined
      }
      known.set(entry.folder, folder)
      if (entry.result === "failed") {
        folder.trouble = worse(folder.trouble, timed.ended, entry)
        folder.failedIn = timed
        continue
      }
      folder.trouble = undefined
      folder.newest = {
        at: timed.ended,
        files: entry.files,
        bytes: entry.bytes,
        zipBytes: entry.zip_bytes,
        seconds: entry.seconds
      }
      if (timed.ended < from) continue
      folder.archives += 1
      folder.sizes.push({ at: timed.ended, zipBytes: entry.zip_bytes })
    }
  }
  return [...known.entries()]
    .map(([folder, { archives, newest, sizes, trouble }]) => ({
      folder,
      newest,
      good: newest?.at,
      gone: false,
      archives,
      sizes: thinned(sizes, most),
      trouble
    }))
    .sort((a, b) => (a.folder < b.folder ? -1 : 1))
}

/**
 * A folder that failed stays due, so that a later run of all folders names it again, unless it is gone from the source.
 * A run of chosen folders (`--folder`) says nothing of the others: it is told by how few it looked at.
 */
const settle = (known: ReadonlyMap<string, Known>, timed: TimedArchive): void => {
  const named = new Set<string>(timed.run.folders.map(({ folder }) => folder))
  for (const [name, folder] of known) {
    const { failedIn } = folder
    if (folder.trouble === undefined || failedIn === undefined || named.has(name)) continue
    if (coverage(timed) >= coverage(failedIn) - failedIn.run.failed) folder.trouble = undefined
  }
}
