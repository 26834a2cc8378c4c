import { type JobKey, jobLabel } from "../config/JobKey.ts"
import type { ArchiveRun, HistoryRun, ReplicationRun } from "../runs/History.ts"
import type { JobState, LockedOut } from "../runs/JobState.ts"
import type { Outcome } from "../runs/Run.ts"

/** A run with its times as numbers, in milliseconds since 1970. */
interface Timed<Run extends HistoryRun> {
  readonly run: Run
  readonly started: number
  readonly ended: number
}
export type TimedArchive = Timed<ArchiveRun>
export type TimedReplication = Timed<ReplicationRun>
export type TimedRun = TimedArchive | TimedReplication

/** Runs in the order of their lines, which is that of their ends, and how many of them have no readable time and are left out. */
export const timeRuns = (
  runs: ReadonlyArray<HistoryRun>
): { readonly runs: ReadonlyArray<TimedRun>; readonly unreadable: number } => {
  const all = runs.map((run): TimedRun => {
    const started = Date.parse(run.started_at_utc)
    const times = { started, ended: started + run.seconds * 1000 }
    return run.kind === "archive" ? { run, ...times } : { run, ...times }
  })
  const good = all.filter(({ ended }) => Number.isFinite(ended))
  return { runs: good, unreadable: all.length - good.length }
}

/** What can be drawn over time: runs up to `now`, in order of their times. The clock may have been set in between. */
export const drawableRuns = <Run extends TimedRun>(runs: ReadonlyArray<Run>, now: number): ReadonlyArray<Run> =>
  runs.filter(({ ended }) => ended <= now).sort((a, b) => a.ended - b.ended)

export const isArchive = (run: TimedRun): run is TimedArchive => run.run.kind === "archive"
export const isReplication = (run: TimedRun): run is TimedReplication => run.run.kind === "replication"

/** Whether a run came to its end, so that what it does not name was in order. */
export const isWhole = ({ run }: TimedRun): boolean => run.outcome === "ok" || run.outcome === "failed"

/** How many folders an archive run looked at. */
export const coverage = ({ run }: TimedArchive): number => run.archived + run.unchanged + run.failed

/** A job of the configuration, with what was written down of it beside the history. */
export interface KnownJob {
  readonly key: JobKey
  /** How things stood at the end of its last run. */
  readonly standing: JobState | undefined
  /** A run of which no end was written down, and whether it is still at work. */
  readonly begun: Begun | undefined
  /** Runs that found the lock held since the last one in which all went well. */
  readonly lockedOut?: LockedOut | undefined
}

/** `at`: milliseconds since 1970. */
interface Begun {
  readonly at: number
  readonly atWork: boolean
}

/** What became of the runs of one day (UTC); `none`: there was no run. The worst of them counts. */
export interface Day {
  /** Where it begins, in milliseconds since 1970. */
  readonly at: number
  readonly worst: Outcome | "none"
  readonly runs: number
}

/**
 * How a job stands: `well`; `failing`, by its last run; `killed`, when that came to no end; `silent`, when it ran regularly and
 * does not any more; `new`, when it never ran; `forgotten`, when no run is known, though there are archives; `past`, when it is
 * none of the configuration's.
 */
type JobCondition = "well" | "failing" | "killed" | "silent" | "new" | "forgotten" | "past"

/** What the history knows of one job. Times in milliseconds since 1970. */
export interface JobReport {
  readonly name: string
  readonly kind: "archive" | "replication"
  /** "archives folders", "pulls from nas". */
  readonly what: string
  readonly state: JobCondition
  readonly begun: Begun | undefined
  readonly lockedOut?: LockedOut | undefined
  readonly last: TimedRun | undefined
  /** The last one that was wholly well. */
  readonly good: TimedRun | undefined
  /** The usual time from one start to the next, in milliseconds; undefined when there are too few runs to say. */
  readonly gap: number | undefined
  /** Runs in the period, and how many of them were wholly well. */
  readonly runs: number
  readonly well: number
  readonly days: ReadonlyArray<Day>
}

const dayMillis = 86_400_000
const mostDays = 90

const keyOf = ({ run }: TimedRun): JobKey =>
  run.kind === "archive" ? { kind: "archive" } : { kind: "replication", name: run.job }

/** What the job of a run is called. */
export const jobOf = (timed: TimedRun): string => jobLabel(keyOf(timed))

/**
 * Each job that the configuration has or the runs name: the archive job first, then by name. `runs` in order of their ends, `now` and `from`
 * (where the period begins) in milliseconds since 1970; `archives`: how many there are in the target.
 */
export const jobsOf = (
  runs: ReadonlyArray<TimedRun>,
  known: ReadonlyArray<KnownJob>,
  surroundings: Surroundings
): ReadonlyArray<JobReport> => {
  const found = new Map<string, FoundJob>(known.map((job) => [jobLabel(job.key), { ...job, isKnown: true, runs: [] }]))
  for (const timed of runs) {
    const name = jobOf(timed)
    const entry = found.get(name) ?? {
      key: keyOf(timed),
      standing: undefined,
      begun: undefined,
      isKnown: false,
      runs: []
    }
    entry.runs.push(timed)
    found.set(name, entry)
  }
  return [...found.values()]
    .map((job) => reportOfJob(job, surroundings))
    .sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1))
}

interface Surroundings {
  readonly archives: number
  readonly from: number
  readonly now: number
}

interface FoundJob extends KnownJob {
  readonly isKnown: boolean
  readonly runs: Array<TimedRun>
}

const rank = ({ kind, state }: JobReport): number => (state === "past" ? 2 : kind === "archive" ? 0 : 1)

const reportOfJob = (
  { begun, isKnown, key, lockedOut, runs, standing }: FoundJob,
  { archives, from, now }: Surroundings
): JobReport => {
  const last = runs.at(-1)
  const gap = gapOf(runs)
  const recent = runs.filter(({ ended }) => ended >= from)
  return {
    name: jobLabel(key),
    kind: key.kind,
    what: whatOf(key, last),
    state: !isKnown
      ? "past"
      : last === undefined && begun === undefined && standing === undefined && key.kind === "archive" && archives > 0
        ? "forgotten"
        : stateOf(last, begun, gap, now),
    begun,
    ...(lockedOut === undefined ? {} : { lockedOut }),
    last,
    good: runs.findLast(({ run }) => run.outcome === "ok"),
    gap,
    runs: recent.length,
    well: recent.filter(({ run }) => run.outcome === "ok").length,
    days: daysOf(recent, from, now)
  }
}

const whatOf = (job: JobKey, last: TimedRun | undefined): string => {
  if (last === undefined) return job.kind === "archive" ? "archives folders" : "replicates datasets"
  const { run } = last
  if (run.kind === "archive") return "archives folders"
  return run.direction === "pull" ? `pulls from ${run.host}` : `pushes to ${run.host}`
}

const stateOf = (
  last: TimedRun | undefined,
  begun: Begun | undefined,
  gap: number | undefined,
  now: number
): JobCondition => {
  if (begun !== undefined && !begun.atWork) return "killed"
  if (last === undefined) return "new"
  if (last.run.outcome !== "ok") return "failing"
  if (begun !== undefined) return "well"
  return gap !== undefined && now - last.ended > Math.max(3 * gap, leastSilence) ? "silent" : "well"
}

const leastSilence = 2 * 3_600_000
const enough = 4
const lately = 50

/** The median of the latest times from one start to the next. */
const gapOf = (runs: ReadonlyArray<TimedRun>): number | undefined => {
  const latest = runs.slice(-lately)
  if (latest.length < enough) return undefined
  const gaps = latest.flatMap(({ started }, index) => {
    const before = latest[index - 1]
    return before === undefined ? [] : [started - before.started]
  })
  return gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)]
}

const severity: ReadonlyArray<Day["worst"]> = ["none", "ok", "interrupted", "failed", "not_started"]

const daysOf = (runs: ReadonlyArray<TimedRun>, from: number, now: number): ReadonlyArray<Day> => {
  const today = Math.floor(now / dayMillis)
  const first = Math.max(Math.floor(from / dayMillis), today - mostDays + 1)
  const days = Array.from(
    { length: Math.max(0, today - first + 1) },
    (_, index): { -readonly [Key in keyof Day]: Day[Key] } => ({
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
export const doneBy = ({ run }: TimedRun): string => {
  const counts: ReadonlyArray<readonly [number, string]> =
    run.kind === "archive"
      ? [
          [run.archived, "archived"],
          [run.unchanged, "unchanged"],
          [run.failed, "failed"]
        ]
      : [
          [run.sent, "sent"],
          [run.up_to_date, "up to date"],
          [run.nothing_to_send, "without snapshots"],
          [run.refused, "refused"],
          [run.failed, "failed"]
        ]
  const parts = counts.filter(([n]) => n > 0).map(([n, word]) => `${n} ${word}`)
  return parts.length > 0 ? parts.join(", ") : "nothing"
}
