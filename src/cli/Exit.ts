import { isValidationError } from "@effect/cli/ValidationError"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { ExitStatus } from "../domain/ExitStatus.ts"

/** Ends the command with this status; what there was to say has been said. */
export class Stop extends Data.TaggedError("Stop")<{ readonly status: ExitStatus }> {}

/** Exit status of the process: what a command asked for, 2 for a mistake on the command line, 1 for a defect. */
export const exitStatusOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return ExitStatus.ok
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (failure instanceof Stop) return failure.status
  return isValidationError(failure) ? ExitStatus.usage : ExitStatus.someFailed
}
