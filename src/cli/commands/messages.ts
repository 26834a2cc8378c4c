import { existsSync } from "node:fs"
import { hostname } from "node:os"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { type Mqtt as MqttSettings, mqttFromEnvironment } from "../../config/Config.ts"
import { maskAddress } from "../../config/ConfigIssues.ts"
import { Notifier, NotifyError } from "../../notify/Notifier.ts"
import * as Suspend from "../../suspend/Suspend.ts"
import { passwordVariable } from "../../system/Process.ts"
import { loadConfig, makeCommand } from "../command.ts"
import { findConfig } from "../configPath.ts"
import { UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { printDocument } from "../output.ts"
import { NotifyTestDocument, SuspendDocument } from "./schema.ts"

/** `zipper notify-test`: does a message arrive? */
export const notifyTest = makeCommand(
  "notify-test",
  "Send a test message through Gotify and the hook failure. Example: zipper notify-test",
  { config: options.config, dryRun: options.dryRun },
  function* ({ config: file, dryRun }) {
    const config = yield* loadConfig(file)
    const { gotify, hooks } = config
    const program = hooks?.failure?.[0]
    if (gotify === undefined && program === undefined) {
      return yield* new NotifyError({
        reason: "NotConfigured",
        message: `${file} has no gotify section and no hook failure, so there is no server to send to`,
        transient: false
      })
    }
    yield* Effect.flatMap(Notifier, (notifier) =>
      notifier.send({
        title: `zipper: test message from ${hostname()}`,
        message: "If you can read this, failures of the archive job will reach you.",
        about: { event: "test" }
      })
    ).pipe(Effect.provide(services.notifier(config, dryRun)))
    const takers = [
      ...(gotify === undefined ? [] : [{ name: "server", at: maskAddress(gotify.url) }]),
      ...(program === undefined ? [] : [{ name: "hook failure", at: program }])
    ]
    if (!dryRun) yield* Effect.logInfo(`the ${takers.map(({ name }) => name).join(" and the ")} took the message`)
    const server = takers.map(({ at }) => at).join(" ")
    yield* printDocument(NotifyTestDocument, { version: 1, dry_run: dryRun, server, sent: !dryRun })
  }
)

/** `zipper suspend`: sends the backup hosts the message that they may suspend. */
export const suspend = makeCommand(
  "suspend",
  "Publish `suspend` over MQTT to the topic servers/host-backups on MQTT_HOST (MQTT_PORT, MQTT_USERNAME, MQTT_PASSWORD), or as the configuration's mqtt section says. Example: MQTT_HOST=broker zipper suspend",
  { config: options.brokerConfig, dryRun: options.dryRun },
  function* ({ config, dryRun }) {
    const settings = yield* brokerOf(config)
    yield* Effect.provide(Suspend.suspend(settings), dryRun ? Suspend.Mqtt.layerDryRun : Suspend.Mqtt.layer)
    const { host, port, topic } = settings
    const message = Suspend.suspendMessage
    yield* printDocument(SuspendDocument, { version: 1, dry_run: dryRun, host, port, topic, message, sent: !dryRun })
  }
)

// The section of a given file comes first, then the environment, which may hold the section's password too.
const brokerOf = Effect.fnUntraced(function* (given: string | undefined) {
  const fail = (...problems: ReadonlyArray<string>) => new UsageError({ command: "suspend", problems })
  const { from, path } = findConfig(given)
  const looked = from === undefined || (!process.env["MQTT_HOST"] && existsSync(path))
  const section = looked ? (yield* loadConfig(path)).mqtt : undefined
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
    looked
      ? `no broker: ${path} has no mqtt section, and MQTT_HOST is not set`
      : `no broker: set MQTT_HOST, or give a configuration with an mqtt section (${path} does not exist)`
  )
})
