import { isWhole, type TimedReplication, type Trouble, thinned, worse } from "./Timeline.ts"

/** What the history knows of one dataset of a replication job. Times in milliseconds since 1970. */
export interface ReplicaReport {
  readonly job: string
  readonly dataset: string
  readonly target: string | undefined
  /** When something was last sent without an error. */
  readonly sent: { readonly at: number; readonly bytes: number } | undefined
  /** The last run that brought it up to date or found it so; undefined when there was none. */
  readonly good: number | undefined
  /** None of the job's any more. */
  readonly gone: boolean
  /** Sent in the period. */
  readonly bytes: number
  /** What was sent in the period, run by run, thinned. */
  readonly sizes: ReadonlyArray<{ readonly at: number; readonly bytes: number }>
  readonly trouble: Trouble | undefined
}

interface Known {
  target: string | undefined
  sent: ReplicaReport["sent"]
  good: number | undefined
  bytes: number
  readonly sizes: Array<{ readonly at: number; readonly bytes: number }>
  trouble: Trouble | undefined
}

const most = 40

/** Each dataset that the runs of one job name, in order of name; `from` is where the period begins. */
export const replicasOf = (
  job: string,
  runs: ReadonlyArray<TimedReplication>,
  from: number
): ReadonlyArray<ReplicaReport> => {
  const known = new Map<string, Known>()
  for (const timed of runs) {
    for (const entry of timed.run.datasets) {
      const dataset = known.get(entry.dataset) ?? unknown()
      known.set(entry.dataset, dataset)
      dataset.target = entry.target ?? dataset.target
      if (entry.result === "sent") {
        dataset.sent = { at: timed.ended, bytes: entry.bytes }
        dataset.good = timed.ended
        dataset.trouble = undefined
      } else {
        const error = entry.error ?? (entry.result === "refused" ? "refused" : "failed")
        dataset.trouble = worse(dataset.trouble, timed.ended, { result: entry.result, error })
      }
      if (timed.ended < from) continue
      dataset.bytes += entry.bytes
      dataset.sizes.push({ at: timed.ended, bytes: entry.bytes })
    }
    // A run names every dataset in trouble; those that it does not name were up to date.
    if (isWhole(timed)) settle(known, timed)
  }
  return [...known.entries()]
    .map(([dataset, { sizes, ...rest }]) => ({
      job,
      dataset,
      ...rest,
      gone: false,
      sizes: thinned(sizes, most)
    }))
    .sort((a, b) => (a.dataset < b.dataset ? -1 : 1))
}

const unknown = (): Known => ({
  target: undefined,
  sent: undefined,
  good: undefined,
  bytes: 0,
  sizes: [],
  trouble: undefined
})

const settle = (known: ReadonlyMap<string, Known>, timed: TimedReplication): void => {
  const named = new Set(timed.run.datasets.map(({ dataset }) => dataset))
  for (const [name, dataset] of known) {
    if (named.has(name)) continue
    dataset.trouble = undefined
    dataset.good = timed.ended
  }
}
