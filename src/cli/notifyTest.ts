import { hostname } from "node:os"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { maskAddress } from "../domain/ConfigIssues.ts"
import { NotifyTestDocument } from "../domain/documents/Messages.ts"
import { Notifier, NotifyError } from "../services/Notifier.ts"
import { command, loadConfig } from "./command.ts"
import { printDocument } from "./Output.ts"
import * as options from "./options.ts"
import * as services from "./services.ts"

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
          message: `${flags.config} has no gotify section, so there is nobody to tell`,
          transient: false
        })
      }
      const send = Effect.flatMap(Notifier, (notifier) =>
        notifier.send({
          title: `zipper: test message from ${hostname()}`,
          message: "If you can read this, failures of the archive job will reach you."
        })
      )
      yield* Effect.provide(send, flags.dryRun ? Notifier.layerDryRun : services.notifier(config))
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
