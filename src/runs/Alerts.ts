import * as Schema from "effect/Schema"
import { type JobKey, jobFileName } from "../config/ReplicationJob.ts"
import { Way } from "../notify/Notifier.ts"
import { optional } from "../text/Document.ts"
import { Instant, isAhead } from "../text/Time.ts"
import { shortened } from "./Run.ts"

/**
 * The reported failures of one task of a job: `<state folder>/standing/TASK.alerts`. A failure is reported when it begins, when its
 * reason changes, and once in `reminder_hours`. A message that was not delivered is kept and sent with the next run.
 */

/** Something that fails: a folder, a dataset, an archive; the empty name is the job as a whole. */
const FailingItem = Schema.Struct({
  name: Schema.String,
  since_utc: Instant,
  reason: Schema.String,
  told_utc: optional(Instant)
})
type FailingItem = typeof FailingItem.Type

export const MessageKind = Schema.Literal("failure", "success", "recovery")
export type MessageKind = typeof MessageKind.Type

export const Undelivered = Schema.Struct({
  kind: MessageKind,
  at_utc: Instant,
  title: Schema.String,
  message: Schema.String,
  error: Schema.String,
  /** The one way that has not delivered it. */
  only: optional(Way)
})
export type Undelivered = typeof Undelivered.Type

export const Alerts = Schema.Struct({
  version: Schema.Literal(1),
  failing: Schema.Array(FailingItem),
  undelivered: Schema.Array(Undelivered)
})
export type Alerts = typeof Alerts.Type

export const noAlerts: Alerts = { version: 1, failing: [], undelivered: [] }

/** The sender of messages: the runs of a job, or another command for the same job. */
export interface AlertsOf {
  readonly job: JobKey
  readonly task: "run" | "prune" | "verify"
}

export const alertsNameOf = ({ job, task }: AlertsOf): string =>
  task === "run" ? jobFileName(job) : `${jobFileName(job)}.${task}`

export interface Findings {
  /** When it ended, in milliseconds since 1970. */
  readonly now: number
  readonly at: string
  readonly failing: ReadonlyArray<{ readonly name: string; readonly reason: string }>
  /** Whether an item that is not in `failing` works, by this run; of other items nothing is known. */
  readonly covers: (name: string) => boolean
}

export const afterRun = (before: Alerts, { at, covers, failing }: Findings): Alerts => {
  const known = new Map(before.failing.map((item) => [item.name, item]))
  const now = failing.map(({ name, reason }): FailingItem => {
    const { reason: earlier, since_utc = at, told_utc } = known.get(name) ?? {}
    const item = { name, reason: shortened(reason), since_utc }
    const isReported = told_utc !== undefined && earlier !== undefined && isSameReason(earlier, item.reason)
    return isReported ? { ...item, told_utc } : item
  })
  const names = namesIn(failing)
  const others = before.failing.filter(({ name }) => !names.has(name) && !covers(name))
  return { ...before, failing: [...others, ...now] }
}

const namesIn = (items: Findings["failing"]): ReadonlySet<string> => new Set(items.map(({ name }) => name))

const itemsOf = (alerts: Alerts, { failing }: Findings): ReadonlyArray<FailingItem> => {
  const names = namesIn(failing)
  return alerts.failing.filter(({ name }) => names.has(name))
}

/** Why a message about the items of a run is due now; undefined: all of them were reported. */
export const dueOf = (alerts: Alerts, findings: Findings, reminderHours: number): "new" | "reminder" | undefined => {
  const items = itemsOf(alerts, findings)
  if (items.some(({ told_utc }) => told_utc === undefined)) return "new"
  const isOld = items.some(({ told_utc = "" }) => {
    const told = Date.parse(told_utc)
    return !(findings.now - told < reminderHours * hour) || isAhead(findings.now, told)
  })
  return isOld ? "reminder" : undefined
}

/** Almost an hour, in milliseconds: runs do not begin to the second, and the run of the same hour reminds. */
const hour = 0.98 * 3_600_000

export const markReported = (alerts: Alerts, { at, failing }: Findings): Alerts => {
  const names = namesIn(failing)
  return {
    ...alerts,
    failing: alerts.failing.map((item) => (names.has(item.name) ? { ...item, told_utc: at } : item))
  }
}

export const since = (alerts: Alerts, findings: Findings): string | undefined =>
  itemsOf(alerts, findings)
    .map(({ since_utc }) => since_utc)
    .sort()
    .at(0)

/** What works again after it failed. */
export interface Recovered {
  /** Since when no run could begin, if one does again. */
  readonly job: { readonly since: string } | undefined
  /** Folders, datasets, archives, with a clause about the time before. */
  readonly items: ReadonlyArray<{ readonly name: string; readonly before: string }>
}

/** What failed before a run and does not after it; undefined when there is none. */
export const recoveredOf = (before: Alerts, after: Alerts): Recovered | undefined => {
  const still = namesIn(after.failing)
  const gone = before.failing.filter(({ name }) => !still.has(name))
  if (gone.length === 0) return undefined
  const job = gone.find(({ name }) => name === "")
  return {
    job: job === undefined ? undefined : { since: job.since_utc },
    items: gone.flatMap(({ name, since_utc }) =>
      name === "" ? [] : [{ name, before: `it failed since ${since_utc}` }]
    )
  }
}

/** Whether two reasons differ only in numbers, sizes, times and ids, which change from run to run. */
export const isSameReason = (a: string, b: string): boolean => withoutFigures(a) === withoutFigures(b)

const withoutFigures = (reason: string): string =>
  reason
    .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b/g, "#")
    .replace(/\d+(?:[.,:]\d+)*(?: ?(?:B|[KMGTPE]i?B|ms|min|s|m|h|d)\b)?/g, "#")
