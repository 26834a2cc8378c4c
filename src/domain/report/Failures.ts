import { jobOf } from "./Jobs.ts"
import type { TimedRun } from "./Timeline.ts"

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
