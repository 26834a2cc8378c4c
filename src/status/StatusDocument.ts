import * as Schema from "effect/Schema"
import type { Flaw } from "../runs/PublishedFolders.ts"
import { Outcome } from "../runs/Run.ts"
import { FolderName } from "../source/FolderName.ts"
import { isBad } from "../store/FolderState.ts"
import { countField, document, flag, instant, orNull, seconds, text } from "../text/Document.ts"
import { TargetHistory } from "../zfs/TargetSnapshots.ts"

const LastRun = Schema.Struct({
  run: text("id of the run, as in the log"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took"),
  outcome: Outcome.annotations({ description: "not_started: it could not begin; interrupted: by a signal" }),
  error: orNull(text("why it could not begin, or broke off as a whole")),
  bytes: countField("archived (uncompressed) or sent"),
  failures: countField("folders or datasets that failed or were refused")
})

const part = <Fields extends Schema.Struct.Fields>(description: string, fields: Fields) =>
  Schema.NullOr(Schema.Struct(fields)).annotations({ description })

const verified = part(
  "what verify found the last time; null when it has not read this archive since it was published",
  {
    at_utc: instant("when"),
    result: Schema.Literal("good", "foreign", "damaged", "missing", "unsettled"),
    problem: orNull(text("the first thing that was wrong"))
  }
)

const job = {
  undelivered: Schema.Array(
    Schema.Struct({
      at_utc: instant("when it was first tried"),
      title: text("of the message"),
      error: text("why it did not arrive")
    })
  ).annotations({ description: "messages that could not be delivered; they are tried again after the next run" }),
  last_run: orNull(LastRun),
  running: part("the run that is at work now", { pid: countField("its process"), since_utc: instant("when it began") }),
  locked: part("who else has the lock that a run needs: another command, or a run that left no mark", {
    pid: countField("the process"),
    since_utc: instant("since when")
  }),
  locked_out: part("runs that found the lock held and did nothing, since the last run in which all went well", {
    count: countField("how many"),
    since_utc: instant("when the first of them tried"),
    last_utc: instant("when the last of them tried"),
    holder: text("who had the lock then, as its file names it"),
    lockfile: text("which lock it was")
  }),
  died: part("a run that began and never ended, if no other has ended since", {
    run: text("its id"),
    pid: countField("its process"),
    since_utc: instant("when it began")
  }),
  overdue: flag("nothing is known of what it looks after, and no run of it went well within --max-age")
}

const item = {
  last_success_utc: orNull(text("UTC")),
  last_attempt_utc: orNull(text("UTC")),
  error: orNull(text("why the last attempt failed")),
  overdue: flag(
    "the last success is longer ago than --max-age, or there is none though it was tried, or it is in the future; false without --max-age"
  )
}

const StatusFolder = Schema.Struct({
  folder: FolderName,
  ...item,
  result: orNull(Schema.Literal("archived", "unchanged", "failed")).annotations({ description: "of the last attempt" }),
  files: orNull(countField("in the current archive")),
  bytes: orNull(countField("their size, uncompressed")),
  zip_bytes: orNull(countField("size of the current archive; null when it is not there")),
  previous: part("the archive before", {
    zip_bytes: countField("its size"),
    archived_at_utc: instant("when it was made"),
    verified
  }),
  gone: flag("archived, and not in the source any more; never overdue"),
  due: orNull(text("why the next run archives it in any case, in words")),
  lost: flag("an archive of it was published, and its zip is not there"),
  verified
})

const StatusDataset = Schema.Struct({
  dataset: text("its name at the source"),
  target: orNull(text("where its replica is")),
  ...item,
  result: orNull(Schema.Literal("sent", "up_to_date", "nothing_to_send", "refused", "failed")).annotations({
    description: "of the last attempt"
  }),
  bytes: orNull(countField("sent, the last time that something was")),
  verified: part("what verify --job found of its replica the last time; null when it never looked", {
    at_utc: instant("when"),
    read_utc: orNull(instant("when --read read it")),
    problem: orNull(text("all that was wrong"))
  })
})

const StatusArchive = Schema.Struct({
  source: text("source_path"),
  target: text("target_path"),
  source_problem: orNull(text("why it is not known which folders are in the source")),
  ...job,
  target_snapshots: orNull(TargetHistory).annotations({
    description: "how far back the target goes by its snapshots, after the last run; null without target_snapshots"
  }),
  folders: Schema.Array(StatusFolder),
  unread: Schema.Array(
    text("why archives may be lost or damaged that are not counted; one is enough for exit status 1 with --max-age")
  )
})

const StatusReplication = Schema.Struct({
  job: text("its name"),
  direction: Schema.Literal("pull", "push"),
  host: text("the other host"),
  ...job,
  verify_failures: Schema.Array(
    Schema.Struct({ name: text("a replica, a pool"), problem: text("what is wrong") })
  ).annotations({
    description: "all that verify --job found not good the last time"
  }),
  datasets: Schema.Array(StatusDataset)
})

/** What `status --json` prints. */
export const StatusDocument = document({
  at_utc: instant("when this was so"),
  max_age_seconds: orNull(seconds("--max-age")),
  overdue: countField("folders, datasets and jobs that are overdue; above 0 the exit status is 1"),
  lost: countField("folders whose archive is lost; above 0 the exit status is 1 with --max-age"),
  damaged: countField(
    "archives that verify found damaged, and current ones of another size than was published; above 0 the exit status is 1 with --max-age"
  ),
  bad_replicas: countField(
    "replicas, pools and sources that verify --job found not good; above 0 the exit status is 1 with --max-age"
  ),
  archive: orNull(StatusArchive),
  replication: Schema.Array(StatusReplication)
})
export type StatusDocument = typeof StatusDocument.Type

export type JobStatus = Schema.Schema.Type<Schema.Struct<typeof job>>
export type FolderStatus = typeof StatusFolder.Type
export type DatasetStatus = typeof StatusDataset.Type
export type ReplicationStatus = typeof StatusReplication.Type
/** With what a look at the target shows of its archives beside the document. */
export type ArchiveStatus = typeof StatusArchive.Type & {
  readonly flaws: ReadonlyArray<Flaw>
}

/** The state of everything in a configuration at one instant. */
export interface Status {
  readonly now: number
  /** How old a last success may be, in milliseconds. */
  readonly maxAge: number | undefined
  readonly archive: ArchiveStatus | undefined
  readonly replications: ReadonlyArray<ReplicationStatus>
}

/** The document of a status. `atUtc`: its instant, to the second. */
export const statusDocument = (status: Status, atUtc: string): StatusDocument => {
  const { flaws: _, ...archive } = status.archive ?? { flaws: [] }
  return {
    version: 1,
    at_utc: atUtc,
    max_age_seconds: status.maxAge === undefined ? null : status.maxAge / 1000,
    overdue: overdueItems(status).length,
    lost: lostFolders(status).length,
    damaged: damagedArchives(status).length + flawedArchives(status).filter(({ which }) => which === "current").length,
    bad_replicas: badReplicas(status).length,
    archive: "source" in archive ? archive : null,
    replication: status.replications
  }
}

export const lostFolders = ({ archive }: Status): ReadonlyArray<FolderStatus> =>
  archive?.folders.filter(({ lost }) => lost) ?? []

export const isKnownBad = (found: FolderStatus["verified"] | undefined): found is NonNullable<typeof found> =>
  found !== null && found !== undefined && isBad(found)

/** The archives that are there and that verify found damaged: the names of the zips, with the finding. */
export const damagedArchives = ({ archive }: Status) =>
  (archive?.folders ?? []).flatMap(({ folder, lost, previous, verified }) => [
    ...(!lost && isKnownBad(verified) ? [{ zip: `${folder}.zip`, verified }] : []),
    ...(isKnownBad(previous?.verified) ? [{ zip: `${folder}.prev.zip`, verified: previous.verified }] : [])
  ])

/** What verify found not good of the replicas of all jobs. */
export const badReplicas = ({ replications }: Status) => replications.flatMap((job) => job.verify_failures)

/** Archives that are not what was published, apart from the current ones that verify found damaged. */
export const flawedArchives = ({ archive }: Status): ReadonlyArray<Flaw> =>
  (archive?.flaws ?? []).filter(
    ({ folder, which }) =>
      which === "previous" || !isKnownBad(archive?.folders.find((each) => each.folder === folder)?.verified)
  )

/** Everything that is overdue, by its name in messages; `item` is undefined for a job without any item. */
export const overdueItems = ({ archive, replications }: Status) => {
  const ofArchive = archive?.folders.map((item) => ({ name: `${item.folder}`, item })) ?? []
  const jobs = [
    { name: "archive", overdue: archive?.overdue === true, lastRun: archive?.last_run, items: ofArchive },
    ...replications.map(({ datasets, job, last_run: lastRun, overdue }) => ({
      name: job,
      overdue,
      lastRun,
      items: datasets.map((item) => ({ name: `${job}: ${item.dataset}`, item }))
    }))
  ]
  return jobs.flatMap(({ items, lastRun, name, overdue }) => [
    ...(overdue ? [{ name, item: undefined, lastRun }] : []),
    ...items.flatMap((each) => (each.item.overdue ? [{ ...each, lastRun }] : []))
  ])
}
