import * as Schema from "effect/Schema"
import { CheckDocument } from "./Check.ts"
import { ConfigInitDocument, ConfigShowDocument, ConfigValidateDocument } from "./Config.ts"
import { ErrorsDocument } from "./Errors.ts"
import { DemoDocument, NotifyTestDocument, SuspendDocument } from "./Messages.ts"
import { PruneDocument } from "./Prune.ts"
import { ReplicationDocument } from "./Replication.ts"
import { ReportDocument } from "./Report.ts"
import { RestoreDocument } from "./Restore.ts"
import { DelegateDocument, PrepareDocument } from "./Rights.ts"
import { RunDocument } from "./Run.ts"
import { StatusDocument } from "./Status.ts"
import { VerifyDocument } from "./Verify.ts"

const orErrors = <A, I>(document: Schema.Schema<A, I>) => Schema.Union(document, ErrorsDocument)

/** What each command prints with `--json`, by the words of the command: its own document, or that of errors. */
export const documents = {
  run: orErrors(RunDocument),
  check: orErrors(CheckDocument),
  status: orErrors(StatusDocument),
  verify: orErrors(VerifyDocument),
  restore: orErrors(RestoreDocument),
  report: orErrors(ReportDocument),
  "notify-test": orErrors(NotifyTestDocument),
  "config init": orErrors(ConfigInitDocument),
  "config validate": orErrors(ConfigValidateDocument),
  "config show": orErrors(ConfigShowDocument),
  pull: orErrors(ReplicationDocument),
  push: orErrors(ReplicationDocument),
  prune: orErrors(PruneDocument),
  prepare: orErrors(PrepareDocument),
  delegate: orErrors(DelegateDocument),
  suspend: orErrors(SuspendDocument),
  demo: orErrors(DemoDocument)
}

/** A command with a document. */
export type Documented = keyof typeof documents

/** Whether these words are a command that has a document. */
export const isDocumented = (words: string): words is Documented => Object.hasOwn(documents, words)
