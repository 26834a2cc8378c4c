import * as Schema from "effect/Schema"
import type { LockedOut } from "../runs/JobState.ts"
import { Outcome } from "../runs/StateFolder.ts"
import { FolderName } from "../source/FolderName.ts"
import type { Verified } from "../store/Verification.ts"
import { countField, document, flag, instant, orNull, seconds, text } from "../text/Document.ts"
import * as Model from "./Status.ts"

const LastRun = Schema.Struct({
  run: text("id of the run, as in the log"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took"),
  outcome: Outcome.annotations({ description: "not_started: it could not begin; interrupted: by a signal" }),
  error: orNull(text("why it could not begin, or broke off as a whole")),
  bytes: countField("archived (uncompressed) or sent"),
  failures: countField("folders or datasets that failed or were refused")
})

const verified = orNull(
  Schema.Struct({
    at_utc: instant("when"),
    result: Schema.Literal("good", "foreign", "damaged", "missing", "unsettled"),
    problem: orNull(text("the first thing that was wrong"))
  })
).annotations({
  description:
    "what verify found the last time; null when it has not read this archive since it was published"
})

const job = {
  undelivered: Schema.Array(
    Schema.Struct({
      at_utc: instant("when it was first tried"),
      title: text("of the message"),
      error: text("why it did not arrive")
    })
  ).annotations({
    description: "messages that could not be delivered; they are tried again after the next run"
  }),
  last_run: orNull(LastRun),
  running: orNull(
    Schema.Struct({ pid: countField("its process"), since_utc: instant("when it began") })
  ).annotations({
    description: "the run that is at work now"
  }),
  locked: orNull(
    Schema.Struct({ pid: countField("the process"), since_utc: instant("since when") })
  ).annotations({
    description: "who else has the lock that a run needs: another command, or a run that left no mark"
  }),
  locked_out: orNull(
    Schema.Struct({
      count: countField("how many"),
      since_utc: instant("when the first of them tried"),
      last_utc: instant("when the last of them tried"),
      holder: text("who had the lock then, as its file names it"),
      lockfile: text("which lock it was")
    })
  ).annotations({
    description: "runs that found the lock held and did nothing, since the last run in which all went well"
  }),
  died: orNull(
    Schema.Struct({
      run: text("its id"),
      pid: countField("its process"),
      since_utc: instant("when it began")
    })
  ).annotations({ description: "a run that began and never ended, if no other has ended since" }),
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
  result: orNull(Schema.Literal("archived", "unchanged", "failed")).annotations({
    description: "of the last attempt"
  }),
  files: orNull(countField("in the current archive")),
  bytes: orNull(countField("their size, uncompressed")),
  zip_bytes: orNull(countField("size of the current archive; null when it is not there")),
  previous: orNull(
    Schema.Struct({
      zip_bytes: countField("its size"),
      archived_at_utc: instant("when it was made"),
      verified
    })
  ).annotations({ description: "the archive before" }),
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
  bytes: orNull(countField("sent, the last time that something was"))
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
  archive: orNull(
    Schema.Struct({
      source: text("source_path"),
      target: text("target_path"),
      source_problem: orNull(text("why it is not known which folders are in the source")),
      ...job,
      folders: Schema.Array(StatusFolder)
    })
  ),
  replication: Schema.Array(
    Schema.Struct({
      job: text("its name"),
      direction: Schema.Literal("pull", "push"),
      host: text("the other host"),
      ...job,
      datasets: Schema.Array(StatusDataset)
    })
  )
})
export type StatusDocument = typeof StatusDocument.Type

/** The document of a status. `atUtc`: its instant, to the second. */
export const statusDocument = (status: Model.Status, atUtc: string): StatusDocument => ({
  version: 1,
  at_utc: atUtc,
  max_age_seconds: status.maxAge === undefined ? null : status.maxAge / 1000,
  overdue: Model.overdueLines(status, () => "").length,
  lost: Model.lostFolders(status).length,
  damaged:
    Model.damagedArchives(status).length +
    Model.flawedArchives(status).filter(({ which }) => which === "current").length,
  archive:
    status.archive === undefined
      ? null
      : {
          source: status.archive.source,
          target: status.archive.target,
          source_problem: status.archive.sourceProblem ?? null,
          ...jobFields(status.archive),
          folders: status.archive.folders.map((folder) => ({
            folder: folder.folder,
            ...itemFields(folder),
            result: folder.result ?? null,
            files: folder.files ?? null,
            bytes: folder.bytes ?? null,
            zip_bytes: folder.zipBytes ?? null,
            previous:
              folder.previous === undefined
                ? null
                : {
                    zip_bytes: folder.previous.zipBytes,
                    archived_at_utc: folder.previous.archivedAt,
                    verified: verifiedOf(folder.previous.verified)
                  },
            gone: folder.gone,
            due: folder.due ?? null,
            lost: folder.lost,
            verified: verifiedOf(folder.verified)
          }))
        },
  replication: status.replications.map((job) => ({
    job: job.job,
    direction: job.direction,
    host: job.host,
    ...jobFields(job),
    datasets: job.datasets.map((dataset) => ({
      dataset: dataset.dataset,
      target: dataset.target ?? null,
      ...itemFields(dataset),
      result: dataset.result ?? null,
      bytes: dataset.bytes ?? null
    }))
  }))
})

const verifiedOf = (found: Verified | undefined) =>
  found === undefined
    ? null
    : { at_utc: found.verified_at_utc, result: found.result, problem: found.problem ?? null }

const itemFields = (each: Model.FolderStatus | Model.DatasetStatus) => ({
  last_success_utc: each.lastSuccess ?? null,
  last_attempt_utc: each.lastAttempt ?? null,
  error: each.error ?? null,
  overdue: each.overdue
})

const lockedOutFields = ({ version: _, ...found }: LockedOut) => found

const jobFields = ({
  activity,
  lastRun,
  lockedOut,
  overdue,
  undelivered
}: Model.ArchiveStatus | Model.ReplicationStatus) => ({
  undelivered: undelivered.map(({ at_utc, error, title }) => ({ at_utc, title, error })),
  last_run:
    lastRun === undefined
      ? null
      : {
          run: lastRun.run,
          started_at_utc: lastRun.started_at_utc,
          seconds: lastRun.seconds,
          outcome: lastRun.outcome,
          error: lastRun.error ?? null,
          bytes: lastRun.bytes,
          failures: lastRun.failures
        },
  running: activity._tag === "Running" ? { pid: activity.pid, since_utc: activity.since } : null,
  locked: activity._tag === "Locked" ? { pid: activity.pid, since_utc: activity.since } : null,
  locked_out: lockedOut === undefined ? null : lockedOutFields(lockedOut),
  died: activity._tag === "Died" ? { run: activity.run, pid: activity.pid, since_utc: activity.since } : null,
  overdue
})
