import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { render } from "../domain/ConfigRender.ts"
import { writeExample } from "../programs/ConfigInit.ts"
import { Disk } from "../services/Disk.ts"
import { command, loadConfig } from "./command.ts"
import { Output } from "./Output.ts"
import * as options from "./options.ts"

// A mistyped option must not become a file's name.
const file = Args.text({ name: "FILE" }).pipe(
  Args.withSchema(
    Schema.String.pipe(
      Schema.pattern(/^[^-]/, { message: () => "a file name cannot begin with a dash: write ./-name" })
    )
  ),
  Args.withDefault("config.json"),
  Args.withDescription("Where to write it; config.json in this folder when left out.")
)

const init = Command.make("init", { file, ...options.output }, (flags) =>
  Effect.gen(function* () {
    yield* writeExample(flags.file).pipe(Effect.provide(Disk.layer))
    yield* Effect.logInfo(
      `wrote ${flags.file}: set source_path, target_path and gotify, then: zipper check --config ${flags.file}`
    )
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Write an example configuration, readable by you alone. Example: zipper config init"
  )
)

const validate = Command.make("validate", { config: options.config, ...options.output }, (flags) =>
  Effect.gen(function* () {
    yield* loadConfig(flags.config)
    yield* Effect.logInfo(`${flags.config} is in order`)
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Check a configuration and name every mistake in it. Example: zipper config validate --config config.json"
  )
)

const show = Command.make("show", { config: options.config, ...options.output }, (flags) =>
  Effect.gen(function* () {
    const config = yield* loadConfig(flags.config)
    yield* (yield* Output).print(render(config).trimEnd())
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Print the effective configuration with every default, secrets hidden. Example: zipper config show --config config.json"
  )
)

/** `zipper config init|validate|show`. */
export const config = Command.make("config").pipe(
  Command.withDescription("Write, check or show a configuration."),
  Command.withSubcommands([init, validate, show])
)
