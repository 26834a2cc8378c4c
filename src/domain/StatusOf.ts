import type { Activity } from "./Activity.ts"
import type { Undelivered } from "./Alerts.ts"
import { type DueReason, decide } from "./Changes.ts"
import type { FolderName } from "./FolderName.ts"
import type { FolderRecord } from "./FolderState.ts"
import { isAhead } from "./Instant.ts"
import type { LockedOut } from "./LockedOut.ts"
import { lookedAfter } from "./replication/LookedAfter.ts"
import type { ArchiveStanding, FolderStanding, JobStanding, ReplicationStanding } from "./Standing.ts"
import { withRecord } from "./StandingOf.ts"
import type {
  ArchiveStatus,
  DatasetStatus,
  Flaw,
  FolderStatus,
  PreviousStatus,
  ReplicationStatus,
  Status
} from "./Status.ts"
import { type FolderVerification, identityOf, ofCurrent, ofPrevious } from "./Verification.ts"

type Asked = Pick<Status, "now" | "maxAge">

const tooOld = ({ maxAge, now }: Asked, success: string | undefined): boolean => {
  if (maxAge === undefined) return false
  const at = success === undefined ? Number.NaN : Date.parse(success)
  // A success in the future is one of a clock that was wrong: when it was is not known.
  return Number.isNaN(at) || isAhead(now, at) || now - at > maxAge
}

const jobOverdue = (asked: Asked, standing: JobStanding | undefined, items: number): boolean =>
  asked.maxAge !== undefined && items === 0 && tooOld(asked, standing?.last_success_utc)

/** What is known of the archive job. `source`: the folders in it, or why that is not known. */
export const archiveStatus = (
  asked: Asked,
  found: {
    readonly source: string
    readonly target: string
    readonly inSource: ReadonlySet<FolderName> | { readonly problem: string }
    readonly records: ReadonlyMap<FolderName, FolderRecord>
    readonly previous: ReadonlyMap<FolderName, PreviousStatus>
    readonly standing: ArchiveStanding | undefined
    readonly activity: Activity
    readonly lockedOut?: LockedOut | undefined
    /** By a look at the target. */
    readonly lost: ReadonlyArray<FolderName>
    readonly flaws?: ReadonlyArray<Flaw>
    readonly verified: ReadonlyMap<FolderName, FolderVerification>
    readonly undelivered: ReadonlyArray<Undelivered>
  }
): ArchiveStatus => {
  const { previous, records, standing } = found
  const lost = new Set(found.lost)
  const inSource = "problem" in found.inSource ? undefined : found.inSource
  const known = new Map(standing?.folders.map((folder) => [folder.folder, folder]))
  // A failure record alone is no folder: what it was about may be gone for years.
  const archived = [...records].filter(
    ([, { state, zipSize }]) => state !== undefined || zipSize !== undefined
  )
  const names = new Set([
    ...archived.map(([folder]) => folder),
    ...lost,
    ...(inSource ?? [...known.keys(), ...records.keys()])
  ])
  const folders = [...names].sort().map((folder): FolderStatus => {
    const record = records.get(folder)
    const item = withRecord(folder, known.get(folder), record)
    const gone = inSource !== undefined && !inSource.has(folder)
    // A folder that no run has seen yet is late only when the runs are.
    const success = item === undefined && record === undefined ? standing : item
    const archivedOnce = item?.last_success_utc !== undefined
    return {
      folder,
      lastSuccess: item?.last_success_utc,
      lastAttempt: item?.last_attempt_utc,
      result: item?.result,
      error: item?.error,
      files: record?.state?.files ?? item?.files,
      bytes: record?.state?.bytes ?? item?.bytes,
      zipBytes: record?.zipSize,
      previous: previousOf(previous.get(folder), found.verified.get(folder)),
      gone,
      due: gone ? undefined : dueOf(record, item),
      lost: lost.has(folder) || (!gone && archivedOnce && record?.zipSize === undefined),
      flaws: (found.flaws ?? []).filter((flaw) => flaw.folder === folder),
      verified: ofCurrent(found.verified.get(folder), identityOf(record?.state)),
      overdue: !gone && tooOld(asked, success?.last_success_utc)
    }
  })
  return {
    source: found.source,
    target: found.target,
    sourceProblem: "problem" in found.inSource ? found.inSource.problem : undefined,
    lastRun: standing?.last_run,
    activity: found.activity,
    ...(found.lockedOut === undefined ? {} : { lockedOut: found.lockedOut }),
    undelivered: found.undelivered,
    folders,
    overdue: jobOverdue(asked, standing, folders.length)
  }
}

const previousOf = (
  previous: PreviousStatus | undefined,
  known: FolderVerification | undefined
): PreviousStatus | undefined =>
  previous === undefined ? undefined : { ...previous, verified: ofPrevious(known, previous.sha256) }

const dueOf = (record: FolderRecord | undefined, item: FolderStanding | undefined): DueReason | undefined => {
  if (item?.result === "failed") return "its last attempt failed"
  const decision = decide({ record, verdict: "unchanged", known: record?.state?.zip_sha256, force: false })
  return decision._tag === "Due" ? decision.reason : undefined
}

/** What is known of a replication job. A dataset that it is asked to replicate and that no run has seen yet is there
 * too, and is late only when the runs are. */
export const replicationStatus = (
  asked: Asked,
  job: {
    readonly name: string
    readonly direction: "pull" | "push"
    readonly host: string
    readonly datasets: ReadonlyArray<string>
  },
  found: {
    readonly standing: ReplicationStanding | undefined
    readonly activity: Activity
    readonly lockedOut?: LockedOut | undefined
    readonly undelivered: ReadonlyArray<Undelivered>
  }
): ReplicationStatus => {
  const { activity, lockedOut, standing, undelivered } = found
  const { kept, unknown } = lookedAfter(standing?.datasets ?? [], job.datasets)
  const datasets = [
    ...kept.map(
      (item): DatasetStatus => ({
        dataset: item.dataset,
        target: item.target,
        result: item.result,
        lastSuccess: item.last_success_utc,
        lastAttempt: item.last_attempt_utc,
        error: item.error,
        bytes: item.bytes,
        // A dataset without snapshots that never had any only holds others.
        overdue:
          !(item.result === "nothing_to_send" && item.last_success_utc === undefined) &&
          tooOld(asked, item.last_success_utc)
      })
    ),
    ...unknown.map(
      (dataset): DatasetStatus => ({
        dataset,
        target: undefined,
        result: undefined,
        lastSuccess: undefined,
        lastAttempt: undefined,
        error: undefined,
        bytes: undefined,
        overdue: tooOld(asked, standing?.last_success_utc)
      })
    )
  ]
  return {
    job: job.name,
    direction: job.direction,
    host: job.host,
    lastRun: standing?.last_run,
    activity,
    ...(lockedOut === undefined ? {} : { lockedOut }),
    undelivered,
    datasets: datasets.sort((a, b) => (a.dataset < b.dataset ? -1 : a.dataset > b.dataset ? 1 : 0)),
    overdue: jobOverdue(asked, standing, datasets.length)
  }
}
