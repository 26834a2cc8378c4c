import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { jobLabel } from "../config/ReplicationJob.ts"
import { type Notification, Notifier } from "../notify/Notifier.ts"
import { codeOf, isAboutUs } from "../system/Errno.ts"
import { errorsDocument } from "../text/Document.ts"
import { dayMillis, utcSeconds } from "../text/Time.ts"
import {
  type Alerts,
  type AlertsOf,
  afterRun,
  dueOf,
  type Findings,
  type MessageKind,
  markReported,
  noAlerts,
  type Recovered,
  recoveredOf,
  since,
  type Undelivered
} from "./Alerts.ts"
import { JobStates } from "./JobState.ts"
import { LockError } from "./Lock.ts"
import { type RunEnd, withDeadline } from "./Run.ts"

/** Delivers the messages of a job. Their texts are in MessageTexts.ts; what was reported before, or not delivered, in Alerts.ts. */

/** The sender of messages, and after how many hours a failure that lasts is reported again. */
export interface MessageSettings {
  readonly of: AlertsOf
  readonly reminder_hours: number
}

/** What a job says of its ends; a message is undefined where `notify_on` does not ask for it. `A`: the summary of a run. */
export interface JobMessages<A> {
  readonly failing: (summary: A) => Findings["failing"]
  readonly covers: (summary: A, name: string) => boolean
  readonly reportOf: (summary: A) => string
  /** What the command prints with `--json`. */
  readonly documentOf: (summary: A) => unknown
  readonly ofFailure: (message: string) => Notification | undefined
  readonly ofKilled: (message: string) => Notification | undefined
  readonly ofSummary: (summary: A) => Notification | undefined
  readonly ofRecovery: (recovered: Recovered) => Notification | undefined
}

/** Reports failures of prune or verify by message and `ping`, but no held lock, interruption or what `isNews` rejects. */
export const withMessages =
  <A extends object>(
    settings: MessageSettings,
    messages: JobMessages<A>,
    isNews: (error: unknown) => boolean = () => true,
    ping: (report: string) => Effect.Effect<void> = () => Effect.void
  ) =>
  <E, R>(command: Effect.Effect<A, E, R>) =>
    command.pipe(
      Effect.tapErrorCause((cause) => {
        const error = Cause.squash(cause)
        const isHeld = error instanceof LockError && error.reason === "Held"
        if (Cause.isInterrupted(cause) || isHeld || !isNews(error)) return Effect.void
        const reason = error instanceof Error ? error.message : String(error)
        const end = { outcome: "not_started" as const, error: reason, summary: undefined }
        return Effect.zipRight(deliverEnd(settings, messages, end, recoveredOf), ping(reason))
      }),
      Effect.flatMap((summary) => {
        const outcome = messages.failing(summary).length === 0 ? "ok" : "failed"
        return deliverEnd(settings, messages, { outcome, error: undefined, summary }, recoveredOf).pipe(
          Effect.map((undelivered) => (undelivered === undefined ? summary : { ...summary, undelivered })),
          Effect.zipLeft(outcome === "failed" ? ping(messages.reportOf(summary)) : Effect.void)
        )
      })
    )

/** Sends the messages about the end of a run or a command. Gives what {@link deliver} gives. */
export const deliverEnd = <A>(
  settings: MessageSettings,
  messages: JobMessages<A>,
  { error = "", outcome, summary }: Pick<RunEnd<A>, "error" | "outcome" | "summary">,
  recovered: (before: Alerts, after: Alerts) => Recovered | undefined
) => {
  const failing = summary === undefined ? [{ name: "", reason: error }] : messages.failing(summary)
  const message = summary === undefined ? messages.ofFailure(error) : messages.ofSummary(summary)
  // A summary proves that the job as a whole, whose name is empty, works.
  const covers = (name: string) => summary !== undefined && (name === "" || messages.covers(summary, name))
  const document = summary === undefined ? errorsDocument(error) : messages.documentOf(summary)
  return deliver(
    settings,
    { failing, outcome, covers },
    {
      document,
      ...(failing.length > 0 ? { failure: message } : { failure: undefined, success: message }),
      recovery: (before, after) => {
        const items = recovered(before, after)
        return items === undefined ? undefined : messages.ofRecovery(items)
      }
    }
  )
}

/** A message that is undefined is not wanted (`notify_on`), or there is none to send. */
interface Messages {
  /** That of the run which they are about. */
  readonly document?: unknown
  readonly failure: Notification | undefined
  readonly success?: Notification | undefined
  readonly recovery?: (before: Alerts, after: Alerts) => Notification | undefined
}

/** Sends the messages that are due, and those left by earlier runs. Never fails: the result says why one could not be delivered. */
export const deliver = (...prepared: Parameters<typeof prepare>) => Effect.flatten(prepare(...prepared))

/** The sending, which {@link deliver} does at once. `keep`: until it ends, the messages are kept as not delivered; it takes seconds. */
export const prepare = Effect.fn("Messages.prepare")(function* (
  { of, reminder_hours }: MessageSettings,
  run: Omit<Findings, "now" | "at"> & Pick<RunEnd<unknown>, "outcome">,
  messages: Messages,
  keep = false
) {
  const states = yield* JobStates
  const { mute } = yield* Notifier
  const now = yield* Clock.currentTimeMillis
  const findings: Findings = { ...run, now, at: utcSeconds(now) }
  // The disk of these files may be what hangs: the messages are sent in any case.
  const known = yield* states.alerts(of).pipe(
    Effect.map((found) => found ?? noAlerts),
    (load) => withDeadline(load, undefined),
    Effect.tap((found) => (found === undefined ? Effect.logWarning(notRead) : Effect.void)),
    // Where rights are missing, that is why the run did not start.
    Effect.catchAll((error) => {
      const isSaid = run.outcome === "not_started" && isAboutUs(codeOf(error.cause))
      const log = isSaid ? Effect.logDebug : Effect.logWarning
      return Effect.as(log(error.message), undefined)
    })
  )
  const before = known ?? noAlerts
  const after = afterRun(before, findings)
  const due = run.failing.length === 0 ? undefined : dueOf(after, findings, reminder_hours)
  const failure =
    due === "reminder" ? reminder(messages.failure, since(after, findings), reminder_hours) : messages.failure
  const fresh = [
    ...messageOf("failure", due === undefined ? undefined : failure, findings.at),
    ...messageOf("success", messages.success, findings.at),
    ...messageOf("recovery", messages.recovery?.(before, after), findings.at)
  ]
  const older = before.undelivered.filter(({ kind }) => !hasKind(fresh, kind))
  // What could not be read is not replaced by the little that this run knows.
  const save = (alerts: Alerts) =>
    known === undefined
      ? Effect.succeed(false)
      : states.saveAlerts(of, alerts, run.outcome).pipe(
          Effect.as(true),
          (saving) => withDeadline(saving, false),
          Effect.catchAll((error) => Effect.as(Effect.logWarning(error.message), false))
        )
  const all = [...older, ...fresh]
  const unsent = all.map((each) => ({ ...each, error: each.error || "its sending did not come to an end" }))
  if (keep) yield* save({ ...after, undelivered: unsent })
  return Effect.gen(function* () {
    const sending = sendAll(of, all, now, messages.document)
    const left = yield* keep ? withDeadline(sending, unsent) : sending
    const isReported =
      mute !== true && hasKind(fresh, "failure") && !left.some(({ kind, only }) => kind === "failure" && !only)
    const alerts = { ...(isReported ? markReported(after, findings) : after), undelivered: left }
    const isKept = (isEmpty(before) && isEmpty(alerts) && !keep) || (yield* save(alerts))
    const [first] = left
    if (first === undefined) return undefined
    const next = isKept ? "is tried again after the next run" : "could not be written down, so it is not tried again"
    yield* Effect.logError(`a message could not be delivered, and ${next}: ${first.error}`)
    return first.error
  })
})

const isEmpty = ({ failing, undelivered }: Alerts): boolean => failing.length === 0 && undelivered.length === 0

const hasKind = (messages: ReadonlyArray<Undelivered>, kind: MessageKind): boolean =>
  messages.some((message) => message.kind === kind)

const messageOf = (
  kind: MessageKind,
  notification: Notification | undefined,
  at_utc: string
): ReadonlyArray<Undelivered> =>
  notification === undefined
    ? []
    : [{ kind, at_utc, title: notification.title, message: notification.message, error: "" }]

const notRead = "cannot read what was told of earlier failures: the disk did not answer in time; it is left as it is"

/** How long good news that is refused is sent again (milliseconds). */
const longestRetry = 7 * dayMillis

/** The messages that could not be delivered. After a server did not answer, the others are not tried, which would take as long. */
const sendAll = Effect.fnUntraced(function* (
  of: AlertsOf,
  messages: ReadonlyArray<Undelivered>,
  now: number,
  document: unknown
) {
  const { send } = yield* Notifier
  const left: Array<Undelivered> = []
  let away: string | undefined
  for (const each of messages) {
    if (away === undefined) {
      const tried = yield* Effect.either(send(notificationOf(of, each, document)))
      if (Either.isRight(tried)) continue
      const { message, only = each.only, transient } = tried.left
      // Good news of long ago that the server refuses; a failure is kept until it is delivered or replaced.
      if (!transient && each.kind !== "failure" && now - Date.parse(each.at_utc) > longestRetry) {
        yield* Effect.logError(`a message of ${each.at_utc} is given up: "${each.title}": ${message}`)
        continue
      }
      left.push({ ...each, error: message, ...(only && { only }) })
      if (transient) away = message
    } else left.push({ ...each, error: away })
  }
  return left
})

/** An older message is not about the run of the document. */
const notificationOf = (
  { job, task }: AlertsOf,
  { at_utc, error, kind, message, only, title }: Undelivered,
  document: unknown
): Notification => ({
  title,
  message: error === "" ? message : `${message}\n\nThis message is of ${at_utc}; it could not be delivered then.`,
  about: {
    event: kind,
    job: jobLabel(job),
    task,
    ...(error === "" && document !== undefined ? { result: document } : {})
  },
  ...(only && { only })
})

const reminder = (
  notification: Notification | undefined,
  first: string | undefined,
  hours: number
): Notification | undefined =>
  notification === undefined
    ? undefined
    : {
        ...notification,
        message: `${notification.message}\n\nFailing since ${first ?? "an unknown time"}; reminded every ${hours} h.`
      }
