import * as Effect from "effect/Effect"
import type { Mqtt as MqttSettings } from "../domain/Config.ts"
import { Mqtt } from "../services/Mqtt.ts"

/** The backups' hosts wait for this word; what they do at it is theirs. */
export const word = "suspend"

/** Tells the backup hosts, through the broker, that they may suspend. */
export const suspend = Effect.fn("Suspend")(function* (settings: MqttSettings) {
  yield* (yield* Mqtt).publish(settings, word)
})
