import { labelOf } from "../config/JobKey.ts"
import type { Undelivered } from "../runs/Alerts.ts"
import type { HistoryRun } from "../runs/History.ts"
import { describeLockedOut } from "../runs/JobState.ts"
import type { Flaw } from "../runs/PublishedFolders.ts"
import { namesOf } from "../store/PublishedArchive.ts"
import { isBad, type Verified } from "../store/Verification.ts"
import { count } from "../text/Text.ts"
import { isAhead } from "../text/Time.ts"
import type { Chart } from "./Chart.ts"
import { archiveCharts, replicationCharts } from "./Charts.ts"
import {
  type FolderReport,
  foldersNow,
  foldersOf,
  type ReplicaReport,
  replicasNow,
  replicasOf,
  unwritten
} from "./Items.ts"
import {
  drawable,
  isArchive,
  isReplication,
  type JobReport,
  jobOf,
  jobsOf,
  type KnownJob,
  type TimedRun,
  timed
} from "./Timeline.ts"

/** One failure, with all its repetitions. Times in milliseconds since 1970. */
export interface Failure {
  readonly job: string
  /** The folder or dataset; undefined: the run as a whole. */
  readonly subject: string | undefined
  readonly result: "failed" | "refused" | "not_started" | "interrupted"
  readonly error: string
  readonly first: number
  readonly last: number
  readonly times: number
  /** The run it was last seen in, as the log names it. */
  readonly run: string
}

type Single = Pick<Failure, "subject" | "result" | "error">

/** What went wrong in these runs (in order of their ends), the latest first; the same words about the same thing are one failure. */
export const failuresOf = (runs: ReadonlyArray<TimedRun>): ReadonlyArray<Failure> => {
  const found = new Map<string, Failure>()
  for (const timed of runs) {
    const job = jobOf(timed)
    for (const single of singlesOf(timed)) {
      const key = JSON.stringify([timed.run.kind, job, single.subject, single.result, single.error])
      const before = found.get(key)
      // Anew, so that the order is that of the latest.
      found.delete(key)
      found.set(key, {
        ...single,
        job,
        first: before?.first ?? timed.ended,
        last: timed.ended,
        times: (before?.times ?? 0) + 1,
        run: timed.run.run
      })
    }
  }
  return [...found.values()].reverse()
}

const singlesOf = ({ run }: TimedRun): ReadonlyArray<Single> => [
  ...wholeOf(run),
  ...(run.kind === "archive"
    ? run.folders.flatMap(
        (folder): ReadonlyArray<Single> =>
          folder.result === "failed"
            ? [{ subject: folder.folder, result: "failed", error: folder.error }]
            : []
      )
    : run.datasets.flatMap(
        (dataset): ReadonlyArray<Single> =>
          dataset.result === "sent"
            ? []
            : [
                {
                  subject: dataset.dataset,
                  result: dataset.result,
                  error: dataset.error ?? "no reason was recorded"
                }
              ]
      ))
]

const wholeOf = ({ error, outcome }: TimedRun["run"]): ReadonlyArray<Single> => {
  switch (outcome) {
    case "not_started":
    case "interrupted":
      return [{ subject: undefined, result: outcome, error: error ?? "no reason was recorded" }]
    case "failed":
      return error === undefined ? [] : [{ subject: undefined, result: "failed", error }]
    case "ok":
      return []
  }
}

/** All that the page says, in numbers. Times in milliseconds since 1970. */
export interface Report {
  readonly host: string
  readonly made: number
  /** Where the period begins that lists and charts are about; how things stand is told from all of the history. */
  readonly from: number
  readonly days: number
  readonly jobs: ReadonlyArray<JobReport>
  /** What needs a look, the gravest first; empty when all is well. */
  readonly problems: ReadonlyArray<Problem>
  /** Runs in the period; the newest of them are listed. */
  readonly runs: number
  readonly recent: ReadonlyArray<TimedRun>
  readonly failures: ReadonlyArray<Failure>
  readonly folders: ReadonlyArray<FolderReport>
  readonly replicas: ReadonlyArray<ReplicaReport>
  readonly archiveCharts: ReadonlyArray<Chart>
  readonly replicationCharts: ReadonlyArray<Chart>
  /** Lines of the history that could not be understood. */
  readonly unreadable: number
}

/** Something that needs a look. */
export interface Problem {
  /** A job, a folder, a dataset. */
  readonly subject: string
  readonly text: string
  /** Since when, where that is known. */
  readonly since: number | undefined
}

export interface Settings {
  readonly host: string
  readonly now: number
  /** How far back lists and charts go. */
  readonly days: number
  /** How many folders have an archive in the target. */
  readonly archives: number
  /** What a look at the target and the last verification found; nothing where it is left out. */
  readonly found?: TargetFindings
  /** Jobs of the configuration. */
  readonly jobs: ReadonlyArray<KnownJob>
}

/** What is known of archives besides what runs said. */
interface TargetFindings {
  /** Folders whose archive was published, and whose zip is not there. */
  readonly lost: ReadonlyArray<string>
  readonly flaws?: ReadonlyArray<Flaw>
  /** What verify found of the archives that are there now, by folder. */
  readonly verified: ReadonlyMap<
    string,
    { readonly current: Verified | undefined; readonly previous: Verified | undefined }
  >
  /** Messages that could not be delivered, with the job that they are of. */
  readonly undelivered: ReadonlyArray<{ readonly job: string; readonly message: Undelivered }>
}

const nothingFound: TargetFindings = { lost: [], verified: new Map(), undelivered: [] }

const dayMillis = 86_400_000
const mostRecent = 50

/** What the history comes to. `unreadable`: how many of its lines could not be understood. */
export const reportOf = (
  history: { readonly runs: ReadonlyArray<HistoryRun>; readonly unreadable: number },
  { archives: there, days, found = nothingFound, host, jobs: known, now }: Settings
): Report => {
  const { runs, unreadable } = timed(history.runs)
  const period = { from: now - days * dayMillis, now }
  const archives = runs.filter(isArchive)
  const replications = runs.filter(isReplication)
  const recent = runs.filter(({ ended }) => ended >= period.from)
  const all = [...runs, ...timed(unwritten(known, runs)).runs]
  const jobs = jobsOf(all, known, { ...period, archives: there })
  const standings = new Map(known.map(({ key, standing }) => [labelOf(key), standing]))
  const told = foldersNow(foldersOf(archives, period.from), standings.get("archive"), archives)
  const lost = new Set(found.lost)
  const folders = told.map((folder): FolderReport => {
    const verified = found.verified.get(folder.folder)?.current
    return {
      ...folder,
      lost: lost.has(folder.folder),
      ...(verified === undefined ? {} : { verified })
    }
  })
  const replicas = jobs
    .filter(({ kind }) => kind === "replication")
    .flatMap(({ name }) => {
      const own = replications.filter((run) => jobOf(run) === name)
      return replicasNow(name, replicasOf(name, own, period.from), standings.get(name), own)
    })
  return {
    host,
    made: now,
    from: period.from,
    days,
    jobs,
    problems: [...problemsOfArchives(found), ...problemsOf(now, jobs, folders, replicas, there)],
    runs: recent.length,
    recent: recent.slice(-mostRecent).reverse(),
    failures: failuresOf(recent),
    folders,
    replicas,
    archiveCharts: archiveCharts(drawable(archives, now), period),
    replicationCharts: replicationCharts(drawable(replications, now), period),
    unreadable: history.unreadable + unreadable
  }
}

/** Lost and damaged archives, whatever runs say, and what the operator was not told. */
const problemsOfArchives = ({
  flaws = [],
  lost,
  undelivered,
  verified
}: TargetFindings): ReadonlyArray<Problem> => {
  const gone = new Set(lost)
  const damaged = [...verified].flatMap(([folder, { current, previous }]) => [
    ...(gone.has(folder) ? [] : damageOf(`${folder}.zip`, folder, current)),
    ...damageOf(`${folder}.prev.zip`, folder, previous)
  ])
  const isNews = ({ folder, which }: Flaw) =>
    which === "previous" || !damaged.some(({ subject }) => subject === folder)
  return [
    ...lost.map((folder) => ({
      subject: folder,
      text: `its archive is lost: ${folder}.zip is not there, though one was published; \`zipper verify ${folder}\` says what to do`,
      since: undefined
    })),
    ...damaged,
    ...flaws.filter(isNews).map(({ folder, problem, which }) => ({
      subject: folder,
      text: `${namesOf(folder, which).zip} ${problem}; \`zipper verify${which === "previous" ? " --prev" : ""} ${folder}\` says what to do`,
      since: undefined
    })),
    ...undelivered.map(({ job, message: { at_utc, error, title } }) => ({
      subject: job,
      text: `a message could not be delivered, and is tried again after the next run: "${title}": ${error}`,
      since: Date.parse(at_utc)
    }))
  ]
}

const damageOf = (zip: string, folder: string, found: Verified | undefined): ReadonlyArray<Problem> =>
  found !== undefined && isBad(found)
    ? [
        {
          subject: folder,
          text: `${zip} is ${found.result}, as verify found: ${found.problem ?? "no finding was recorded"}`,
          since: Date.parse(found.verified_at_utc)
        }
      ]
    : []

const problemsOf = (
  now: number,
  jobs: ReadonlyArray<JobReport>,
  folders: ReadonlyArray<FolderReport>,
  replicas: ReadonlyArray<ReplicaReport>,
  archives: number
): ReadonlyArray<Problem> => {
  const past = new Set(jobs.filter(({ state }) => state === "past").map(({ name }) => name))
  const inFolders = past.has("archive") ? [] : folders.filter(({ trouble }) => trouble !== undefined)
  const inReplicas = replicas.filter(({ job, trouble }) => trouble !== undefined && !past.has(job))
  return [
    ...jobs.flatMap((job) => problemOf(now, job, archives)),
    ...inFolders.map(({ folder, trouble }) => ({
      subject: folder,
      text: trouble?.error ?? "",
      since: trouble?.since
    })),
    ...inReplicas.map(({ dataset, job, trouble }) => ({
      subject: `${dataset} (${job})`,
      text: `${trouble?.result === "refused" ? "refused: " : ""}${trouble?.error ?? ""}`,
      since: trouble?.since
    }))
  ]
}

/** Single folders and datasets speak for themselves; a job speaks when it could not work, or does not run. */
const problemOf = (now: number, job: JobReport, archives: number): ReadonlyArray<Problem> => {
  const { begun, lockedOut } = job
  const subject = job.kind === "archive" ? "archive job" : `job ${job.name}`
  const locked =
    lockedOut === undefined || begun?.atWork === true
      ? []
      : [{ subject, text: describeLockedOut(lockedOut), since: Date.parse(lockedOut.since_utc) }]
  return [...locked, ...stateProblem(now, subject, job, archives)]
}

const stateProblem = (
  now: number,
  subject: string,
  { begun, last, state }: JobReport,
  archives: number
): ReadonlyArray<Problem> => {
  if (state === "killed") {
    const text =
      "a run came to no end: it was killed, or the machine went down; the next one puts in order what it left"
    return [{ subject, text, since: begun?.at }]
  }
  if (state === "new") return [{ subject, text: "has not run yet", since: undefined }]
  if (state === "forgotten") {
    const text = `there are archives of ${count(archives, "folder")} in the target, and nothing tells of a run: was its folder .zipper lost, or did another program make them?`
    return [{ subject, text, since: undefined }]
  }
  if (state === "silent") {
    return [
      { subject, text: "used to run regularly, and does not any more: look at cron", since: last?.ended }
    ]
  }
  if (state === "well" && last !== undefined && isAhead(now, last.started)) {
    const text = `its last run is dated in the future (${last.run.started_at_utc}): the clock was wrong then, or is now`
    return [{ subject, text, since: undefined }]
  }
  if (state !== "failing" || last === undefined) return []
  const { error, outcome } = last.run
  switch (outcome) {
    case "not_started":
      return [{ subject, text: `could not begin: ${error ?? "see the log"}`, since: last.started }]
    case "interrupted":
      return [{ subject, text: error ?? "was stopped by a signal before it was done", since: last.ended }]
    case "failed":
    case "ok":
      if (error === undefined && namesTrouble(last)) return []
      return [{ subject, text: error ?? "its last run failed: see the log", since: last.ended }]
  }
}

const namesTrouble = ({ run }: TimedRun): boolean =>
  run.kind === "archive"
    ? run.folders.some(({ result }) => result === "failed")
    : run.datasets.some(({ result }) => result !== "sent")
