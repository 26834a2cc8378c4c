import type { Activity } from "./Activity.ts"
import type { Undelivered } from "./Alerts.ts"
import type { Which } from "./ArchiveSet.ts"
import type { DueReason } from "./Changes.ts"
import type { FolderName } from "./FolderName.ts"
import type { LockedOut } from "./LockedOut.ts"
import type { DatasetStanding, FolderStanding, LastRun } from "./Standing.ts"
import { isBad, type Verified } from "./Verification.ts"

/** How everything of a configuration stands at one instant: what `status` shows. Times are UTC, to the second. */

interface Item {
  readonly lastSuccess: string | undefined
  readonly lastAttempt: string | undefined
  /** Why the last attempt failed. */
  readonly error: string | undefined
  /** It was tried, and its last success is longer ago than it may be, or there is none, or it cannot be true. */
  readonly overdue: boolean
}

/** The archive before the current one. */
export interface PreviousStatus {
  readonly zipBytes: number
  /** When it was made. */
  readonly archivedAt: string
  /** What its checksum file says; undefined when there is none. */
  readonly sha256?: string | undefined
  readonly verified?: Verified | undefined
}

/** How an archive differs from what was published, by a look at it; to be read after its name. */
export interface Flaw {
  readonly folder: FolderName
  readonly which: Which
  readonly problem: string
}

export interface FolderStatus extends Item {
  readonly folder: FolderName
  readonly result: FolderStanding["result"] | undefined
  readonly files: number | undefined
  /** Uncompressed. */
  readonly bytes: number | undefined
  readonly zipBytes: number | undefined
  readonly previous: PreviousStatus | undefined
  /** It is archived, and not in the source any more. */
  readonly gone: boolean
  /** Why the next run archives it whether it changed or not, as far as the target shows. */
  readonly due: DueReason | undefined
  /** One was published, and its zip is not there. */
  readonly lost: boolean
  readonly flaws: ReadonlyArray<Flaw>
  /** What verify found of the archive that is current now; undefined when it was not read back since it was published. */
  readonly verified: Verified | undefined
}

export interface DatasetStatus extends Item {
  readonly dataset: string
  readonly target: string | undefined
  readonly result: DatasetStanding["result"] | undefined
  /** Sent, the last time that something was. */
  readonly bytes: number | undefined
}

interface JobStatus {
  /** Messages about it that could not be delivered. */
  readonly undelivered: ReadonlyArray<Undelivered>
  readonly lastRun: LastRun | undefined
  readonly activity: Activity
  /** Runs that found the lock held since the last one in which all went well. */
  readonly lockedOut?: LockedOut | undefined
  /** Nothing is known of what it looks after, and there is no run that may pass for a recent one. */
  readonly overdue: boolean
}

export interface ArchiveStatus extends JobStatus {
  readonly source: string
  readonly target: string
  /** Why the source could not be listed, or that nothing in it is a folder to archive. */
  readonly sourceProblem: string | undefined
  readonly folders: ReadonlyArray<FolderStatus>
}

export interface ReplicationStatus extends JobStatus {
  readonly job: string
  readonly direction: "pull" | "push"
  readonly host: string
  readonly datasets: ReadonlyArray<DatasetStatus>
}

export interface Status {
  /** When this was so, in milliseconds since 1970. */
  readonly now: number
  /** How old a last success may be, in milliseconds. */
  readonly maxAge: number | undefined
  readonly archive: ArchiveStatus | undefined
  readonly replications: ReadonlyArray<ReplicationStatus>
}

/** The folders whose archive is lost. */
export const lostFolders = ({ archive }: Status): ReadonlyArray<FolderStatus> =>
  archive?.folders.filter(({ lost }) => lost) ?? []

/** The archives of which verify found that they are damaged, and that are there: the names of the zips, with what is wrong. */
export const damagedArchives = ({ archive }: Status) =>
  (archive?.folders ?? []).flatMap(({ folder, lost, previous, verified }) => [
    ...(!lost && verified !== undefined && isBad(verified) ? [{ zip: `${folder}.zip`, verified }] : []),
    ...(previous?.verified !== undefined && isBad(previous.verified)
      ? [{ zip: `${folder}.prev.zip`, verified: previous.verified }]
      : [])
  ])

/** Archives that are not what was published, apart from those of which verify found that they are damaged. */
export const flawedArchives = ({ archive }: Status): ReadonlyArray<Flaw> =>
  (archive?.folders ?? []).flatMap(({ flaws, verified }) =>
    flaws.filter(({ which }) => which === "previous" || verified === undefined || !isBad(verified))
  )

/** Everything that is overdue, by name and with what is known of it: a line each. */
export const overdueLines = (status: Status, ageOf: (utc: string) => string): ReadonlyArray<string> => {
  const line = (name: string, item: Item) => {
    const success =
      item.lastSuccess === undefined ? "never succeeded" : `last success ${ageOf(item.lastSuccess)}`
    return `${name}: ${success}${item.error === undefined ? "" : `; the last attempt failed: ${item.error}`}`
  }
  const nothing = (name: string, job: JobStatus) => (job.overdue ? [`${name}: no run did anything yet`] : [])
  const { archive, replications } = status
  return [
    ...(archive === undefined
      ? []
      : [
          ...nothing("archive", archive),
          ...archive.folders.filter(({ overdue }) => overdue).map((item) => line(item.folder, item))
        ]),
    ...replications.flatMap((job) => [
      ...nothing(job.job, job),
      ...job.datasets
        .filter(({ overdue }) => overdue)
        .map((item) => line(`${job.job}: ${item.dataset}`, item))
    ])
  ]
}
