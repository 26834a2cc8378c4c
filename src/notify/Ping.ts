import type * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { withoutControls } from "../text/Text.ts"
import { addressOf, isSuccess, makeExchange, rejected, retried, withLogin } from "./Http.ts"

/** A dead man's switch: a service elsewhere reports when no run pings it any more. */
export class Ping extends Context.Tag("zipper/Ping")<
  Ping,
  {
    /** A run begins. A ping that fails is a warning in the log. */
    readonly start: Effect.Effect<void>
    readonly success: Effect.Effect<void>
    /** It did not; `body` says what was wrong, and is cut to what such services take (10 kB). */
    readonly fail: (body: string) => Effect.Effect<void>
  }
>() {
  /** As healthchecks.io has it: GET `<url>/start`, GET `<url>`, POST `<url>/fail`. */
  static readonly layer = (settings: PingSettings): Layer.Layer<Ping, never, HttpClient.HttpClient> =>
    Layer.effect(Ping, makePing(settings))

  static readonly layerDryRun: Layer.Layer<Ping> = Layer.succeed(Ping, {
    start: Effect.void,
    success: Effect.logInfo("would ping ping_url: success"),
    fail: () => Effect.logInfo("would ping ping_url: failure")
  })

  static readonly layerNone: Layer.Layer<Ping> = Layer.sync(Ping, () => noPing)
}

export const noPing: typeof Ping.Service = {
  start: Effect.void,
  success: Effect.void,
  fail: () => Effect.void
}

/** Where to ping, as configured. */
interface PingSettings {
  readonly url: Redacted.Redacted
  /** For each attempt. Default: 10. */
  readonly timeoutSeconds?: number
  /** Pause before the second attempt, doubled before the third, which is the last. Default: a second. */
  readonly pause?: Duration.DurationInput
}

const suffixes = { start: "/start", success: "", failure: "/fail" } as const
const retries = 2
const longestBody = 10_000

/** Pings one address. The path is the secret, so messages show none of it. */
const makePing = Effect.fnUntraced(function* (settings: PingSettings) {
  const address = addressOf(Redacted.value(settings.url))
  const server = `${address.url.origin}/…`
  const exchange = yield* makeExchange(server, settings.timeoutSeconds ?? 10)

  const ping = (signal: keyof typeof suffixes, body?: string) => {
    // The suffix goes after the path, and the query stays at the end.
    const url = new URL(address.url)
    const suffix = suffixes[signal]
    if (suffix !== "") url.pathname = `${url.pathname.replace(/\/+$/, "")}${suffix}`
    const request =
      body === undefined
        ? HttpClientRequest.get(url.href)
        : HttpClientRequest.post(url.href).pipe(HttpClientRequest.bodyText(body, "text/plain; charset=utf-8"))
    return exchange(withLogin(request, address), Effect.succeed).pipe(
      Effect.filterOrFail(isSuccess, ({ status }) => rejected(server, status, advice(status))),
      retried(retries, settings.pause),
      Effect.asVoid,
      Effect.catchAll(({ message }) => Effect.logWarning(`the ping (${signal}) did not get through: ${message}`))
    )
  }

  return { start: ping("start"), success: ping("success"), fail: (body: string) => ping("failure", cut(body)) }
})

const advice = (status: number): string => {
  if (status >= 300 && status < 400) return "it redirects; set ping_url to the final address"
  if (status === 404 || status === 410) return "it knows no such check; is ping_url right?"
  if (status === 401 || status === 403) return "it refuses access; is ping_url right?"
  return status >= 500 || status === 429 ? "it has a problem, or wants us to wait" : "it refused the ping"
}

/** At most so many bytes, whole characters only; without control characters, which could steer the terminal of its reader. */
const cut = (text: string): string => {
  const body = withoutControls(text)
  const bytes = new TextEncoder().encode(body)
  if (bytes.length <= longestBody) return body
  const head = new TextDecoder("utf-8", { fatal: false }).decode(bytes.subarray(0, longestBody - 4))
  return `${head.replace(/\ufffd+$/, "")}…`
}
