import * as Schema from "effect/Schema"
import { type JobKey, jobFileName } from "../config/JobKey.ts"
import { optional } from "../text/Document.ts"
import { Instant, isAhead } from "../text/Time.ts"
import { shortened } from "./Run.ts"

/**
 * The failures of one task of a job that were reported: `<state folder>/standing/TASK.alerts`. A failure is reported when it
 * begins, when its reason changes, and once in `reminder_hours` while it lasts. Only a message that was delivered counts; one that
 * was not is kept, and sent with the next run. Times are UTC, `2025-01-01T12:00:00Z`.
 */

/** Something that fails: a folder, a dataset, an archive; the empty name is the job as a whole. */
const FailingItem = Schema.Struct({
  name: Schema.String,
  since_utc: Instant,
  reason: Schema.String,
  /** When a message about it was last delivered. */
  told_utc: optional(Instant)
})
type FailingItem = typeof FailingItem.Type

export const MessageKind = Schema.Literal("failure", "success", "recovery")
export type MessageKind = typeof MessageKind.Type

/** A message that could not be delivered, and why. */
export const Undelivered = Schema.Struct({
  kind: MessageKind,
  /** When that was first tried. */
  at_utc: Instant,
  title: Schema.String,
  message: Schema.String,
  error: Schema.String
})
export type Undelivered = typeof Undelivered.Type

export const Alerts = Schema.Struct({
  version: Schema.Literal(1),
  failing: Schema.Array(FailingItem),
  /** At most one of each kind: a newer one takes the place of an older one. */
  undelivered: Schema.Array(Undelivered)
})
export type Alerts = typeof Alerts.Type

export const noAlerts: Alerts = { version: 1, failing: [], undelivered: [] }

/** The sender of messages: the runs of a job, or another command for the same job. */
export interface AlertsOf {
  readonly job: JobKey
  readonly task: "run" | "prune" | "verify"
}

/** Name of the file, without `.alerts`. */
export const alertsNameOf = ({ job, task }: AlertsOf): string =>
  task === "run" ? jobFileName(job) : `${jobFileName(job)}.${task}`

export interface Findings {
  /** When that was, in milliseconds since 1970. */
  readonly now: number
  /** The same as an instant. */
  readonly at: string
  readonly failing: ReadonlyArray<{ readonly name: string; readonly reason: string }>
  /** Whether an item that is not among them does not fail, by this run; of others nothing is known. */
  readonly covers: (name: string) => boolean
}

/** The failures after a run, before its messages are sent. */
export const afterRun = (before: Alerts, { at, covers, failing }: Findings): Alerts => {
  const known = new Map(before.failing.map((item) => [item.name, item]))
  const now = failing.map(({ name, reason }): FailingItem => {
    const earlier = known.get(name)
    return {
      name,
      reason: shortened(reason),
      since_utc: earlier?.since_utc ?? at,
      ...(earlier?.told_utc !== undefined && isSameReason(earlier.reason, shortened(reason))
        ? { told_utc: earlier.told_utc }
        : {})
    }
  })
  const named = new Set(now.map(({ name }) => name))
  const others = before.failing.filter(({ name }) => !named.has(name) && !covers(name))
  return { ...before, failing: [...others, ...now] }
}

/** Why a message about these items is due now; undefined: all of them were reported. */
export const dueOf = (
  { failing }: Alerts,
  { failing: found, now }: Findings,
  reminderHours: number
): "new" | "reminder" | undefined => {
  const named = new Set(found.map(({ name }) => name))
  const items = failing.filter(({ name }) => named.has(name))
  if (items.some(({ told_utc }) => told_utc === undefined)) return "new"
  const isOld = items.some(({ told_utc = "" }) => {
    const told = Date.parse(told_utc)
    // Runs do not begin to the second: the one of the same hour is the one that reminds.
    return !(now - told < reminderHours * hour * almost) || isAhead(now, told)
  })
  return isOld ? "reminder" : undefined
}

const hour = 3_600_000
const almost = 0.98

/** Marks the items of a message that was delivered. */
export const markReported = (alerts: Alerts, { at, failing }: Findings): Alerts => {
  const named = new Set(failing.map(({ name }) => name))
  return {
    ...alerts,
    failing: alerts.failing.map((item) => (named.has(item.name) ? { ...item, told_utc: at } : item))
  }
}

/** Since when the longest of the items that a run found fails. */
export const since = (alerts: Alerts, { failing }: Findings): string | undefined => {
  const named = new Set(failing.map(({ name }) => name))
  return alerts.failing
    .filter(({ name }) => named.has(name))
    .map(({ since_utc }) => since_utc)
    .sort()
    .at(0)
}

/** What failed before a run and does not any more; undefined when there is nothing of the kind. */
export const recoveredOf = (before: Alerts, after: Alerts): Recovered | undefined => {
  const still = new Set(after.failing.map(({ name }) => name))
  const gone = before.failing.filter(({ name }) => !still.has(name))
  const job = gone.find(({ name }) => name === "")
  const items = gone.flatMap(({ name, since_utc }) => (name === "" ? [] : [{ name, failing: since_utc }]))
  if (gone.length === 0) return undefined
  return { job: job === undefined ? undefined : { since: job.since_utc }, items }
}

/**
 * Whether two reasons are the same but for what differs from run to run: numbers, sizes, times, ids. A disk that is full is full
 * for the same reason when it has a few bytes less.
 */
export const isSameReason = (a: string, b: string): boolean => steady(a) === steady(b)

const steady = (reason: string): string =>
  reason
    .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b/g, "#")
    .replace(/\d+(?:[.,:]\d+)*(?: ?(?:B|[KMGTPE]i?B|ms|min|s|m|h|d)\b)?/g, "#")

/** What works again after it failed. */
export interface Recovered {
  /** Since when no run could begin, if one does again. */
  readonly job: { readonly since: string } | undefined
  /** Folders, datasets, archives: with their last success before they failed, or since when they failed. */
  readonly items: ReadonlyArray<
    { readonly name: string } & ({ readonly since: string | undefined } | { readonly failing: string })
  >
}
