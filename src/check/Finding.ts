import * as Schema from "effect/Schema"
import { text } from "../text/Document.ts"

export const CheckFinding = Schema.Struct({
  subject: text(
    "what was looked at: source, target, lock, gotify, hooks, state_dir, metrics_file, ping_url, replication NAME, systemd, …"
  ),
  status: Schema.Literal("ok", "warning", "problem"),
  detail: text("what there is to say of it")
})

/** Only a problem stops a run. */
export type Finding = typeof CheckFinding.Type

export const ok = (subject: string, detail: string): Finding => ({ subject, status: "ok", detail })

export const warning = (subject: string, detail: string): Finding => ({ subject, status: "warning", detail })

export const problem = (subject: string, detail: string): Finding => ({ subject, status: "problem", detail })
