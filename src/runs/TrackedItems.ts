import type { Recovered } from "./Alerts.ts"
import type { JobState } from "./JobState.ts"

/** A folder or a dataset: what metrics, status and messages say of both alike. */
export interface TrackedItem {
  readonly noun: "folder" | "dataset"
  readonly name: string
  /** `idle`: a dataset that has nothing to send, which is neither a success nor a failure. */
  readonly condition: "well" | "failing" | "idle"
  readonly last_success_utc?: string
  readonly last_attempt_utc: string
  readonly error?: string
  readonly seconds?: number
  readonly bytes?: number
  /** Of a folder's archive. */
  readonly files?: number
  readonly zip_bytes?: number
}

export const trackedItems = (state: JobState): ReadonlyArray<TrackedItem> =>
  state.kind === "archive"
    ? state.folders.map(({ folder, result, ...rest }) => ({
        ...rest,
        noun: "folder",
        name: folder,
        condition: result === "failed" ? "failing" : "well"
      }))
    : state.datasets.map(({ dataset, result, ...rest }) => ({
        ...rest,
        noun: "dataset",
        name: dataset,
        condition:
          result === "failed" || result === "refused" ? "failing" : result === "nothing_to_send" ? "idle" : "well"
      }))

/** What failed before a run and does not after it; undefined when there is nothing of the kind. */
export const recoveredBetween = (before: JobState | undefined, after: JobState): Recovered | undefined => {
  if (before === undefined) return undefined
  const failed = new Map(
    trackedItems(before).flatMap((item) => (item.condition === "failing" ? [[item.name, item]] : []))
  )
  const items = trackedItems(after).flatMap(({ condition, name }) => {
    const earlier = failed.get(name)
    if (earlier === undefined || condition !== "well") return []
    const since = earlier.last_success_utc
    return [{ name, before: since === undefined ? "it never worked before" : `the last time before was ${since}` }]
  })
  const since = before.not_started_since_utc
  const job = since !== undefined && after.not_started_since_utc === undefined ? { since } : undefined
  return job === undefined && items.length === 0 ? undefined : { job, items }
}
