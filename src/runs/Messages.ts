import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type Notification, Notifier } from "../notify/Notifier.ts"
import { utcSeconds } from "../store/Metadata.ts"
import {
  type Alerts,
  type AlertsOf,
  afterRun,
  dueOf,
  type Findings,
  type MessageKind,
  markReported,
  noAlerts,
  since,
  type Undelivered
} from "./Alerts.ts"
import { JobStates } from "./JobState.ts"
import { LockError } from "./Lock.ts"
import { withDeadline } from "./Retry.ts"
import type { Outcome } from "./StateFolder.ts"

/** Whose messages they are, and how often the same failure is told. */
export interface MessageSettings {
  readonly of: AlertsOf
  readonly reminder_hours: number
}

/** What a run has to say. A message that is undefined is not wanted (`notify_on`), or there is nothing to say. */
interface Messages {
  /** About all that is failing. Sent when it is due, see Alerts. */
  readonly failure: Notification | undefined
  readonly success?: Notification | undefined
  /** What works again, given what was known of failures before and is after. */
  readonly recovery?: (before: Alerts, after: Alerts) => Notification | undefined
}

/**
 * Sends what is due of a run's messages, and those of earlier runs that could not be delivered. Never fails: what cannot be
 * delivered is an error in the log, is remembered, and is what this gives; undefined when all was delivered.
 */
export const deliver = Effect.fn("Messages.deliver")(function* (
  { of, reminder_hours }: MessageSettings,
  run: Omit<Findings, "now" | "at"> & { readonly outcome: Outcome },
  messages: Messages
) {
  const standing = yield* JobStates
  const { mute } = yield* Notifier
  const now = yield* Clock.currentTimeMillis
  const findings: Findings = { ...run, now, at: utcSeconds(now) }
  // The place of these may be what hangs: the operator is told all the same.
  const before = yield* standing.alerts(of).pipe(
    (load) => withDeadline(load, undefined),
    Effect.map((found) => found ?? noAlerts),
    Effect.catchAll((error) => Effect.as(Effect.logDebug(error.message), noAlerts))
  )
  const after = afterRun(before, findings)
  const due = run.failing.length === 0 ? undefined : dueOf(after, findings, reminder_hours)
  const failure =
    due === "reminder" ? reminder(messages.failure, since(after, findings), reminder_hours) : messages.failure
  const fresh = [
    ...messageOf("failure", due === undefined ? undefined : failure, findings.at),
    ...messageOf("success", messages.success, findings.at),
    ...messageOf("recovery", messages.recovery?.(before, after), findings.at)
  ]
  const left = yield* sendAll([...olderThan(fresh, before), ...fresh])
  const isTold =
    mute !== true && fresh.some(({ kind }) => kind === "failure") && !left.some(({ kind }) => kind === "failure")
  const alerts = { ...(isTold ? markReported(after, findings) : after), undelivered: left }
  if (!isEmpty(before) || !isEmpty(alerts)) {
    yield* standing.saveAlerts(of, alerts, run.outcome).pipe(
      (save) => withDeadline(save, undefined),
      Effect.catchAll((error) => Effect.logDebug(error.message))
    )
  }
  const [first] = left
  if (first === undefined) return undefined
  yield* Effect.logError(`a message could not be delivered, and is tried again after the next run: ${first.error}`)
  return first.error
})

/**
 * Runs a command that looks after something, and tells how it ended: its failures, and that it could not do its work at all. A
 * lock that is held is no news, and the user who stopped a command knows of it.
 */
export const withMessages =
  <A extends object>(
    settings: MessageSettings,
    about: {
      readonly failing: (summary: A) => Findings["failing"]
      readonly covers: (summary: A, name: string) => boolean
      /** Whether an error is for others than the user who gave the command; all are when left out. */
      readonly isNews?: (error: unknown) => boolean
      readonly ofFailure: (message: string) => Notification | undefined
      /** With what works again. */
      readonly ofSummary: (summary: A) => Omit<Messages, "failure"> & Partial<Messages>
    }
  ) =>
  <E, R>(command: Effect.Effect<A, E, R>) =>
    command.pipe(
      Effect.onInterrupt(() => Effect.logError("stopped by a signal before it was done")),
      Effect.tapErrorCause((cause) => {
        const reason = about.isNews?.(Cause.squash(cause)) === false ? undefined : unexpected(cause)
        if (reason === undefined) return Effect.void
        const failing = [{ name: "", reason }]
        const run = { failing, covers: () => false, outcome: "not_started" as const }
        return Effect.asVoid(deliver(settings, run, { failure: about.ofFailure(reason) }))
      }),
      Effect.flatMap((summary) => {
        const failing = about.failing(summary)
        const covers = (name: string) => name === "" || about.covers(summary, name)
        const outcome = failing.length === 0 ? "ok" : "failed"
        const messages = { failure: undefined, ...about.ofSummary(summary) }
        return Effect.map(deliver(settings, { failing, covers, outcome }, messages), (undelivered) =>
          undelivered === undefined ? summary : { ...summary, undelivered }
        )
      })
    )

const unexpected = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.isInterrupted(cause)) return undefined
  const error = Cause.squash(cause)
  if (error instanceof LockError && error.reason === "Held") return undefined
  return error instanceof Error ? error.message : String(error)
}

const isEmpty = ({ failing, undelivered }: Alerts): boolean => failing.length === 0 && undelivered.length === 0

const messageOf = (
  kind: MessageKind,
  notification: Notification | undefined,
  at_utc: string
): ReadonlyArray<Undelivered> =>
  notification === undefined
    ? []
    : [{ kind, at_utc, title: notification.title, message: notification.message, error: "" }]

/** Those of before that say something which none of the new ones does. */
const olderThan = (fresh: ReadonlyArray<Undelivered>, { undelivered }: Alerts) => {
  const kinds = new Set(fresh.map(({ kind }) => kind))
  return undelivered.filter(({ kind }) => !kinds.has(kind))
}

/**
 * Those that could not be delivered. A server that does not answer is not tried with the others as well, which would take as long;
 * a message that it refuses for good does not keep the others back.
 */
const sendAll = Effect.fnUntraced(function* (messages: ReadonlyArray<Undelivered>) {
  const { send } = yield* Notifier
  const left: Array<Undelivered> = []
  let away: string | undefined
  for (const each of messages) {
    if (away === undefined) {
      const tried = yield* Effect.either(send(notificationOf(each)))
      if (Either.isRight(tried)) continue
      const { message, transient } = tried.left
      left.push({ ...each, error: message })
      if (transient) away = message
    } else left.push({ ...each, error: away })
  }
  return left
})

const notificationOf = ({ at_utc, error, message, title }: Undelivered): Notification => ({
  title,
  message: error === "" ? message : `${message}\n\nThis message is of ${at_utc}; it could not be delivered then.`
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
