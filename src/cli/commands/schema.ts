import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { CheckDocument } from "../../check/Check.ts"
import { DelegateDocument, PrepareDocument } from "../../replication/Delegate.ts"
import { LookDocument } from "../../replication/Look.ts"
import { RecoverDocument } from "../../replication/Recover.ts"
import { ReportDocument } from "../../report/writeReport.ts"
import { ListDocument, ListFoldersDocument } from "../../restore/ListArchive.ts"
import { RestoreDocuments } from "../../restore/RestoreResult.ts"
import { RunDocument } from "../../runs/ArchiveResult.ts"
import { HookDocument } from "../../runs/Hooks.ts"
import { PruneDocument } from "../../runs/PruneResult.ts"
import { ReplicationDocument } from "../../runs/ReplicationResult.ts"
import { VerifyReplicasDocument } from "../../runs/VerifyReplicasResult.ts"
import { VerifyDocument } from "../../runs/VerifyResult.ts"
import { StatusDocument } from "../../status/StatusDocument.ts"
import { countField, document, ErrorsDocument, flag, optional, seconds, text } from "../../text/Document.ts"
import { quoted } from "../../text/Text.ts"
import { command } from "../command.ts"
import { UsageError } from "../exit.ts"
import * as options from "../options.ts"
import { Output } from "../output.ts"

const file = text("the configuration file")

export const ConfigInitDocument = document({
  file: text("the configuration that was written, readable by its owner alone"),
  example: text("the example beside it, with every key and what it means")
})

export const ConfigValidateDocument = document({
  file,
  valid: flag("it can be used; otherwise the exit status is 2"),
  problems: Schema.Array(text("one mistake: the key, its value, what was expected")),
  warnings: Schema.Array(text("what is no mistake and should be known all the same"))
})

export const ConfigShowDocument = document({
  file,
  config: Schema.Record({ key: Schema.String, value: Schema.Unknown }).annotations({
    description: "the effective configuration: every key of zipper.json(5) that has a value, secrets as <hidden>"
  })
})

export const NotifyTestDocument = document({
  dry_run: flag("nothing was sent"),
  server: text("address of the server, without what may be secret in it; the program of the hook failure"),
  sent: flag("the server and the hook took the message")
})

export const SuspendDocument = document({
  dry_run: flag("nothing was published"),
  host: text("the broker"),
  port: countField("its port"),
  topic: text("where to"),
  message: text("the word"),
  sent: flag("the broker took it")
})

export const DemoDocument = document({
  ok: flag("all went as it should; otherwise the exit status is 1"),
  folder: Schema.NullOr(text("the temporary folder, where it was kept")),
  archived: Schema.Array(countField("folders archived by one of the runs, in their order")),
  dataset: optional(text("the dataset of --dataset, which these three come with")),
  system: optional(
    Schema.Struct({
      zipper: text("version of zipper"),
      node: text("version of node"),
      platform: text("kernel, its release and the processor"),
      openzfs: text("what zfs version prints")
    })
  ),
  steps: optional(
    Schema.Array(
      Schema.Struct({
        step: text("what it shows"),
        ok: flag("it went well"),
        seconds: seconds("time it took"),
        detail: text("what went wrong, when it did")
      })
    )
  ),
  checks: Schema.Array(
    Schema.Struct({
      reader: text("a program that is not ours, and what it was asked"),
      file: text("what it looked at"),
      ok: flag("it found the file good"),
      detail: text("what it said when it did not")
    })
  )
})

const orErrors = <A, I>(document: Schema.Schema<A, I>) => Schema.Union(document, ErrorsDocument)

/** The documents of `--json`, by command. */
export const documents = {
  run: orErrors(RunDocument),
  check: orErrors(CheckDocument),
  status: orErrors(StatusDocument),
  verify: orErrors(Schema.Union(VerifyDocument, VerifyReplicasDocument)),
  ls: orErrors(Schema.Union(ListDocument, ListFoldersDocument)),
  restore: orErrors(RestoreDocuments),
  report: orErrors(ReportDocument),
  "notify-test": orErrors(NotifyTestDocument),
  "config init": orErrors(ConfigInitDocument),
  "config validate": orErrors(ConfigValidateDocument),
  "config show": orErrors(ConfigShowDocument),
  pull: orErrors(ReplicationDocument),
  push: orErrors(ReplicationDocument),
  recover: orErrors(Schema.Union(RecoverDocument, LookDocument)),
  prune: orErrors(PruneDocument),
  prepare: orErrors(PrepareDocument),
  delegate: orErrors(DelegateDocument),
  suspend: orErrors(SuspendDocument),
  demo: orErrors(DemoDocument)
}

export type Documented = keyof typeof documents

export const isDocumented = (words: string): words is Documented => Object.hasOwn(documents, words)

const words = Args.text({ name: "COMMAND" }).pipe(
  Args.repeated,
  Args.withDescription(
    "The command, as it is typed: run, config validate, …; config for the configuration, hook for what hooks get."
  )
)

/** `zipper schema COMMAND`: what its `--json` prints; `zipper schema config`: what a configuration may hold. */
export const schema = Command.make("schema", { words, ...options.messages }, (flags) =>
  Effect.gen(function* () {
    const name = flags.words.join(" ")
    if (name !== "config" && name !== "hook" && !isDocumented(name)) {
      const problem = name === "" ? "give one of" : `${quoted(name)} has no schema; these have`
      const known = ["config", "hook", ...Object.keys(documents)].join(", ")
      return yield* new UsageError({ command: "schema", problems: [`${problem}: ${known}`] })
    }
    // Loaded here alone: it would delay the start of every command.
    const made =
      name === "config"
        ? (yield* Effect.promise(() => import("../../config/ConfigSchema.ts"))).configSchema()
        : (yield* Effect.promise(() => import("effect/JSONSchema"))).make(
            Schema.make((name === "hook" ? HookDocument : documents[name]).ast)
          )
    yield* (yield* Output).print(JSON.stringify(made, undefined, 2))
  }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Print the JSON Schema of what a command prints with --json, of what hooks get, or of the configuration. Example: zipper schema config > zipper.schema.json"
  )
)
