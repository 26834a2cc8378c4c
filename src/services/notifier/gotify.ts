import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { maskAddress } from "../../domain/ConfigIssues.ts"
import { type Answer, isHealth, isReceipt } from "./answers.ts"
import { type Endpoint, endpointOf } from "./Endpoint.ts"
import { connectionFailure, foreignAnswer, statusFailure, timeoutFailure } from "./failures.ts"
import type { Notification } from "./Notification.ts"
import type { NotifyError } from "./NotifyError.ts"

/** Where to post, as configured. */
export interface GotifySettings {
  readonly url: string
  readonly token: Redacted.Redacted
  readonly priority: number
  /** For each attempt. */
  readonly timeout_seconds: number
  /** Further attempts after the first. */
  readonly retries: number
  /** Pause before the second attempt; it doubles from then on, up to half a minute. Default: a second. */
  readonly pause?: Duration.DurationInput
}

/** What answers: Gotify, or a server of which only a message can tell whether it is one. */
export type Probed = "Gotify" | "Unknown"

/** Posts messages to one Gotify server. */
export const makeGotify = (settings: GotifySettings) =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const endpoint = endpointOf(settings.url)
    const secrets = [
      Redacted.value(settings.token),
      ...(endpoint.login === undefined ? [] : [endpoint.login.password])
    ]
    // Spans would carry the headers and the whole address, both of which may hold secrets.
    const quiet = client.pipe(
      HttpClient.withTracerDisabledWhen(() => true),
      HttpClient.withScope
    )

    const attempt = (request: HttpClientRequest.HttpClientRequest) =>
      quiet.execute(request).pipe(
        Effect.flatMap(answerOf),
        // Closing the scope drops what is left of a long answer.
        Effect.scoped,
        // A redirect must not take the token to another host.
        Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
        Effect.mapError((error) => connectionFailure(endpoint.shown, error)),
        Effect.timeoutFail({
          duration: Duration.seconds(settings.timeout_seconds),
          onTimeout: () => timeoutFailure(endpoint.shown, settings.timeout_seconds)
        })
      )

    const send = (notification: Notification) =>
      attempt(messageRequest(endpoint, settings, notification)).pipe(
        Effect.filterOrFail(
          ({ status }) => status >= 200 && status < 300,
          ({ status, location }) => statusFailure(endpoint.shown, status, location)
        ),
        // A login page, a captive portal or another server answers 200 as well, and shows the message to no one.
        Effect.filterOrFail(isReceipt, (answer) => foreignAnswer(endpoint.shown, answer, secrets)),
        Effect.tapError((error) => Effect.logDebug(error.message)),
        Effect.retry({ schedule: backOff(settings), while: (error: NotifyError) => error.transient }),
        Effect.asVoid
      )

    // Any answer but a server's own failure will do: a proxy may well hide /health.
    const probe = attempt(
      withLogin(HttpClientRequest.make(endpoint.health.method)(endpoint.health.url), endpoint)
    ).pipe(
      Effect.filterOrFail(
        // Gotify's own health check says 200; where only the server is known, any answer of it will do.
        ({ status }) => status === 200 || (endpoint.health.method === "HEAD" && status < 500),
        ({ status, location }) => statusFailure(endpoint.shown, status, location)
      ),
      Effect.filterOrFail(
        (answer) => endpoint.health.method === "HEAD" || isHealth(answer),
        (answer) => foreignAnswer(maskAddress(endpoint.health.url), answer, secrets)
      ),
      Effect.as<Probed>(endpoint.health.method === "HEAD" ? "Unknown" : "Gotify")
    )

    return { send, probe }
  })

/** More than any answer of Gotify has, even where it repeats a long message. */
const longestAnswer = 1024 * 1024

const answerOf = (response: HttpClientResponse.HttpClientResponse) =>
  response.stream.pipe(
    Stream.runFoldWhile(
      Buffer.alloc(0),
      (read) => read.length < longestAnswer,
      (read, chunk) => Buffer.concat([read, chunk])
    ),
    // An answer without a body.
    Effect.catchIf(
      (error) => error.reason === "EmptyBody",
      () => Effect.succeed(Buffer.alloc(0))
    ),
    Effect.map(
      (body): Answer => ({
        status: response.status,
        location: shownLocation(response.headers["location"]),
        contentType: response.headers["content-type"],
        body: body.toString("utf8")
      })
    )
  )

const messageRequest = (endpoint: Endpoint, settings: GotifySettings, notification: Notification) =>
  HttpClientRequest.post(endpoint.url).pipe(
    HttpClientRequest.setHeader("X-Gotify-Key", Redacted.value(settings.token)),
    HttpClientRequest.bodyUnsafeJson({
      title: notification.title,
      message: notification.message,
      priority: notification.priority ?? settings.priority,
      extras: { "client::display": { contentType: "text/markdown" } }
    }),
    (request) => withLogin(request, endpoint)
  )

const withLogin = (request: HttpClientRequest.HttpClientRequest, { login }: Endpoint) =>
  login === undefined ? request : HttpClientRequest.basicAuth(request, login.user, login.password)

// Capped, since twenty retries that double would last for days.
const backOff = ({ retries, pause = "1 second" }: GotifySettings) =>
  Schedule.exponential(pause).pipe(
    Schedule.union(Schedule.spaced("30 seconds")),
    Schedule.jittered,
    Schedule.intersect(Schedule.recurs(retries))
  )

const shownLocation = (location: string | undefined) =>
  location === undefined ? undefined : maskAddress(location).slice(0, 200)
