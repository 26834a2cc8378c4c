import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { maskAddress } from "../../domain/ConfigIssues.ts"
import { type Endpoint, endpointOf } from "./Endpoint.ts"
import { connectionFailure, statusFailure, timeoutFailure } from "./failures.ts"
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

/** Posts messages to one Gotify server. */
export const makeGotify = (settings: GotifySettings) =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const endpoint = endpointOf(settings.url)
    // Spans would carry the headers and the whole address, both of which may hold secrets.
    const quiet = client.pipe(
      HttpClient.withTracerDisabledWhen(() => true),
      HttpClient.withScope
    )

    const attempt = (request: HttpClientRequest.HttpClientRequest) =>
      quiet.execute(request).pipe(
        Effect.map(({ status, headers }) => ({ status, location: shownLocation(headers["location"]) })),
        // Closing the scope drops the rest of the answer: the status says all.
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
      Effect.asVoid
    )

    return { send, probe }
  })

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
