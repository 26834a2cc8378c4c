import { isValidationError } from "@effect/cli/ValidationError"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { ExitStatus } from "../system/ExitStatus.ts"

/** Ends the command with this status; every message is already printed. */
export class Stop extends Data.TaggedError("Stop")<{ readonly status: ExitStatus }> {}

export const endWith = (status: ExitStatus): Effect.Effect<void, Stop> =>
  status === ExitStatus.ok ? Effect.void : new Stop({ status })

/** Ends the command with `status`, unless it is `ok`. */
export const stopUnless = (ok: boolean, status: ExitStatus = ExitStatus.someFailed): Effect.Effect<void, Stop> =>
  endWith(ok ? ExitStatus.ok : status)

/** Exit status of the process: what a command asked for, 2 for a mistake on the command line, 1 for a defect. */
export const exitStatusOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return ExitStatus.ok
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (failure instanceof Stop) return failure.status
  return isValidationError(failure) ? ExitStatus.usage : ExitStatus.someFailed
}

/** The command line asks for something impossible: everything that is wrong with it, at once. Nothing was touched. */
export class UsageError extends Data.TaggedError("UsageError")<{
  readonly problems: ReadonlyArray<string>
  /** The command whose --help says more. */
  readonly command: string
}> {
  override get message(): string {
    const problems =
      this.problems.length === 1
        ? this.problems
        : [`${this.problems.length} mistakes on the command line`, ...this.problems.map((problem) => `- ${problem}`)]
    return [...problems, `\`zipper ${this.command} --help\` lists its options`].join("\n")
  }
}
