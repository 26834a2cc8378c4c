import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { maskAddress } from "../config/ConfigIssues.ts"
import { codeOf } from "../system/Errno.ts"
import { quoted } from "../text/Text.ts"

/** What a server answered. */
export interface Answer {
  readonly status: number
  /** Where a redirect points, without secrets. */
  readonly location: string | undefined
  readonly contentType: string | undefined
  readonly body: string
}

const Receipt = Schema.parseJson(Schema.Struct({ id: Schema.Number }))
const decodeReceipt = Schema.decodeUnknownOption(Receipt)
const Health = Schema.parseJson(Schema.Struct({ health: Schema.String }))
const decodeHealth = Schema.decodeUnknownOption(Health)

/** Gotify answers a message with the message and its number. */
export const isReceipt = ({ body }: Answer): boolean => Option.isSome(decodeReceipt(body))

/** Gotify answers the question how it is with its health and that of its database. */
export const isHealth = ({ body }: Answer): boolean => Option.isSome(decodeHealth(body))

/** A Gotify address taken apart, so that what is secret in it stays out of messages. */
export interface Endpoint {
  /** Where messages are posted; no user name or password in it (fetch refuses those). */
  readonly url: string
  /** Where the server tells how it is, without a message being sent. */
  readonly health: { readonly method: "GET" | "HEAD"; readonly url: string }
  /** For messages: without user name, password and query. */
  readonly shown: string
  /** User name and password of the address, for a proxy in front of the server. */
  readonly login: { readonly user: string; readonly password: string } | undefined
}

/** Takes an http or https address apart. */
export const endpointOf = (address: string): Endpoint => {
  const url = new URL(address)
  const login =
    url.username === "" && url.password === ""
      ? undefined
      : { user: unescaped(url.username), password: unescaped(url.password) }
  url.username = ""
  url.password = ""
  url.hash = ""
  const shown = `${url.origin}${url.pathname}`
  return {
    url: url.href,
    health: shown.endsWith("/message")
      ? { method: "GET", url: `${shown.slice(0, -"message".length)}health` }
      : { method: "HEAD", url: `${url.origin}/` },
    shown,
    login
  }
}

// URL leaves a stray % as it is, and escapes that are no UTF-8: decodeURIComponent throws at both.
const unescaped = (part: string): string => {
  try {
    return decodeURIComponent(part.replace(/%(?![0-9a-fA-F]{2})/g, "%25"))
  } catch {
    return part
  }
}

/** A message could not be delivered. Its text never holds the token. */
export class NotifyError extends Data.TaggedError("NotifyError")<{
  readonly reason: "Unreachable" | "Timeout" | "Rejected" | "NotGotify" | "NotConfigured"
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/**
 * Failures of the HTTP client in words. The client's errors carry the request with its token, so none of them
 * is kept as a cause: what they say is taken over, the objects are not.
 */
export const connectionFailure = (shown: string, error: HttpClientError.HttpClientError): NotifyError => {
  const { permanent, why } = troubleOf(error)
  return new NotifyError({
    reason: "Unreachable",
    message: `Gotify at ${shown} cannot be reached: ${why}`,
    transient: !permanent
  })
}

/** Why there was no answer, in words, and whether another attempt can only end the same way. */
export const troubleOf = (
  error: HttpClientError.HttpClientError
): { readonly why: string; readonly permanent: boolean } => {
  const found = rootOf(error.cause)
  const code = codeOf(found)
  const badPort = found instanceof Error && found.message === "bad port"
  const why = badPort
    ? "that port belongs to another protocol, and is never asked over http"
    : (meanings[code ?? ""] ?? (code === undefined ? "the connection broke" : "the connection failed"))
  return {
    why: `${why}${code === undefined ? "" : ` (${code})`}`,
    permanent:
      badPort ||
      (code !== undefined && /CERT|TLS|SSL|INVALID/.test(code)) ||
      // Of an answer only the reading can fail, which may pass.
      (error._tag === "RequestError" && error.reason !== "Transport")
  }
}

/** No answer in time. */
export const timeoutFailure = (shown: string, seconds: number): NotifyError =>
  new NotifyError({
    reason: "Timeout",
    message: `Gotify at ${shown} did not answer within ${seconds} s`,
    transient: true
  })

/** An answer that is no success. `location` is where a redirect points. */
export const statusFailure = (shown: string, status: number, location: string | undefined): NotifyError =>
  new NotifyError({
    reason: "Rejected",
    message: `Gotify at ${shown} answered HTTP ${status}: ${advice(status, location)}`,
    transient: status === 429 || status === 408 || status >= 500
  })

/** A success that is not one of Gotify: a login page, another server. `secrets` are taken out of what is quoted. */
export const foreignAnswer = (
  shown: string,
  { body, contentType, status }: Answer,
  secrets: ReadonlyArray<string>
): NotifyError => {
  const hidden = secrets
    .filter((secret) => secret !== "")
    .reduce((text, secret) => text.replaceAll(secret, "***"), body)
  const words = hidden.replace(/\s+/g, " ").trim().slice(0, firstWords)
  const type = contentType === undefined ? "without a content type" : `of type ${quoted(contentType.slice(0, 80))}`
  const what = words === "" ? "nothing" : quoted(words)
  return new NotifyError({
    reason: "NotGotify",
    message: `${shown} answered HTTP ${status}, and this is not Gotify's answer: ${what} (${type}); is gotify.url right, and no login page before it?`,
    transient: false
  })
}

/** So many characters of an answer tell what it is. */
const firstWords = 60

const advice = (status: number, location: string | undefined): string => {
  if (status >= 300 && status < 400) {
    return `it redirects${location === undefined ? "" : ` to ${location}`}, and a token is not sent after a redirect; set gotify.url to the final address`
  }
  switch (status) {
    case 400:
      return "it does not understand the message; check that gotify.url is the address of a Gotify server"
    case 401:
    case 403:
      return "the token is wrong; use the token of a Gotify application (not of a client)"
    case 404:
    case 405:
      return "nothing takes messages there; gotify.url should end in /message"
    case 413:
      return "the message is too large for it"
    case 429:
      return "too many requests; it wants us to wait"
    default:
      return status >= 500 ? "the server, or the proxy before it, has a problem" : "the message was refused"
  }
}

const meanings: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it broke the connection",
  EPIPE: "it broke the connection",
  UND_ERR_SOCKET: "it broke the connection",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the name cannot be looked up now",
  EHOSTUNREACH: "there is no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "the connection timed out",
  UND_ERR_CONNECT_TIMEOUT: "the connection timed out",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed; set NODE_EXTRA_CA_CERTS to trust it",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is self-signed; set NODE_EXTRA_CA_CERTS to trust it",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate cannot be verified",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak https on that port"
}

/** The innermost failure: fetch wraps what happened, and wraps attempts on several addresses once more. */
const rootOf = (cause: unknown, depth = 0): unknown => {
  if (depth > 5 || typeof cause !== "object" || cause === null) return cause
  if (cause instanceof AggregateError && cause.errors.length > 0) return rootOf(cause.errors[0], depth + 1)
  return "cause" in cause && cause.cause !== undefined ? rootOf(cause.cause, depth + 1) : cause
}

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
    const secrets = [Redacted.value(settings.token), ...(endpoint.login === undefined ? [] : [endpoint.login.password])]
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
        // A login page, a captive portal or another server answers 200 as well, and delivers nothing.
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

/** Sends messages to the operator. */
export class Notifier extends Context.Tag("zipper/Notifier")<
  Notifier,
  {
    /** Delivers it, trying again on transient failures; succeeds when Gotify itself says that it took the message. */
    readonly send: (notification: Notification) => Effect.Effect<void, NotifyError>
    /** There is no server: a message that was "sent" was not delivered. */
    readonly mute?: true
    /** Whether the server answers, without sending a message. */
    readonly probe: Effect.Effect<Probed, NotifyError>
  }
>() {
  /** Gotify over HTTP. */
  static readonly layer = (settings: GotifySettings): Layer.Layer<Notifier, never, HttpClient.HttpClient> =>
    Layer.effect(
      Notifier,
      Effect.map(makeGotify(settings), (gotify) => ({
        send: Effect.fn("Notifier.send")((notification: Notification) => gotify.send(notification)),
        probe: gotify.probe.pipe(Effect.withSpan("Notifier.probe"))
      }))
    )

  /** Says what it would send, and sends nothing. */
  static readonly layerDryRun: Layer.Layer<Notifier> = Layer.succeed(Notifier, {
    send: ({ title, message }) => Effect.logInfo(`would send a message: ${title}: ${message}`),
    probe: Effect.succeed<Probed>("Gotify")
  })

  /** No server is configured. */
  static readonly layerNone: Layer.Layer<Notifier> = Layer.succeed(Notifier, {
    mute: true,
    send: ({ title }) => Effect.logDebug(`no message is sent, since gotify is not configured: ${title}`),
    probe: Effect.fail(
      new NotifyError({
        reason: "NotConfigured",
        message: "no Gotify server is configured: no message is sent when something fails",
        transient: false
      })
    )
  })
}

/** A message to a person. */
export interface Notification {
  readonly title: string
  /** Markdown. */
  readonly message: string
  /** Gotify priority; the configured one when left out. */
  readonly priority?: number
}
