import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import type { Mqtt as MqttSettings } from "../domain/Config.ts"
import { SuspendDocument } from "../domain/documents/Messages.ts"
import { mqttFromEnvironment, passwordVariable } from "../domain/MqttEnvironment.ts"
import * as Suspend from "../programs/Suspend.ts"
import { Mqtt } from "../services/Mqtt.ts"
import { command, loadConfig } from "./command.ts"
import { printDocument } from "./Output.ts"
import { dryRun, json, output } from "./options.ts"
import { config } from "./replicationOptions.ts"
import { UsageError } from "./UsageError.ts"

/** `zipper suspend`: the word to the hosts that are there for backups only. */
export const suspend = Command.make("suspend", { config, dryRun, json, ...output }, (flags) =>
  Effect.gen(function* () {
    const settings = yield* brokerOf(flags.config)
    yield* Effect.provide(Suspend.suspend(settings), flags.dryRun ? Mqtt.layerDryRun : Mqtt.layer)
    if (flags.json) {
      yield* printDocument(SuspendDocument, {
        version: 1,
        dry_run: flags.dryRun,
        host: settings.host,
        port: settings.port,
        topic: settings.topic,
        message: Suspend.word,
        sent: !flags.dryRun
      })
    }
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Publish `suspend` over MQTT to the topic servers/host-backups on MQTT_HOST (MQTT_PORT, MQTT_USERNAME, MQTT_PASSWORD), or as the configuration's mqtt section says. Example: MQTT_HOST=broker zipper suspend"
  )
)

// The section of a file that was named goes before the environment; a password may be in the environment all the same.
const brokerOf = Effect.fnUntraced(function* (path: string | undefined) {
  const section = path === undefined ? undefined : (yield* loadConfig(path)).mqtt
  const fail = (...problems: ReadonlyArray<string>) => new UsageError({ command: "suspend", problems })
  if (section !== undefined) {
    const secret = process.env[passwordVariable]
    return section.password !== undefined || !secret
      ? section
      : ({ ...section, password: Redacted.make(secret) } satisfies MqttSettings)
  }
  const found = mqttFromEnvironment(process.env)
  if (Either.isLeft(found)) return yield* fail(...found.left)
  if (found.right !== undefined) return found.right
  return yield* fail(
    path === undefined
      ? "no broker: set MQTT_HOST, or give --config FILE with an mqtt section"
      : `no broker: ${path} has no mqtt section, and MQTT_HOST is not set`
  )
})
