import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { withoutControls } from "../text/Text.ts"
import { endpointOf, troubleOf } from "./Notifier.ts"

export type Signal = "start" | "success" | "failure"

/** An address to ping, taken apart. */
export interface Addresses {
  readonly of: Readonly<Record<Signal, string>>
  /** For messages: the path is the secret, so there is none of it. */
  readonly shown: string
  readonly login: { readonly user: string; readonly password: string } | undefined
}

const suffixes: Readonly<Record<Signal, string>> = { start: "/start", success: "", failure: "/fail" }

/** What is called for each signal: the suffix goes after the path, and the query stays at the end. */
export const addressesOf = (address: string): Addresses => {
  const { login, url } = endpointOf(address)
  const of = (signal: Signal): string => {
    const parsed = new URL(url)
    const suffix = suffixes[signal]
    if (suffix !== "") parsed.pathname = `${parsed.pathname.replace(/\/+$/, "")}${suffix}`
    return parsed.href
  }
  return {
    of: { start: of("start"), success: of("success"), failure: of("failure") },
    shown: `${new URL(url).origin}/…`,
    login
  }
}

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

/** One attempt failed. The text never holds the address, which is the only secret that a ping needs. */
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
        Effect.catchAll(({ message }) => Effect.logWarning(`the ping (${signal}) did not get through: ${message}`))
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

/** At most so many bytes, whole characters only; without control characters, which could steer the terminal of its reader. */
const cut = (text: string): string => {
  const body = withoutControls(text)
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
  if (status === 401 || status === 403) return "it refuses access; is ping_url right?"
  return status >= 500 || status === 429 ? "it has a problem, or wants us to wait" : "it refused the ping"
}

/** A dead man's switch: a service elsewhere reports when no run pings it any more. */
export class Ping extends Context.Tag("zipper/Ping")<
  Ping,
  {
    /** A run begins. A ping that fails is a warning in the log. */
    readonly start: Effect.Effect<void>
    /** It went well. */
    readonly success: Effect.Effect<void>
    /** It did not; `body` says what was wrong, and is cut to what such services take (10 kB). */
    readonly fail: (body: string) => Effect.Effect<void>
  }
>() {
  /** As healthchecks.io has it: GET `<url>/start`, GET `<url>`, POST `<url>/fail`. */
  static readonly layer = (settings: PingSettings): Layer.Layer<Ping, never, HttpClient.HttpClient> =>
    Layer.effect(Ping, makePing(settings))

  /** Says that it would ping, and does not. */
  static readonly layerDryRun: Layer.Layer<Ping> = Layer.succeed(Ping, {
    start: Effect.void,
    success: Effect.logInfo("would ping ping_url: success"),
    fail: () => Effect.logInfo("would ping ping_url: failure")
  })

  /** No ping_url is configured. */
  static readonly layerNone: Layer.Layer<Ping> = Layer.sync(Ping, () => noPing)
}

/** Sends nothing. */
export const noPing: typeof Ping.Service = {
  start: Effect.void,
  success: Effect.void,
  fail: () => Effect.void
}
