import type { Undelivered } from "../runs/Alerts.ts"
import type { HistoryRun } from "../runs/History.ts"
import { describeLockedOut } from "../runs/JobState.ts"
import type { Flaw } from "../runs/PublishedFolders.ts"
import { failuresOf as failuresOfVerify, type VerifyReplicasDocument } from "../runs/VerifyReplicasResult.ts"
import { findingOf, isBad, type Verified } from "../store/FolderState.ts"
import { namesOf } from "../store/PublishedArchive.ts"
import { commandOf, count, firstNames } from "../text/Text.ts"
import { dayMillis, isAhead } from "../text/Time.ts"
import type { Chart } from "./Chart.ts"
import { archiveCharts, replicationCharts, type SizeLine, sizeLines } from "./Charts.ts"
import { roughly, utc } from "./Html.ts"
import { type ItemReport, itemsOf } from "./Items.ts"
import {
  currentStates,
  type JobReport,
  jobsOf,
  type KnownJob,
  type Missed,
  missedWithin,
  type TimedRun,
  timeRuns,
  unwrittenRuns
} from "./Jobs.ts"
import { describeSpace, spaceOf, spaceProblem } from "./Space.ts"

/** All that the page says, in numbers. Times in milliseconds since 1970. */
export interface Report {
  readonly host: string
  readonly made: number
  /** Where the period of lists and charts begins; the current state is taken from the job state and all of the history. */
  readonly from: number
  readonly days: number
  readonly jobs: ReadonlyArray<JobReport>
  /** What needs a look, the gravest first; empty when all is well. */
  readonly problems: ReadonlyArray<Problem>
  /** Runs in the period; the newest of them are listed. */
  readonly runs: number
  readonly recent: ReadonlyArray<TimedRun>
  readonly failures: ReadonlyArray<Failure>
  readonly folders: ReadonlyArray<ItemReport>
  readonly replicas: ReadonlyArray<ItemReport>
  /** How long the target lasts, in words; undefined where its free space is not known. */
  readonly space: string | undefined
  readonly sizeLines: ReadonlyArray<SizeLine>
  readonly archiveCharts: ReadonlyArray<Chart>
  readonly replicationCharts: ReadonlyArray<Chart>
  /** Lines of the history that could not be understood. */
  readonly unreadable: number
}

export interface Problem {
  readonly subject: string
  readonly text: string
  /** Since when, where that is known. */
  readonly since?: number | undefined
}

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
  readonly jobs: ReadonlyArray<KnownJob>
}

/** What is known of archives besides what runs said. */
interface TargetFindings {
  /** Folders whose archive was published, and whose zip is not there. */
  readonly lost: ReadonlyArray<string>
  /** Why more may be lost. */
  readonly unread?: ReadonlyArray<string>
  readonly flaws?: ReadonlyArray<Flaw>
  readonly verified: ReadonlyMap<string, { readonly [Which in "current" | "previous"]: Verified | undefined }>
  readonly undelivered: ReadonlyArray<{ readonly job: string; readonly message: Undelivered }>
  /** The last verification of the replicas of each job. */
  readonly replicas?: ReadonlyArray<VerifyReplicasDocument>
  /** Bytes that are free in the target, where that is known, and whether its snapshots keep what is replaced. */
  readonly free?: number | undefined
  readonly snapshots?: boolean
}

const nothingFound: TargetFindings = { lost: [], verified: new Map(), undelivered: [] }

const mostRecent = 50

/** What the history comes to. `unreadable`: how many of its lines could not be understood. */
export const reportOf = (
  history: { readonly runs: ReadonlyArray<HistoryRun>; readonly unreadable: number },
  { archives, days, found = nothingFound, host, jobs: known, now }: Settings
): Report => {
  const { runs, unreadable } = timeRuns(history.runs)
  const { snapshots = false } = found
  const period = { from: now - days * dayMillis, now }
  const recent = runs.filter(({ ended }) => ended >= period.from)
  const states = currentStates(known, runs)
  const unwritten = timeRuns(unwrittenRuns(states.values(), history.runs)).runs
  const jobs = jobsOf([...runs, ...unwritten], known, { ...period, archives })
  const itemsOfKind = (kind: JobReport["kind"]) =>
    jobs.filter((job) => job.kind === kind).flatMap(({ name }) => itemsOf(name, runs, states.get(name), period.from))
  const lost = new Set(found.lost)
  const folders = itemsOfKind("archive").map((folder) => ({
    ...folder,
    lost: lost.has(folder.name),
    verified: found.verified.get(folder.name)?.current
  }))
  const space = found.free === undefined ? undefined : spaceOf(found.free, runs, now)
  const looked = new Map(
    found.replicas?.flatMap(({ replicas, started_at_utc }) =>
      replicas.map(({ findings, target }) => [target, { at: Date.parse(started_at_utc), isBad: findings.length > 0 }])
    )
  )
  const replicas = itemsOfKind("replication").map((item) => ({ ...item, looked: looked.get(item.target ?? null) }))
  return {
    host,
    made: now,
    from: period.from,
    days,
    jobs,
    problems: [
      ...targetProblems(found),
      ...runProblems(now, jobs, [...folders, ...replicas], archives),
      ...unverifiedProblem(folders, now),
      ...[space && spaceProblem(space, snapshots)].flatMap((text) => (text ? [{ subject: "target", text }] : [])),
      ...goneProblems(folders, now)
    ],
    runs: recent.length,
    recent: recent.slice(-mostRecent).reverse(),
    failures: failuresOf(recent),
    folders,
    replicas,
    space: space && describeSpace(space, snapshots),
    sizeLines: sizeLines(runs, period),
    archiveCharts: archiveCharts(runs, period),
    replicationCharts: replicationCharts(runs, period),
    unreadable: history.unreadable + unreadable
  }
}

/** What went wrong in these runs (in order of their ends), the latest first; equal errors of one subject are one failure. */
const failuresOf = (runs: ReadonlyArray<TimedRun>): ReadonlyArray<Failure> => {
  const found = new Map<string, Failure>()
  for (const timed of runs) {
    const { ended: last, job, run } = timed
    for (const single of failuresIn(timed)) {
      const key = JSON.stringify([run.kind, job, single.subject, single.result, single.error])
      const { first, times } = found.get(key) ?? { first: last, times: 0 }
      // Inserted anew, so that the order is that of the latest.
      found.delete(key)
      found.set(key, { ...single, job, first, last, times: times + 1 })
    }
  }
  return [...found.values()].reverse()
}

const noReason = "no reason was recorded"

const failuresIn = ({ items, run }: TimedRun): ReadonlyArray<Pick<Failure, "subject" | "result" | "error">> => {
  const { error, outcome } = run
  const isOwn = outcome !== "ok" && (outcome !== "failed" || error !== undefined)
  return [
    ...(isOwn ? [{ subject: undefined, result: outcome, error: error ?? noReason }] : []),
    ...items.flatMap(({ error = noReason, name: subject, result }) =>
      result === "failed" || result === "refused" ? [{ subject, result, error }] : []
    )
  ]
}

/** Archives that are lost or damaged, and messages that were not delivered. */
const targetProblems = ({
  flaws = [],
  lost,
  replicas = [],
  undelivered,
  unread = [],
  verified
}: TargetFindings): ReadonlyArray<Problem> => {
  const gone = new Set(lost)
  const damaged = [...verified].flatMap(([folder, { current, previous }]) => [
    ...(gone.has(folder) ? [] : damageOf(`${folder}.zip`, folder, current)),
    ...damageOf(`${folder}.prev.zip`, folder, previous)
  ])
  const isNews = ({ folder, which }: Flaw) => which === "previous" || !damaged.some(({ subject }) => subject === folder)
  return [
    ...unread.map((text) => ({ subject: "archive job", text })),
    ...lost.map((folder) => ({
      subject: folder,
      text: `its archive is lost: ${folder}.zip is not there, though one was published; \`${commandOf(["zipper", "verify"], folder)}\` says what to do`
    })),
    ...damaged,
    ...flaws.filter(isNews).map(({ folder, problem, which }) => ({
      subject: folder,
      text: `${namesOf(folder, which).zip} ${problem}; \`${commandOf(["zipper", "verify", ...(which === "previous" ? ["--prev"] : [])], folder)}\` says what to do`
    })),
    ...replicas.flatMap((found) =>
      failuresOfVerify(found).map(({ name, reason }) => ({
        subject: `${name} (${found.job})`,
        text: `verify found: ${reason}`,
        since: Date.parse(found.started_at_utc)
      }))
    ),
    ...undelivered.map(({ job, message: { at_utc, error, title } }) => ({
      subject: job,
      text: `a message could not be delivered, and is tried again after the next run: "${title}": ${error}`,
      since: Date.parse(at_utc)
    }))
  ]
}

/** When an archive was last read back: when it was published, or by verify. */
export const isUnverified = ({ archived, lost, verified }: ItemReport, now: number): boolean => {
  if (archived === undefined || lost === true || (verified !== undefined && isBad(verified))) return false
  return now - lastRead({ archived, verified }) > longestUnread * dayMillis
}

const lastRead = ({ archived = 0, verified }: Pick<ItemReport, "archived" | "verified">): number =>
  Math.max(
    archived,
    verified?.result === "good" || verified?.result === "foreign" ? Date.parse(verified.verified_at_utc) : 0
  )

/** A check each month, and half of one for a check that came late. */
const longestUnread = 45
const mostNamed = 5

const unverifiedProblem = (folders: ReadonlyArray<ItemReport>, now: number): ReadonlyArray<Problem> => {
  const found = folders.filter((folder) => isUnverified(folder, now))
  if (found.length === 0) return []
  const names = firstNames(
    found.map(({ name }) => name),
    mostNamed
  )
  const isOne = found.length === 1
  const text = `${count(found.length, "archive")} ${isOne ? "was" : "were"} not read back for more than ${longestUnread} days (${names}): whether the disk damaged ${isOne ? "it" : "them"} is not known; \`zipper verify\` reads ${isOne ? "it" : "them"}`
  return [{ subject: "archives", text, since: Math.min(...found.map(lastRead)) }]
}

/** A folder that is gone for longer (days) is in the table alone. */
const goneIsNews = 30

const goneProblems = (folders: ReadonlyArray<ItemReport>, now: number): ReadonlyArray<Problem> =>
  folders.flatMap(({ goneSince: since, name: subject }) => {
    if (since === undefined || now - since > goneIsNews * dayMillis) return []
    const text = "is not in the source any more, or `folders` does not match it now: its archives stay as they are"
    return [{ subject, text, since }]
  })

const damageOf = (zip: string, folder: string, found: Verified | undefined): ReadonlyArray<Problem> => {
  if (found === undefined || !isBad(found)) return []
  const text = `${zip} is ${found.result}, as verify found: ${findingOf(zip, found.problem)}`
  return [{ subject: folder, text, since: Date.parse(found.verified_at_utc) }]
}

/** A job has a problem of its own when it could not work, or does not run; the others are those of its folders and datasets. */
const runProblems = (
  now: number,
  jobs: ReadonlyArray<JobReport>,
  items: ReadonlyArray<ItemReport>,
  archives: number
): ReadonlyArray<Problem> => {
  const past = new Set(jobs.filter(({ state }) => state === "past").map(({ name }) => name))
  return [
    ...jobs.flatMap((job) => {
      const { begun, kind, lockedOut, missed, name, state } = job
      const subject = kind === "archive" ? "archive job" : `job ${name}`
      const problem = jobProblem(now, job, archives)
      return [
        ...(lockedOut === undefined || begun?.atWork === true
          ? []
          : [{ subject, text: describeLockedOut(lockedOut), since: Date.parse(lockedOut.since_utc) }]),
        ...(problem === undefined ? [] : [{ subject, ...problem }]),
        ...(missed === undefined || state === "past" ? [] : [{ subject, text: describeMissed(missed) }])
      ]
    }),
    ...items.flatMap(({ job, name, trouble }) => {
      if (trouble === undefined || past.has(job)) return []
      const { error, result, since } = trouble
      const subject = job === "archive" ? name : `${name} (${job})`
      return [{ subject, text: `${result === "refused" ? "refused: " : ""}${error}`, since }]
    })
  ]
}

const describeMissed = ({ from, runs, to }: Missed): string =>
  `missed about ${count(runs, "run")} in the last ${missedWithin} days: none began from ${utc(from)} to ${utc(to)} UTC; was the machine off, or cron?`

const jobProblem = (
  now: number,
  { begun, gap, last, state }: JobReport,
  archives: number
): Omit<Problem, "subject"> | undefined => {
  switch (state) {
    case "killed":
      return {
        text: "a run came to no end: it was killed, or the machine went down; the next one puts in order what it left",
        since: begun?.at
      }
    case "new":
      return { text: "has not run yet" }
    case "forgotten":
      return {
        text: `there are archives of ${count(archives, "folder")} in the target, and nothing tells of a run: was its folder .zipper lost, or did another program make them?`
      }
    case "silent":
      return {
        text: `ran every ${roughly(gap ?? 0)}, and does not any more: look at cron`,
        since: last?.ended
      }
    case "well":
      return last !== undefined && isAhead(now, last.started)
        ? {
            text: `its last run is dated in the future (${last.run.started_at_utc}): the clock was wrong then, or is now`
          }
        : undefined
    case "failing":
      return last === undefined ? undefined : failedRun(last)
    case "past":
      return undefined
  }
}

const failedRun = (timed: TimedRun): Omit<Problem, "subject"> | undefined => {
  const { ended, run, started } = timed
  const { error, outcome } = run
  if (outcome === "not_started") return { text: `could not begin: ${error ?? "see the log"}`, since: started }
  if (outcome === "interrupted") return { text: error ?? "was stopped by a signal before it was done", since: ended }
  // Its items have problems of their own.
  if (error === undefined && failuresIn(timed).length > 0) return undefined
  return { text: error ?? "its last run failed: see the log", since: ended }
}
