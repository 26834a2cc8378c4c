import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makePing, type PingSettings } from "./ping/http.ts"

/** A dead man's switch: somebody elsewhere, who says so when no run reports any more. */
export class Ping extends Context.Tag("zipper/Ping")<
  Ping,
  {
    /** A run begins. None of these fails: a ping that does not get through is a warning. */
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
  static readonly layerNone: Layer.Layer<Ping> = Layer.succeed(Ping, {
    start: Effect.void,
    success: Effect.void,
    fail: () => Effect.void
  })
}
