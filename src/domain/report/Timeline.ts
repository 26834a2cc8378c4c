import type { ArchiveRun, HistoryRun, ReplicationRun } from "../History.ts"

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
export const timed = (
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
export const drawable = <Run extends TimedRun>(runs: ReadonlyArray<Run>, now: number): ReadonlyArray<Run> =>
  runs.filter(({ ended }) => ended <= now).sort((a, b) => a.ended - b.ended)

export const isArchive = (run: TimedRun): run is TimedArchive => run.run.kind === "archive"
export const isReplication = (run: TimedRun): run is TimedReplication => run.run.kind === "replication"

/** Whether a run came to its end, so that what it does not name was in order. */
export const isWhole = ({ run }: TimedRun): boolean => run.outcome === "ok" || run.outcome === "failed"

/** How many folders an archive run looked at. */
export const coverage = ({ run }: TimedArchive): number => run.archived + run.unchanged + run.failed

/** Trouble that has not ended: when it began, how often it came since, and what it says of itself. */
export interface Trouble {
  readonly since: number
  readonly last: number
  readonly times: number
  readonly result: "failed" | "refused"
  readonly error: string
}

/** The same trouble once more, or the beginning of it. */
export const worse = (
  before: Trouble | undefined,
  at: number,
  { error, result }: Pick<Trouble, "error" | "result">
): Trouble => ({ since: before?.since ?? at, last: at, times: (before?.times ?? 0) + 1, error, result })

/** At most `most` of them, the first and the last among them, evenly taken. */
export const thinned = <A>(values: ReadonlyArray<A>, most: number): ReadonlyArray<A> => {
  if (values.length <= most) return values
  const stride = (values.length - 1) / (most - 1)
  return Array.from({ length: most }, (_, index) => values[Math.round(index * stride)]).filter(
    (value) => value !== undefined
  )
}
