import { archiveJobKey, type JobKey, jobLabel } from "../config/ReplicationJob.ts"
import type { HistoryRun } from "../runs/History.ts"
import type { JobState, LockedOut } from "../runs/JobState.ts"
import type { Outcome } from "../runs/Run.ts"
import { dayMillis, hourMillis } from "../text/Time.ts"

/** One line of the history. Times in milliseconds since 1970. */
export interface TimedRun {
  readonly run: HistoryRun
  /** The name of its job in messages. */
  readonly job: string
  readonly started: number
  readonly ended: number
  readonly items: ReadonlyArray<RunItem>
  /** How many folders an archive run looked at; a replication covers all of its datasets. */
  readonly covered: number
}

/** What a run did to one folder or dataset. */
export interface RunItem {
  readonly name: string
  readonly result: "archived" | "sent" | "refused" | "failed"
  readonly target?: string
  readonly error?: string
  readonly files?: number
  readonly bytes?: number
  readonly zip_bytes?: number
  readonly seconds?: number
}

/** Runs in the order of their lines, which is that of their ends. `unreadable`: how many have no readable time and are left out. */
export const timeRuns = (
  runs: ReadonlyArray<HistoryRun>
): { readonly runs: ReadonlyArray<TimedRun>; readonly unreadable: number } => {
  const good = runs.map(timedRun).filter(({ ended }) => Number.isFinite(ended))
  return { runs: good, unreadable: runs.length - good.length }
}

const timedRun = (run: HistoryRun): TimedRun => {
  const started = Date.parse(run.started_at_utc)
  const common = { run, started, ended: started + run.seconds * 1000 }
  if (run.kind === "archive") {
    const items = run.folders.map(({ folder: name, ...rest }) => ({ name, ...rest }))
    return { ...common, job: jobLabel(archiveJobKey), items, covered: run.archived + run.unchanged + run.failed }
  }
  const items = run.datasets.map(({ dataset: name, ...rest }) => ({ name, ...rest }))
  const job = jobLabel({ kind: "replication", name: run.job })
  return { ...common, job, items, covered: Number.POSITIVE_INFINITY }
}

/** Runs of a kind up to now, in order of their times: the clock may have been set in between. */
export const runsUntil = (now: number, all: ReadonlyArray<TimedRun>, kind: HistoryRun["kind"]) =>
  all.filter(({ ended, run }) => run.kind === kind && ended <= now).sort((a, b) => a.ended - b.ended)

/** A job of the configuration, with what its runs left beside the history. */
export interface KnownJob {
  readonly key: JobKey
  readonly state: JobState | undefined
  /** A run that came to no end so far, and since when, in milliseconds since 1970. */
  readonly begun: { readonly at: number; readonly atWork: boolean } | undefined
  /** Runs that found the lock held since the last success. */
  readonly lockedOut?: LockedOut | undefined
}

/** The states that are as new as the history, by the name of the job. */
export const currentStates = (
  known: ReadonlyArray<KnownJob>,
  runs: ReadonlyArray<TimedRun>
): ReadonlyMap<string, JobState> =>
  new Map(
    known.flatMap(({ key, state }) => {
      const name = jobLabel(key)
      const own = runs.filter(({ job }) => job === name)
      return state?.kind === key.kind && isCurrent(state, own) ? [[name, state] as const] : []
    })
  )

/** A run is later if its line is, for the clock may have been set. The time decides only for a run that has no line. */
const isCurrent = (state: JobState, runs: ReadonlyArray<TimedRun>): boolean => {
  const last = runs.at(-1)
  if (last === undefined) return true
  const line = runs.findLastIndex(({ run }) => isLastRun(state, run))
  if (line < 0) return Date.parse(state.last_run.started_at_utc) >= last.started
  const later = runs.slice(line + 1)
  if (state.kind !== "archive") return later.length === 0
  // Later runs of chosen folders leave what they did there, and the last run as it was.
  const starts = new Set(later.map(({ run }) => run.started_at_utc))
  const seen = new Set<string>(
    state.folders.filter((item) => starts.has(item.last_attempt_utc)).map(({ folder }) => folder)
  )
  return later.every(({ items }) => items.every(({ name }) => seen.has(name)))
}

const isLastRun = ({ last_run }: JobState, { run, started_at_utc }: HistoryRun): boolean =>
  last_run.run === run && last_run.started_at_utc === started_at_utc

/** The last runs that failed and have no line in `runs`, as the target was full or read-only then; nothing is known of their items. */
export const unwrittenRuns = (states: Iterable<JobState>, runs: ReadonlyArray<HistoryRun>): ReadonlyArray<HistoryRun> =>
  [...states].flatMap((state): ReadonlyArray<HistoryRun> => {
    if (state.last_run.outcome === "ok" || runs.some((run) => isLastRun(state, run))) return []
    const { failures: failed, ...last } = state.last_run
    const common = { version: 1, ...last, failed } as const
    if (state.kind === "archive") {
      return [{ ...common, kind: state.kind, archived: 0, unchanged: 0, zip_bytes: 0, folders: [] }]
    }
    const { direction, host, job, kind } = state
    return [
      { ...common, kind, job, direction, host, sent: 0, up_to_date: 0, nothing_to_send: 0, refused: 0, datasets: [] }
    ]
  })

/** The worst outcome of the runs of one day (UTC); `none`: there was no run. */
export interface Day {
  readonly at: number
  readonly worst: Outcome | "none"
  readonly runs: number
}

/**
 * `failing`: by its last run; `killed`: that came to no end; `silent`: it ran regularly and does not any more; `new`: it never ran;
 * `forgotten`: no run is known, though there are archives; `past`: the configuration does not have it.
 */
type JobCondition = "well" | "failing" | "killed" | "silent" | "new" | "forgotten" | "past"

export interface JobReport extends Pick<KnownJob, "begun" | "lockedOut"> {
  readonly name: string
  readonly kind: JobKey["kind"]
  readonly what: string
  readonly state: JobCondition
  readonly last: TimedRun | undefined
  /** The last one that was wholly well. */
  readonly good: TimedRun | undefined
  /** The usual time from one start to the next; undefined when there are too few runs to say. */
  readonly gap: number | undefined
  /** Of the last days, unless it pauses on most of them, as on a machine that sleeps at night. */
  readonly missed: Missed | undefined
  /** Runs in the period, and how many of them were wholly well. */
  readonly runs: number
  readonly well: number
  readonly days: ReadonlyArray<Day>
}

/** Runs that did not take place, by the usual time from one to the next, and the longest time without any. */
export interface Missed {
  readonly runs: number
  readonly from: number
  readonly to: number
}

/** `archives`: how many are in the target; `from`: where the period begins. */
interface Surroundings {
  readonly archives: number
  readonly from: number
  readonly now: number
}

/** Each job that the configuration has or the runs name: the archive job first, then by name. `runs` in order of their ends. */
export const jobsOf = (
  runs: ReadonlyArray<TimedRun>,
  known: ReadonlyArray<KnownJob>,
  surroundings: Surroundings
): ReadonlyArray<JobReport> => {
  const jobs = new Map(known.map((job) => [jobLabel(job.key), job]))
  const runsOf = new Map<string, Array<TimedRun>>([...jobs.keys()].map((name) => [name, []]))
  for (const timed of runs) {
    const own = runsOf.get(timed.job)
    if (own === undefined) runsOf.set(timed.job, [timed])
    else own.push(timed)
  }
  return [...runsOf]
    .map(([name, own]) => jobReport(name, jobs.get(name), own, surroundings))
    .sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1))
}

const rank = ({ kind, state }: JobReport): number => (state === "past" ? 2 : kind === "archive" ? 0 : 1)

const jobReport = (
  name: string,
  job: KnownJob | undefined,
  runs: ReadonlyArray<TimedRun>,
  surroundings: Surroundings
): JobReport => {
  const { from, now } = surroundings
  const last = runs.at(-1)
  const kind = job?.key.kind ?? last?.run.kind ?? "archive"
  const gap = gapOf(runs)
  const recent = runs.filter(({ ended }) => ended >= from)
  return {
    name,
    kind,
    what: whatOf(kind, last?.run),
    state: conditionOf(job, last, gap, surroundings),
    begun: job?.begun,
    lockedOut: job?.lockedOut,
    last,
    good: runs.findLast(({ run }) => run.outcome === "ok"),
    gap,
    missed: missedOf(runs, gap, now),
    runs: recent.length,
    well: recent.filter(({ run }) => run.outcome === "ok").length,
    days: daysOf(recent, from, now)
  }
}

const whatOf = (kind: JobKey["kind"], last: HistoryRun | undefined): string => {
  if (kind === "archive") return "archives folders"
  if (last?.kind !== "replication") return "replicates datasets"
  return last.direction === "pull" ? `pulls from ${last.host}` : `pushes to ${last.host}`
}

const leastSilence = 2 * hourMillis

const conditionOf = (
  job: KnownJob | undefined,
  last: TimedRun | undefined,
  gap: number | undefined,
  { archives, now }: Surroundings
): JobCondition => {
  if (job === undefined) return "past"
  const { begun, key, state } = job
  if (begun !== undefined && !begun.atWork) return "killed"
  if (last === undefined) {
    const isUnknown = begun === undefined && state === undefined
    return key.kind === "archive" && archives > 0 && isUnknown ? "forgotten" : "new"
  }
  if (last.run.outcome !== "ok") return "failing"
  return begun === undefined && gap !== undefined && isPause(now - last.ended, gap) ? "silent" : "well"
}

const isPause = (millis: number, gap: number): boolean => millis > Math.max(3 * gap, leastSilence)

export const missedWithin = 7

const missedOf = (runs: ReadonlyArray<TimedRun>, gap: number | undefined, now: number): Missed | undefined => {
  if (gap === undefined) return undefined
  const pauses = runs.slice(1).flatMap(({ started: to }, index) => {
    const from = runs[index]?.ended ?? to
    if (to < now - missedWithin * dayMillis || to > now || !isPause(to - from, gap)) return []
    // The job may have run more rarely until then.
    const usual = Math.max(gap, gapOf(runs.slice(0, index + 1)) ?? gap)
    return isPause(to - from, usual) ? [{ runs: Math.round((to - from) / usual) - 1, from, to }] : []
  })
  const [longest] = [...pauses].sort((a, b) => b.to - b.from - (a.to - a.from))
  const days = new Set(pauses.map(({ from }) => Math.floor(from / dayMillis))).size
  if (longest === undefined || days > missedWithin / 2) return undefined
  return { ...longest, runs: pauses.reduce((sum, pause) => sum + pause.runs, 0) }
}

const fewest = 4
const lately = 50

const gapOf = (runs: ReadonlyArray<TimedRun>): number | undefined => {
  const latest = runs.slice(-lately)
  if (latest.length < fewest) return undefined
  const gaps = latest.slice(1).map(({ started }, index) => started - (latest[index]?.started ?? 0))
  return gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)]
}

const mostDays = 90
const severity: ReadonlyArray<Day["worst"]> = ["none", "ok", "interrupted", "failed", "not_started"]

const daysOf = (runs: ReadonlyArray<TimedRun>, from: number, now: number): ReadonlyArray<Day> => {
  const today = Math.floor(now / dayMillis)
  const first = Math.max(Math.floor(from / dayMillis), today - mostDays + 1)
  const days = Array.from(
    { length: Math.max(0, today - first + 1) },
    (_, index): { -readonly [K in keyof Day]: Day[K] } => ({
      at: (first + index) * dayMillis,
      worst: "none",
      runs: 0
    })
  )
  for (const { run, started } of runs) {
    const day = days[Math.floor(started / dayMillis) - first]
    if (day === undefined) continue
    day.runs += 1
    if (severity.indexOf(run.outcome) > severity.indexOf(day.worst)) day.worst = run.outcome
  }
  return days
}

/** What a run did, in a few words: "3 archived, 11 unchanged", "2 sent, 1 refused". */
export const doneBy = (run: HistoryRun): string => {
  const { failed } = run
  const counts =
    run.kind === "archive"
      ? { archived: run.archived, unchanged: run.unchanged, failed }
      : {
          sent: run.sent,
          "up to date": run.up_to_date,
          "without snapshots": run.nothing_to_send,
          refused: run.refused,
          failed
        }
  const parts = Object.entries(counts).flatMap(([word, n]) => (n > 0 ? [`${n} ${word}`] : []))
  return parts.length > 0 ? parts.join(", ") : "nothing"
}
