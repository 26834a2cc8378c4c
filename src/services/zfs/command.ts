import { userInfo } from "node:os"
import * as Effect from "effect/Effect"
import type { Completed, Process, ProcessError } from "../Process.ts"
import { ZfsError } from "./contract.ts"

/** The zfs program. */
export interface Commands {
  /** Runs it; what it printed, whatever its exit status. */
  readonly attempt: (args: ReadonlyArray<string>) => Effect.Effect<Completed, ZfsError>
  /** Runs it; what it printed. `purpose` completes "cannot …" in the message of a failure. */
  readonly run: (
    purpose: string,
    dataset: string,
    args: ReadonlyArray<string>
  ) => Effect.Effect<string, ZfsError>
  /** Runs it, giving each line to `onLine`. */
  readonly lines: (
    args: ReadonlyArray<string>,
    onLine: (line: string) => void
  ) => Effect.Effect<Completed, ZfsError>
}

const anHour = 3_600_000

/** {@link Commands} by way of Process. */
export const makeCommands = (process: typeof Process.Service): Commands => {
  const attempt = (args: ReadonlyArray<string>) =>
    Effect.mapError(process.run({ program: "zfs", args }), notRun)
  return {
    attempt,
    run: (purpose, dataset, args) =>
      Effect.flatMap(attempt(args), (completed) =>
        completed.exitCode === 0
          ? Effect.succeed(completed.stdout)
          : Effect.fail(failure(purpose, dataset, completed))
      ),
    lines: (args, onLine) =>
      Effect.mapError(process.lines({ program: "zfs", args, timeoutMillis: anHour }, onLine), notRun)
  }
}

const notRun = (cause: ProcessError): ZfsError =>
  new ZfsError({
    reason: cause.reason === "NotFound" ? "NotInstalled" : "Other",
    message:
      cause.reason === "NotFound"
        ? `${cause.message} (OpenZFS; or set "snapshots": "live" to archive a plain folder)`
        : cause.message,
    transient: cause.transient,
    cause
  })

/** What zfs said, in one line. */
export const complaint = ({ exitCode, stderr }: Completed): string =>
  stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join(" ")
    // After a dataset that is gone, zfs prints its usage.
    .replace(/ usage: .*$/s, "") || `zfs ended with exit status ${exitCode} and no message`

/** The delegation that lets a user who is not root do all we do. Destroying wants `mount` too. */
export const allowCommand = (dataset: string): string =>
  `zfs allow -u ${userName()} snapshot,destroy,mount,userprop,diff '${dataset}'`

/** Names the failure of a zfs command. */
export const failure = (purpose: string, dataset: string, completed: Completed): ZfsError => {
  const said = complaint(completed)
  const reason = classify(said)
  return new ZfsError({
    reason,
    message: `cannot ${purpose}: ${said}${advice(reason, said, dataset)}`,
    transient: reason === "Busy"
  })
}

const classify = (said: string): ZfsError["reason"] => {
  if (/permission denied|must be run as root|delegated permission/i.test(said)) return "PermissionDenied"
  if (/is busy/.test(said)) return "Busy"
  if (/does not exist|could not find any snapshots/.test(said)) return "NotFound"
  if (/not a ZFS filesystem/.test(said)) return "NotZfs"
  if (/modules? (are|is|cannot be|could not be)|\/dev\/zfs|libzfs/.test(said)) return "NotInstalled"
  return "Other"
}

const advice = (reason: ZfsError["reason"], said: string, dataset: string): string => {
  if (reason === "NotInstalled") return "; is the ZFS kernel module loaded (modprobe zfs)?"
  if (reason !== "PermissionDenied") return ""
  return /must be run as root/.test(said)
    ? `; user ${userName()} may not open /dev/zfs`
    : `; root can grant it: ${allowCommand(dataset)}`
}

const userName = (): string => {
  try {
    return userInfo().username
  } catch {
    // No entry in the user database: zfs allow takes numbers as well.
    return String(process.getuid?.() ?? "")
  }
}
