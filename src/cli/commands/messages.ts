import { hostname } from "node:os"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { type Mqtt as MqttSettings, mqttFromEnvironment } from "../../config/Config.ts"
import { maskAddress } from "../../config/ConfigIssues.ts"
import { Notifier, NotifyError } from "../../notify/Notifier.ts"
import * as Suspend from "../../suspend/Suspend.ts"
import { passwordVariable } from "../../system/Environment.ts"
import { command, loadConfig } from "../command.ts"
import { UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { printDocument } from "../output.ts"
import { NotifyTestDocument, SuspendDocument } from "./schema.ts"

/** `zipper notify-test`: does a message arrive? */
export const notifyTest = Command.make(
  "notify-test",
  { config: options.config, dryRun: options.dryRun, json: options.json, ...options.output },
  (flags) =>
    Effect.gen(function* () {
      const config = yield* loadConfig(flags.config)
      if (config.gotify === undefined) {
        return yield* new NotifyError({
          reason: "NotConfigured",
          message: `${flags.config} has no gotify section, so there is no server to send to`,
          transient: false
        })
      }
      yield* Effect.flatMap(Notifier, (notifier) =>
        notifier.send({
          title: `zipper: test message from ${hostname()}`,
          message: "If you can read this, failures of the archive job will reach you."
        })
      ).pipe(Effect.provide(flags.dryRun ? Notifier.layerDryRun : services.notifier(config)))
      if (!flags.dryRun) yield* Effect.logInfo("the server took the message")
      if (flags.json) {
        yield* printDocument(NotifyTestDocument, {
          version: 1,
          dry_run: flags.dryRun,
          server: maskAddress(config.gotify.url),
          sent: !flags.dryRun
        })
      }
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Send a test message through Gotify. Example: zipper notify-test --config /usr/local/etc/zipper.json"
  )
)

/** `zipper suspend`: tells the backup hosts that they may suspend. */
export const suspend = Command.make(
  "suspend",
  { config: options.optionalConfig, dryRun: options.dryRun, json: options.json, ...options.output },
  (flags) =>
    Effect.gen(function* () {
      const settings = yield* brokerOf(flags.config)
      yield* Effect.provide(Suspend.suspend(settings), flags.dryRun ? Suspend.Mqtt.layerDryRun : Suspend.Mqtt.layer)
      if (flags.json) {
        yield* printDocument(SuspendDocument, {
          version: 1,
          dry_run: flags.dryRun,
          host: settings.host,
          port: settings.port,
          topic: settings.topic,
          message: Suspend.suspendMessage,
          sent: !flags.dryRun
        })
      }
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Publish `suspend` over MQTT to the topic servers/host-backups on MQTT_HOST (MQTT_PORT, MQTT_USERNAME, MQTT_PASSWORD), or as the configuration's mqtt section says. Example: MQTT_HOST=broker zipper suspend"
  )
)

// The section of a given file comes first; its password may be in the environment.
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
