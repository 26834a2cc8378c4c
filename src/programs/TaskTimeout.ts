import * as Data from "effect/Data"

/** A folder took longer than `task_timeout_seconds`; its work was ended. */
export class TaskTimeout extends Data.TaggedError("TaskTimeout")<{ readonly seconds: number }> {
  readonly transient = false
  override get message() {
    return `not done after ${this.seconds} s (task_timeout_seconds), so it was stopped; the archive before stays as it is`
  }
}
