import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Mqtt as MqttSettings } from "../domain/Config.ts"
import { addressOf, publish } from "./mqtt/client.ts"
import type { MqttError } from "./mqtt/MqttError.ts"

/** Publishes to an MQTT broker. */
export class Mqtt extends Context.Tag("zipper/Mqtt")<
  Mqtt,
  {
    /**
     * Publishes one message and returns once the broker has confirmed it, all within the settings' time; a message that
     * the broker denies is an error. Tries once. Logs what the broker said.
     */
    readonly publish: (settings: MqttSettings, message: string) => Effect.Effect<void, MqttError>
  }
>() {
  /** MQTT 5 over TCP; 3.1.1, where a denial cannot be seen, with a broker that refuses 5. */
  static readonly layer: Layer.Layer<Mqtt> = Layer.succeed(Mqtt, {
    publish: Effect.fn("Mqtt.publish")(publish)
  })

  /** Says what it would publish. */
  static readonly layerDryRun: Layer.Layer<Mqtt> = Layer.succeed(Mqtt, {
    publish: (settings, message) =>
      Effect.logInfo(`would publish "${message}" to ${settings.topic} at ${addressOf(settings)}`)
  })
}
