import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { render, visible } from "../domain/ConfigRender.ts"
import { ConfigShowDocument, ConfigValidateDocument } from "../domain/documents/Config.ts"
import { command, loadConfig, readConfig, warn } from "./command.ts"
import { init } from "./configInit.ts"
import { Output, printDocument } from "./Output.ts"
import * as options from "./options.ts"

const validate = Command.make(
  "validate",
  { config: options.config, json: options.json, ...options.output },
  (flags) =>
    Effect.gen(function* () {
      const { warnings } = yield* readConfig(flags.config).pipe(
        Effect.tapError(({ issues }) => (flags.json ? tell(flags.config, issues, []) : Effect.void))
      )
      yield* warn(warnings)
      yield* Effect.logInfo(`${flags.config} is in order`)
      if (flags.json) yield* tell(flags.config, [], warnings)
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Check a configuration and name every mistake in it. Example: zipper config validate --config config.json"
  )
)

const tell = (file: string, problems: ReadonlyArray<string>, warnings: ReadonlyArray<string>) =>
  printDocument(ConfigValidateDocument, {
    version: 1,
    file,
    valid: problems.length === 0,
    problems,
    warnings
  })

const show = Command.make(
  "show",
  { config: options.config, json: options.json, ...options.output },
  (flags) =>
    Effect.gen(function* () {
      const config = yield* loadConfig(flags.config)
      if (flags.json) {
        yield* printDocument(ConfigShowDocument, { version: 1, file: flags.config, config: visible(config) })
      } else {
        yield* (yield* Output).print(render(config).trimEnd())
      }
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Print the effective configuration with every default, secrets hidden. Example: zipper config show --config config.json"
  )
)

/** `zipper config init|validate|show`. */
export const config = Command.make("config").pipe(
  Command.withDescription("Write, check or show a configuration. Example: zipper config init"),
  Command.withSubcommands([init, validate, show])
)
