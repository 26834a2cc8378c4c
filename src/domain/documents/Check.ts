import * as Schema from "effect/Schema"
import { document, flag, orNull, text } from "./Fields.ts"

/** One thing that was looked at. */
const CheckFinding = Schema.Struct({
  subject: text(
    "what was looked at: source, target, lock, gotify, state_dir, metrics_file, ping_url, replication NAME, …"
  ),
  status: Schema.Literal("ok", "warning", "problem"),
  detail: text("what there is to say of it")
})

/** One line for cron. */
const CheckCronLine = Schema.Struct({
  command: Schema.Literal("run", "pull", "push", "prune"),
  job: orNull(text("the replication job")),
  schedule: text("minute, hour, day of month, month, day of week"),
  user: text("who runs it: the one who ran the check"),
  shell: text("the command for a shell, as a form such as TrueNAS's takes it when it escapes % by itself"),
  line: text("the whole line for a crontab with a user field, to be pasted as it is")
})

/** What `check --json` prints. */
export const CheckDocument = document({
  ok: flag("no problem: a run would work; otherwise the exit status is 3"),
  findings: Schema.Array(CheckFinding),
  crontab: text("the file that the lines are for"),
  cron: Schema.Array(CheckCronLine).annotations({ description: "none while there is a problem" })
})
