import { existsSync } from "node:fs"
import * as Data from "effect/Data"
import * as Errno from "../../domain/Errno.ts"

/** A program that could not be started, or did not end in time. A non-zero exit status is no ProcessError. */
export class ProcessError extends Data.TaggedError("ProcessError")<{
  readonly reason: "NotFound" | "PermissionDenied" | "Timeout" | "Other"
  readonly program: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** Says why a program did not start. */
export const startFailure = (
  program: string,
  path: string,
  folder: string | undefined,
  cause: unknown
): ProcessError => {
  const code = Errno.codeOf(cause)
  if (code === "ENOENT" && folder !== undefined && !existsSync(folder)) {
    return new ProcessError({
      reason: "Other",
      program,
      message: `${program}: cannot be started in ${folder}: no such folder`,
      transient: false,
      cause
    })
  }
  if (code === "ENOENT") {
    return new ProcessError({
      reason: "NotFound",
      program,
      message: program.includes("/")
        ? `${program}: no such program`
        : `${program}: program not found in PATH (${path}): is it installed?`,
      transient: false,
      cause
    })
  }
  return new ProcessError({
    reason: code === "EACCES" || code === "EPERM" ? "PermissionDenied" : "Other",
    program,
    message: `${program}: cannot be started: ${Errno.explain(cause)}`,
    transient: Errno.isTransientCode(code),
    cause
  })
}

/** It was ended by us because it took too long. */
export const timedOut = (program: string, millis: number): ProcessError =>
  new ProcessError({
    reason: "Timeout",
    program,
    message: `${program}: was ended after ${Math.round(millis / 1000)} seconds without a result`,
    transient: true
  })
