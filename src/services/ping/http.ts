import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { harmless } from "../../domain/Text.ts"
import { troubleOf } from "../notifier/failures.ts"
import { type Addresses, addressesOf, type Signal } from "./addresses.ts"

/** Where to ping, as configured. */
export interface PingSettings {
  readonly url: Redacted.Redacted
  /** For each attempt. Default: 10. */
  readonly timeoutSeconds?: number
  /** Further attempts after the first. Default: 2. */
  readonly retries?: number
  /** Pause before the second attempt, doubled before each that follows. Default: a second. */
  readonly pause?: Duration.DurationInput
}

/** One attempt failed. The text never holds the address: whoever knows that can ping. */
class PingError extends Data.TaggedError("PingError")<{
  readonly message: string
  readonly transient: boolean
}> {}

const longestBody = 10_000

/** Pings one address. */
export const makePing = (settings: PingSettings) =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const addresses = addressesOf(Redacted.value(settings.url))
    const seconds = settings.timeoutSeconds ?? 10
    // Spans would carry the address.
    const quiet = client.pipe(
      HttpClient.withTracerDisabledWhen(() => true),
      HttpClient.withScope
    )

    const ping = (signal: Signal, body?: string) =>
      quiet.execute(requestFor(addresses, signal, body)).pipe(
        Effect.map(({ status }) => status),
        Effect.scoped,
        // A redirect would take the address elsewhere, and make a POST a GET.
        Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
        Effect.mapError((error) => unreachable(addresses.shown, error)),
        Effect.timeoutFail({
          duration: Duration.seconds(seconds),
          onTimeout: () =>
            new PingError({
              message: `${addresses.shown} did not answer within ${seconds} s`,
              transient: true
            })
        }),
        Effect.filterOrFail(
          (status) => status >= 200 && status < 300,
          (status) => refused(addresses.shown, status)
        ),
        Effect.retry({
          schedule: Schedule.exponential(settings.pause ?? "1 second").pipe(
            Schedule.jittered,
            Schedule.intersect(Schedule.recurs(settings.retries ?? 2))
          ),
          while: (error: PingError) => error.transient
        }),
        Effect.asVoid,
        Effect.catchAll(({ message }) =>
          Effect.logWarning(`the ping (${signal}) did not get through: ${message}`)
        )
      )

    return {
      start: ping("start"),
      success: ping("success"),
      fail: (body: string) => ping("failure", cut(body))
    }
  })

const requestFor = (addresses: Addresses, signal: Signal, body: string | undefined) => {
  const url = addresses.of[signal]
  const request =
    body === undefined
      ? HttpClientRequest.get(url)
      : HttpClientRequest.post(url).pipe(HttpClientRequest.bodyText(body, "text/plain; charset=utf-8"))
  const { login } = addresses
  return login === undefined ? request : HttpClientRequest.basicAuth(request, login.user, login.password)
}

/** At most so many bytes, whole characters only; no text that could steer the terminal of whoever reads it there. */
const cut = (text: string): string => {
  const body = harmless(text)
  const bytes = new TextEncoder().encode(body)
  if (bytes.length <= longestBody) return body
  const head = new TextDecoder("utf-8", { fatal: false }).decode(bytes.subarray(0, longestBody - 4))
  return `${head.replace(/\ufffd+$/, "")}…`
}

const unreachable = (shown: string, error: HttpClientError.HttpClientError): PingError => {
  const { permanent, why } = troubleOf(error)
  return new PingError({ message: `${shown} cannot be reached: ${why}`, transient: !permanent })
}

const refused = (shown: string, status: number): PingError =>
  new PingError({
    message: `${shown} answered HTTP ${status}: ${advice(status)}`,
    transient: status === 429 || status === 408 || status >= 500
  })

const advice = (status: number): string => {
  if (status >= 300 && status < 400) return "it redirects; set ping_url to the final address"
  if (status === 404 || status === 410) return "it knows no such check; is ping_url right?"
  if (status === 401 || status === 403) return "it lets nobody in; is ping_url right?"
  return status >= 500 || status === 429 ? "it has a problem, or wants us to wait" : "it refused the ping"
}
