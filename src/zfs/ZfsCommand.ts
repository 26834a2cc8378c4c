import { userInfo } from "node:os"
import * as Arr from "effect/Array"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import { valueOr } from "../system/Errno.ts"
import type { Process } from "../system/Process.ts"
import type { Completed, ProcessError } from "../system/supervise.ts"
import { quoted, shellWord, shellWords } from "../text/Text.ts"
import { allowCommand, permissionsOf, type Role } from "./Allow.ts"
import { poolOf } from "./DatasetName.ts"
import { commandOn, type Endpoint, label, local, manualCommand, type Remote, splitAtBegin } from "./Endpoint.ts"

/** A zfs command failed or could not be run, or the source is not as it has to be; the message says what to do. */
export class ZfsError extends Data.TaggedError("ZfsError")<{
  readonly reason:
    | "NotFound"
    | "NotZfs"
    | "PermissionDenied"
    | "Busy"
    | "NotInstalled"
    | "Unmounted"
    /** The other end did not answer, or ssh could not log in. */
    | "Unreachable"
    /** A snapshot that was planned to be sent is gone. */
    | "Vanished"
    | "NoSpace"
    /** A block that is to be sent or read cannot be read: no attempt will, until something is done about it. */
    | "Unreadable"
    /** The target is not as it was when the stream was planned. */
    | "Modified"
    | "Other"
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

export interface Commands {
  readonly endpoint: Endpoint
  /** Succeeds with any exit status. */
  readonly attempt: (args: ReadonlyArray<string>) => Effect.Effect<Completed, ZfsError>
  /** Gives stdout. A failure says "cannot `purpose`", and which permissions `role` needs (default: its own role). */
  readonly run: (
    purpose: string,
    dataset: string,
    args: ReadonlyArray<string>,
    role?: Role
  ) => Effect.Effect<string, ZfsError>
  /** Like `attempt`, for long output: each line of stdout (latin1) goes to `onLine`. At most an hour. */
  readonly lines: (args: ReadonlyArray<string>, onLine: (line: string) => void) => Effect.Effect<Completed, ZfsError>
  /** What a command that ended badly means. `dataset`: where the message advises to grant what is not permitted. */
  readonly failure: (purpose: string, dataset: string, completed: Completed, role?: Role) => ZfsError
}

export interface Context {
  readonly endpoint: Endpoint
  readonly role: Role
  /** The user to whom root would grant the permissions. */
  readonly user: () => string
}

const anHour = 3_600_000

/** zfs on that end. `given`: which role and user the advice in messages is for; by default the archive job and our own user. */
export const makeCommands = (
  process: typeof Process.Service,
  endpoint: Endpoint = local,
  given: Partial<Omit<Context, "endpoint">> = {},
  program: "zfs" | "zpool" = "zfs"
): Commands => {
  const context: Context = { ...archiveContext, endpoint, ...given }
  const command = (args: ReadonlyArray<string>) => commandOn(endpoint, { program, args })
  // A replica may have more snapshots than zfs lists or destroys in the ten minutes that a program has.
  const limit = context.role === "archive" ? {} : { timeoutMillis: anHour }
  const attempt: Commands["attempt"] = (args) => withoutLogin(context, process.run({ ...command(args), ...limit }))
  const failed: Commands["failure"] = (purpose, dataset, completed, role = context.role) =>
    failure(purpose, dataset, completed, { ...context, role })
  return {
    endpoint,
    attempt,
    run: (purpose, dataset, args, role) =>
      Effect.flatMap(attempt(args), (completed) =>
        completed.exitCode === 0
          ? Effect.succeed(completed.stdout)
          : Effect.fail(failed(purpose, dataset, completed, role))
      ),
    lines: (args, onLine) => withoutLogin(context, process.lines({ ...command(args), timeoutMillis: anHour }, onLine)),
    failure: failed
  }
}

/**
 * A command on an end, with what it printed itself as its stderr. What ssh and the login printed before it is logged by
 * `log`, and at debug where it never matters. Fails when the command could not begin.
 */
export const withoutLogin = Effect.fnUntraced(function* (
  { endpoint, role }: Pick<Context, "endpoint" | "role">,
  command: Effect.Effect<Completed, ProcessError>,
  log: typeof Effect.logInfo = Effect.logDebug
) {
  const completed = yield* Effect.mapError(command, processFailure({ endpoint, role }))
  const { login, own } = splitAtBegin(endpoint, completed.stderr)
  if (own === undefined) return yield* beginError(endpoint, completed)
  const [words, harmless] = Arr.partition(linesOf(login), (line) => harmlessLine.test(line))
  if (words.length > 0) yield* log(`${label(endpoint)} prints at the login: ${words.join(" ")}`)
  if (harmless.length > 0) yield* Effect.logDebug(`ssh prints: ${harmless.join(" ")}`)
  return { ...completed, stderr: own }
})

/** What ssh prints of a connection that works: also where the other end takes no more sessions on the shared one. */
const harmlessLine =
  /^(Warning: Permanently added|\*\* |Control socket connect\(|mux_client_request_session: session request failed)/

export const notOpenZfs = "see that the first zfs in PATH is OpenZFS's own"

/** What `read` made of a command's output; its left is a line that zfs does not print. `purpose` as in Commands.run. */
export const readOutput = <A>(
  { endpoint }: Pick<Commands, "endpoint">,
  purpose: string,
  read: Either.Either<A, string>
): Effect.Effect<A, ZfsError> =>
  Effect.mapError(
    read,
    (line) =>
      new ZfsError({
        reason: "Other",
        message: `${at(endpoint)}cannot ${purpose}: ${line === "" ? "zfs printed nothing" : `${quoted(line.slice(0, 200))} is not what zfs prints there`}; ${notOpenZfs}`,
        transient: false
      })
  )

/** Begins every message about another machine. */
export const at = (endpoint: Endpoint): string => (endpoint._tag === "Local" ? "" : `on ${label(endpoint)}: `)

/** The user on an end, as far as this host knows without a connection. */
export const userAt = (endpoint: Endpoint): string =>
  (endpoint._tag === "Remote" ? endpoint.user : undefined) ?? userName()

// Without an entry in the user database: zfs allow takes numbers as well.
export const userName = (): string => valueOr(() => userInfo().username, undefined) ?? String(process.getuid?.() ?? "")

export const archiveGrant = (dataset: string): string =>
  allowCommand({ user: userName(), permissions: permissionsOf("archive"), dataset })

const archiveContext: Context = { endpoint: local, role: "archive", user: userName }

/** The failure by what zfs or ssh printed: reason, advice, and whether it may pass (busy, connection lost). */
export const failure = (
  purpose: string,
  dataset: string,
  completed: Completed,
  context: Context = archiveContext
): ZfsError => {
  const { endpoint } = context
  const lost = endpoint._tag === "Remote" ? connectionFailure(endpoint, completed) : undefined
  if (lost !== undefined) return changed(lost, { message: `cannot ${purpose}: ${lost.message}` })
  const said = complaint(completed)
  const reason = reasons.find(([pattern]) => pattern.test(said))?.[1] ?? "Other"
  return new ZfsError({
    reason,
    message: `${at(endpoint)}cannot ${purpose}: ${said}${advice(reason, said, dataset, context)}`,
    transient: reason === "Busy"
  })
}

const reasons: ReadonlyArray<readonly [RegExp, ZfsError["reason"]]> = [
  [/permission denied|must be run as root|delegated permission/i, "PermissionDenied"],
  [/is busy/, "Busy"],
  [/out of space|no space left|quota exceeded/i, "NoSpace"],
  // From `zfs receive`, of a target that is not what the stream was made for.
  [/has been modified|more recent snapshots or bookmarks exist|does not match incremental source/, "Modified"],
  [/must specify -F|must destroy them|partially-complete state/, "Modified"],
  [/zfs\S*: (No such file or directory|(command )?not found)/, "NotInstalled"],
  [/does not exist|no such pool|could not find any snapshots/, "NotFound"],
  [/not a ZFS filesystem/, "NotZfs"],
  [/modules? (are|is|cannot be|could not be)|\/dev\/zfs|libzfs/, "NotInstalled"]
]

const advice = (
  reason: ZfsError["reason"],
  said: string,
  dataset: string,
  { endpoint, role, user }: Context
): string => {
  if (reason === "NotInstalled") {
    return /No such file|not found/.test(said)
      ? "; is OpenZFS installed there?"
      : "; is the ZFS kernel module loaded (modprobe zfs)?"
  }
  if (/^cannot destroy snapshots?\b.* is busy/.test(said)) return "; something has it mounted or open, or sends it"
  if (/^cannot unmount .* is busy/.test(said)) return "; a program has a file open there, or works in that folder"
  if (/delegated administration is disabled/.test(said)) {
    return `; root can enable it there: zpool set delegation=on ${shellWord(poolOf(dataset))}`
  }
  if (reason !== "PermissionDenied") return ""
  if (/must be run as root/.test(said)) return `; user ${user()} may not open /dev/zfs`
  const command = allowCommand({ user: user(), permissions: permissionsOf(role), dataset })
  return `; root${endpoint._tag === "Local" ? "" : ` on ${endpoint.host}`} can grant it: ${command}`
}

/** What a command printed on stderr, on one line; the middle of a very long text is left out. */
export const complaint = ({ exitCode, stderr }: Pick<Completed, "exitCode" | "stderr">): string => {
  // After a dataset that is gone, zfs prints its usage.
  const said = linesOf(stderr)
    .join(" ")
    .replace(/ usage: .*$/s, "")
  if (said === "") return `zfs ended with exit status ${exitCode} and no message`
  return said.length > 2000 ? `${said.slice(0, 1000)} […] ${said.slice(-1000)}` : said
}

/** The lines that are not empty, without blanks around them. */
export const linesOf = (stderr: string): ReadonlyArray<string> =>
  stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")

/** An error in which something is different: its fields are not enumerable, so that a spread would lose them. */
export const changed = (
  { cause, message, reason, transient }: ZfsError,
  to: { readonly message?: string; readonly transient?: boolean }
): ZfsError => new ZfsError({ reason, message, transient, ...(cause === undefined ? {} : { cause }), ...to })

/** What it means that zfs or ssh could not be started, or did not end in time. */
export const processFailure =
  ({ endpoint, role }: Pick<Context, "endpoint" | "role">) =>
  (cause: ProcessError): ZfsError => {
    const { message, program, reason, transient } = cause
    if (reason !== "NotFound") {
      return new ZfsError({ reason: "Other", message: `${at(endpoint)}${message}`, transient, cause })
    }
    const hint = role === "archive" ? `(OpenZFS; or set "snapshots": "live" to archive a plain folder)` : "(OpenZFS)"
    const shown = program === "zfs" ? `${message} ${hint}` : message
    return new ZfsError({ reason: "NotInstalled", message: shown, transient, cause })
  }

/** The failure of a command that did not begin: there is no connection, or the login runs something else. */
export const beginError = (endpoint: Endpoint, completed: Omit<Completed, "stdout"> & Partial<Completed>): ZfsError => {
  const lost = endpoint._tag === "Remote" ? connectionFailure(endpoint, completed) : undefined
  if (lost !== undefined) return lost
  const { exitCode, stderr, stdout = "" } = completed
  const printed = linesOf(`${stdout}\n${stderr}`).join(" ").slice(0, 500)
  const what = `exit status ${exitCode}, ${printed === "" ? "and nothing was printed" : `and it printed ${quoted(printed)}`}`
  return new ZfsError({
    reason: "Unreachable",
    message: `${label(endpoint)} runs something else than the command that it is given: ${what}; the user needs a login shell such as /bin/sh, and no ForceCommand (sshd_config) or command= (authorized_keys)`,
    transient: false
  })
}

/** The failure of ssh itself, whose exit status is 255; undefined when the command failed, since zfs may end so too. */
const connectionFailure = (
  remote: Remote,
  { exitCode, stderr }: Pick<Completed, "exitCode" | "stderr">
): ZfsError | undefined => {
  if (exitCode !== 255) return undefined
  const lines = linesOf(stderr).filter((line) => !harmlessLine.test(line))
  const fail = (said: string, transient: boolean) =>
    new ZfsError({ reason: "Unreachable", message: `cannot reach ${label(remote)}: ${said}`, transient })
  for (const { advice: adviceOn, pattern, transient } of connectionComplaints) {
    const said = lines.find((line) => pattern.test(line))
    if (said !== undefined) return fail(`${said}${adviceOn?.(remote, stderr) ?? ""}`, transient)
  }
  return lines.length === 0 ? fail("the connection was lost", true) : undefined
}

/** When ssh prints more than one of these, the first in this list counts. */
const connectionComplaints: ReadonlyArray<{
  readonly pattern: RegExp
  readonly transient: boolean
  readonly advice?: (remote: Remote, stderr: string) => string
}> = [
  {
    pattern: /Permission denied \(|Too many authentication failures|No more authentication methods/,
    transient: false,
    advice: (remote) =>
      `; the login needs a key without a passphrase, or an agent: try ${manualCommand(remote, true)} as the user that runs this; ssh-copy-id puts a key there`
  },
  {
    pattern: /Host key verification failed|host key is known for/,
    transient: false,
    advice: (remote, stderr) =>
      /IDENTIFICATION HAS CHANGED/.test(stderr)
        ? "; its host key is another one than before: find out why, then take the old one out of known_hosts (ssh-keygen -R)"
        : `; its host key is not known yet: compare and accept it once by hand: ${manualCommand(remote, false)}`
  },
  { pattern: /Could not resolve hostname.*(temporary failure|try again)/i, transient: true },
  { pattern: /Could not resolve hostname/, transient: false, advice: () => "; is the name of the host right?" },
  {
    pattern:
      /Bad configuration option|command-line: line |keyword .* extra arguments|Bad owner or permissions|invalid characters|Bad port/,
    transient: false,
    advice: () => "; check the host and the options for ssh"
  },
  {
    pattern:
      /^ssh: |^client_loop|^mux_client_|^Shared connection to |^(kex_exchange|ssh_exchange)_identification|^ssh_dispatch_run_fatal|^packet_write|Connection (closed|reset|timed out|refused)|Connection to .* (closed|timed out)|^Timeout, server|^Received disconnect|^Disconnected from|banner exchange|Broken pipe|^Killed by signal/,
    transient: true
  }
]

/** A command of zfs as an operator types it. */
export const commandText = (args: ReadonlyArray<string>): string => shellWords(["zfs", ...args])
