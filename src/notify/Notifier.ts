import type * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { maskAddress } from "../config/ConfigIssues.ts"
import { quoted } from "../text/Text.ts"
import {
  type Address,
  addressOf,
  type HttpFailure,
  isSuccess,
  makeExchange,
  rejected,
  retried,
  withLogin
} from "./Http.ts"

export interface Notification {
  readonly title: string
  /** Markdown. */
  readonly message: string
  /** Of which command of which job it is, why it is sent, and that command's document: for a program that gets the message. */
  readonly about?: MessageSubject
  /** Another way has delivered it already. */
  readonly only?: Way
}

interface MessageSubject {
  readonly event: "failure" | "success" | "recovery" | "test"
  readonly job?: string
  readonly task?: "run" | "prune" | "verify"
  readonly result?: unknown
}

/** The ways to the operator. */
export const Way = Schema.Literal("gotify", "hook")
export type Way = typeof Way.Type

/** A message could not be delivered. Its text never holds the token. */
export class NotifyError extends Data.TaggedError("NotifyError")<{
  readonly reason: HttpFailure["reason"] | "NotGotify" | "NotConfigured" | "Hook"
  readonly message: string
  readonly transient: boolean
  /** Every other way has delivered it. */
  readonly only?: Way
}> {}

/** What answers: Gotify, or a server that only a message shows to be Gotify or not. Hook: there is only that. */
export type Probed = "Gotify" | "Unknown" | "Hook"

/** Sends messages to the operator. Another service is another layer; cli/layers chooses the layer by the configuration. */
export class Notifier extends Context.Tag("zipper/Notifier")<
  Notifier,
  {
    /** Delivers it, trying again on transient failures; succeeds when Gotify itself, or the hook, says that it took the message. */
    readonly send: (notification: Notification) => Effect.Effect<void, NotifyError>
    /** There is no server: a message that was "sent" was not delivered. */
    readonly mute?: true
    /** Whether the server answers, without sending a message. */
    readonly probe: Effect.Effect<Probed, NotifyError>
  }
>() {
  static readonly layer = (settings: GotifySettings): Layer.Layer<Notifier, never, HttpClient.HttpClient> =>
    Layer.effect(Notifier, makeGotify(settings))

  /** Says what it would send, and sends nothing. */
  static readonly layerDryRun: Layer.Layer<Notifier> = Layer.succeed(Notifier, {
    send: ({ title, message }) => Effect.logInfo(`would send a message: ${title}: ${message}`),
    probe: Effect.succeed<Probed>("Gotify")
  })

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

/** Where to post, as configured. */
export interface GotifySettings {
  readonly url: string
  readonly token: Redacted.Redacted
  readonly priority: number
  readonly timeout_seconds: number
  /** Further attempts after the first. */
  readonly retries: number
  /** Pause before the second attempt; it doubles from then on, up to half a minute. Default: a second. */
  readonly pause?: Duration.DurationInput
}

const makeGotify = Effect.fnUntraced(function* (settings: GotifySettings) {
  const address = addressOf(settings.url)
  const shown = `${address.url.origin}${address.url.pathname}`
  const server = `Gotify at ${shown}`
  const secrets = [Redacted.value(settings.token), address.login?.password ?? ""]
  const health = healthOf(address)
  const exchange = yield* makeExchange(server, settings.timeout_seconds)

  const attempt = (
    request: HttpClientRequest.HttpClientRequest,
    at: string,
    isAccepted: (answer: Answer) => boolean,
    isGotifys: (answer: Answer) => boolean = () => true
  ) =>
    exchange(request, answerOf).pipe(
      Effect.filterOrFail(isAccepted, ({ location, status }) => rejected(server, status, advice(status, location))),
      Effect.mapError((failure) => new NotifyError(failure)),
      // A login page, a captive portal or another server answers 200 as well, and delivers nothing.
      Effect.filterOrFail(isGotifys, (answer) => foreignAnswer(at, answer, secrets))
    )

  const send = Effect.fn("Notifier.send")((notification: Notification) =>
    attempt(messageRequest(address, settings, notification), shown, isSuccess, isReceipt).pipe(
      Effect.tapError((error) => Effect.logDebug(error.message)),
      retried(settings.retries, settings.pause),
      Effect.asVoid
    )
  )
  const shownHealth = maskAddress(health.url)
  const ask = withLogin(HttpClientRequest.make(health.method)(health.url), address)
  // Where only the server is known, any answer but its own failure will do: a proxy may well hide /health.
  const probe =
    health.method === "HEAD"
      ? attempt(ask, shownHealth, ({ status }) => status < 500).pipe(Effect.as<Probed>("Unknown"))
      : attempt(ask, shownHealth, ({ status }) => status === 200, isHealth).pipe(Effect.as<Probed>("Gotify"))
  return { send, probe: probe.pipe(Effect.withSpan("Notifier.probe")) }
})

/** Where the server says how it is, without a message being sent. */
const healthOf = ({ url: { origin, pathname } }: Address) =>
  pathname.endsWith("/message")
    ? ({ method: "GET", url: `${origin}${pathname.slice(0, -"message".length)}health` } as const)
    : ({ method: "HEAD", url: `${origin}/` } as const)

const messageRequest = (address: Address, settings: GotifySettings, notification: Notification) =>
  HttpClientRequest.post(address.url.href).pipe(
    HttpClientRequest.setHeader("X-Gotify-Key", Redacted.value(settings.token)),
    HttpClientRequest.bodyUnsafeJson({
      title: notification.title,
      message: notification.message,
      priority: settings.priority,
      extras: { "client::display": { contentType: "text/markdown" } }
    }),
    (request) => withLogin(request, address)
  )

interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly contentType: string | undefined
  readonly body: string
}

/** More than any answer of Gotify has, even where it repeats a long message. */
const longestAnswer = 1024 * 1024

const answerOf = ({ headers, status, stream }: HttpClientResponse.HttpClientResponse) =>
  stream.pipe(
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
    Effect.map((body): Answer => {
      const { location } = headers
      return {
        status,
        location: location === undefined ? undefined : maskAddress(location).slice(0, 200),
        contentType: headers["content-type"],
        body: body.toString("utf8")
      }
    })
  )

const decodesTo = <A, I>(schema: Schema.Schema<A, I>) => {
  const decode = Schema.decodeUnknownOption(Schema.parseJson(schema))
  return ({ body }: Answer): boolean => Option.isSome(decode(body))
}

/** Gotify answers a message with the message and its number. */
const isReceipt = decodesTo(Schema.Struct({ id: Schema.Number }))

/** Gotify answers the question how it is with its health and that of its database. */
const isHealth = decodesTo(Schema.Struct({ health: Schema.String }))

/** So much of an answer, in characters, shows what it is. */
const quotedLength = 60

/** A success that is not one of Gotify: a login page, another server. `secrets` are taken out of what is quoted. */
const foreignAnswer = (
  shown: string,
  { body, contentType, status }: Answer,
  secrets: ReadonlyArray<string>
): NotifyError => {
  const hidden = secrets.reduce((text, secret) => (secret === "" ? text : text.replaceAll(secret, "***")), body)
  const words = hidden.replace(/\s+/g, " ").trim().slice(0, quotedLength)
  const type = contentType === undefined ? "without a content type" : `of type ${quoted(contentType.slice(0, 80))}`
  const what = words === "" ? "nothing" : quoted(words)
  return new NotifyError({
    reason: "NotGotify",
    message: `${shown} answered HTTP ${status}, and this is not Gotify's answer: ${what} (${type}); is gotify.url right, and no login page before it?`,
    transient: false
  })
}

const advice = (status: number, location: string | undefined): string => {
  if (status >= 300 && status < 400) {
    return `it redirects${location === undefined ? "" : ` to ${location}`}, and a token is not sent after a redirect; set gotify.url to the final address`
  }
  const unknown = status >= 500 ? "the server, or the proxy before it, has a problem" : "the message was refused"
  return advices[status] ?? unknown
}

const wrongToken = "the token is wrong; use the token of a Gotify application (not of a client)"
const wrongPlace = "nothing takes messages there; gotify.url should end in /message"
const advices: Readonly<Record<number, string>> = {
  400: "it does not understand the message; check that gotify.url is the address of a Gotify server",
  401: wrongToken,
  403: wrongToken,
  404: wrongPlace,
  405: wrongPlace,
  413: "the message is too large for it",
  429: "too many requests; it wants us to wait"
}
