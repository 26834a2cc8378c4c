import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { documents, isDocumented } from "../domain/documents/Documents.ts"
import { quoted } from "../domain/Text.ts"
import { command } from "./command.ts"
import { Output } from "./Output.ts"
import * as options from "./options.ts"
import { UsageError } from "./UsageError.ts"

const words = Args.text({ name: "COMMAND" }).pipe(
  Args.repeated,
  Args.withDescription("The command, as it is typed: run, config validate, …")
)

/** `zipper schema COMMAND`: what its `--json` prints. */
export const schema = Command.make("schema", { words, ...options.output }, (flags) =>
  Effect.gen(function* () {
    const name = flags.words.join(" ")
    if (!isDocumented(name)) {
      const problem = name === "" ? "give a command" : `${quoted(name)} is no command with --json`
      const known = Object.keys(documents).join(", ")
      return yield* new UsageError({ command: "schema", problems: [`${problem}: ${known}`] })
    }
    // Nobody else needs it, and every command would pay for loading it.
    const { make } = yield* Effect.promise(() => import("effect/JSONSchema"))
    const { print } = yield* Output
    yield* print(JSON.stringify(make(Schema.make(documents[name].ast)), undefined, 2))
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Print the JSON Schema of what a command prints with --json. Example: zipper schema config validate"
  )
)
