import type { JobStanding } from "./Standing.ts"

/** What works again after it failed. */
export interface Recovered {
  /** Since when no run could begin, if one does again. */
  readonly job: { readonly since: string } | undefined
  /** Folders, datasets, archives: with their last success before they failed, or since when they failed. */
  readonly items: ReadonlyArray<
    { readonly name: string } & ({ readonly since: string | undefined } | { readonly failing: string })
  >
}

interface Item {
  readonly name: string
  readonly state: "well" | "failing" | "neither"
  readonly since: string | undefined
}

/** What failed before a run and does not any more after it; undefined when there is nothing of the kind. */
export const recoveredBetween = (
  before: JobStanding | undefined,
  after: JobStanding
): Recovered | undefined => {
  if (before === undefined) return undefined
  const failing = new Map(
    itemsOf(before)
      .filter(({ state }) => state === "failing")
      .map((item) => [item.name, item])
  )
  const items = itemsOf(after).flatMap(({ name, state }) => {
    const failed = failing.get(name)
    return failed !== undefined && state === "well" ? [{ name, since: failed.since }] : []
  })
  const since = before.not_started_since_utc
  const job = since !== undefined && after.not_started_since_utc === undefined ? { since } : undefined
  return job === undefined && items.length === 0 ? undefined : { job, items }
}

const itemsOf = (standing: JobStanding): ReadonlyArray<Item> =>
  standing.kind === "archive"
    ? standing.folders.map(({ folder, last_success_utc, result }) => ({
        name: folder,
        state: result === "failed" ? "failing" : "well",
        since: last_success_utc
      }))
    : standing.datasets.map(({ dataset, last_success_utc, result }) => ({
        name: dataset,
        state:
          result === "failed" || result === "refused"
            ? "failing"
            : result === "nothing_to_send"
              ? "neither"
              : "well",
        since: last_success_utc
      }))
