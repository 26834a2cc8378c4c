import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type GotifySettings, makeGotify, type Probed } from "./notifier/gotify.ts"
import type { Notification } from "./notifier/Notification.ts"
import { NotifyError } from "./notifier/NotifyError.ts"

export type { GotifySettings } from "./notifier/gotify.ts"
export type { Notification } from "./notifier/Notification.ts"
export { NotifyError } from "./notifier/NotifyError.ts"

/** Tells somebody. */
export class Notifier extends Context.Tag("zipper/Notifier")<
  Notifier,
  {
    /** Delivers it, trying again on transient failures; succeeds when Gotify itself says that it took the message. */
    readonly send: (notification: Notification) => Effect.Effect<void, NotifyError>
    /** There is no server: a message that was "sent" has reached no one. */
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

  /** For when no server is configured: there is nobody to tell. */
  static readonly layerNone: Layer.Layer<Notifier> = Layer.succeed(Notifier, {
    mute: true,
    send: ({ title }) => Effect.logDebug(`no message is sent, since gotify is not configured: ${title}`),
    probe: Effect.fail(
      new NotifyError({
        reason: "NotConfigured",
        message: "no Gotify server is configured: nobody is told when something fails",
        transient: false
      })
    )
  })
}
