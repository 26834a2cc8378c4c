import { userInfo } from "node:os"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type { Process } from "../system/Process.ts"
import type { Completed, ProcessError } from "../system/supervise.ts"
import { quoted } from "../text/Text.ts"
import { allowCommand, permissionsOf, type Role } from "./Allow.ts"
import { commandOn, type Endpoint, label, local, manualCommand, type Remote } from "./Endpoint.ts"

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
    /** A snapshot or bookmark that was there when it was listed is gone. */
    | "Vanished"
    /** The pool or a quota is full. */
    | "NoSpace"
    /** The target is not as it was when the stream was planned. */
    | "Modified"
    | "Other"
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** The zfs program of one machine. */
export interface Commands {
  readonly endpoint: Endpoint
  /** Succeeds with any exit status. */
  readonly attempt: (args: ReadonlyArray<string>) => Effect.Effect<Completed, ZfsError>
  /**
   * Gives what it printed. `purpose` completes "cannot …" in the message of a failure; `role`: the permissions it
   * takes, when they are not those of these commands.
   */
  readonly run: (
    purpose: string,
    dataset: string,
    args: ReadonlyArray<string>,
    role?: Role
  ) => Effect.Effect<string, ZfsError>
  readonly lines: (args: ReadonlyArray<string>, onLine: (line: string) => void) => Effect.Effect<Completed, ZfsError>
  readonly failure: (purpose: string, dataset: string, completed: Completed, role?: Role) => ZfsError
}

/** What the functions behind Zfs work with. */
export interface OpenZfs {
  readonly process: typeof Process.Service
  readonly commands: Commands
  readonly settings: ZfsSettings & { readonly hostname: string }
}

export interface ZfsSettings {
  /** `snapshot_prefix`. */
  readonly prefix: string
  readonly runId: string
  /** Marks the snapshots of a source that has no `SourceInfo.job`. */
  readonly jobId: string
  /** Where the job's archives go: in the mark, so that another job can see whether this one still exists. */
  readonly target?: string
  readonly hostname?: string
}

interface Context {
  readonly endpoint: Endpoint
  readonly role: Role
  /** Whom the permissions would be granted to. */
  readonly user: () => string
}

export const makeCommands = (
  process: typeof Process.Service,
  endpoint: Endpoint = local,
  given: Partial<Omit<Context, "endpoint">> = {}
): Commands => {
  const context: Context = { endpoint, role: "archive", user: userName, ...given }
  const command = (args: ReadonlyArray<string>) => commandOn(endpoint, { program: "zfs", args })
  // A replica may have more snapshots than can be listed or destroyed in the ten minutes that a program has.
  const limit = context.role === "archive" ? {} : { timeoutMillis: anHour }
  const attempt = (args: ReadonlyArray<string>) =>
    Effect.mapError(process.run({ ...command(args), ...limit }), processFailure(context))
  const failed = (purpose: string, dataset: string, completed: Completed, role: Role = context.role) =>
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
    lines: (args, onLine) =>
      Effect.mapError(process.lines({ ...command(args), timeoutMillis: anHour }, onLine), processFailure(context)),
    failure: failed
  }
}

const anHour = 3_600_000

/** What a command printed, as it was read; left: a line that zfs does not print. `purpose` as in Commands.run. */
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
        message: `${at(endpoint)}cannot ${purpose}: ${quoted(line.slice(0, 200))} is not what zfs prints there; see that the first zfs in PATH is OpenZFS's own`,
        transient: false
      })
  )

/** Begins every message about another machine. */
export const at = (endpoint: Endpoint): string => (endpoint._tag === "Local" ? "" : `on ${label(endpoint)}: `)

/** The user on an end, as far as we know without asking it. */
export const userAt = (endpoint: Endpoint): string =>
  endpoint._tag === "Remote" ? (endpoint.user ?? userName()) : userName()

export const userName = (): string => {
  try {
    return userInfo().username
  } catch {
    // No entry in the user database: zfs allow takes numbers as well.
    return String(process.getuid?.() ?? "")
  }
}

/** The delegation for all that the archive job does, to a user who is not root. */
export const archiveGrant = (dataset: string): string =>
  allowCommand({ user: userName(), permissions: permissionsOf("archive"), dataset })

/** By default the failure of a command of the archive job. */
export const failure = (
  purpose: string,
  dataset: string,
  completed: Completed,
  context: Context = archiveContext
): ZfsError => {
  const { endpoint } = context
  if (endpoint._tag === "Remote") {
    const unreachable = connectionFailure(purpose, endpoint, completed)
    if (unreachable !== undefined) return unreachable
  }
  const said = complaint(completed)
  const reason = classify(said)
  return new ZfsError({
    reason,
    message: `${at(endpoint)}cannot ${purpose}: ${said}${advice(reason, said, dataset, context)}`,
    transient: reason === "Busy"
  })
}

const archiveContext: Context = { endpoint: local, role: "archive", user: () => userName() }

const classify = (said: string): ZfsError["reason"] => {
  if (/permission denied|must be run as root|delegated permission/i.test(said)) return "PermissionDenied"
  if (/is busy/.test(said)) return "Busy"
  if (/out of space|no space left|quota exceeded/i.test(said)) return "NoSpace"
  if (modified.test(said)) return "Modified"
  if (/zfs\S*: (No such file or directory|(command )?not found)/.test(said)) return "NotInstalled"
  if (/does not exist|could not find any snapshots/.test(said)) return "NotFound"
  if (/not a ZFS filesystem/.test(said)) return "NotZfs"
  if (/modules? (are|is|cannot be|could not be)|\/dev\/zfs|libzfs/.test(said)) return "NotInstalled"
  return "Other"
}

/** What `zfs receive` prints about a target that is not what the stream was made for. */
const modified =
  /has been modified|more recent snapshots or bookmarks exist|does not match incremental source|must specify -F|must destroy them|partially-complete state/

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
  if (reason !== "PermissionDenied") return ""
  if (/must be run as root/.test(said)) return `; user ${user()} may not open /dev/zfs`
  const command = allowCommand({ user: user(), permissions: permissionsOf(role), dataset })
  return `; root${endpoint._tag === "Local" ? "" : ` on ${endpoint.host}`} can grant it: ${command}`
}

/** What zfs printed, in one line; of very long text, the beginning and the end. */
export const complaint = ({ exitCode, stderr }: Pick<Completed, "exitCode" | "stderr">): string =>
  abridged(
    messageLines(stderr)
      .join(" ")
      // After a dataset that is gone, zfs prints its usage.
      .replace(/ usage: .*$/s, "")
  ) || `zfs ended with exit status ${exitCode} and no message`

const abridged = (text: string): string =>
  text.length > 2000 ? `${text.slice(0, 1000)} […] ${text.slice(-1000)}` : text

/** Whether a message begins as those of zfs do, or those of a shell that has no zfs. */
export const isZfsMessage = (line: string): boolean =>
  /^(warning: )?(cannot |internal error|error:|zfs: |the zfs |.*\bzfs\S*: .*(not found|no such file))/i.test(line)

/** The lines without what ssh prints on every connection. */
export const messageLines = (stderr: string): ReadonlyArray<string> =>
  stderr.split("\n").flatMap((line) => {
    const text = line.trim()
    return text === "" || /^(Warning: Permanently added|\*\* |Control socket connect\()/.test(text) ? [] : [text]
  })

export const processFailure =
  ({ endpoint, role }: Pick<Context, "endpoint" | "role">) =>
  (cause: ProcessError): ZfsError =>
    new ZfsError({
      reason: cause.reason === "NotFound" ? "NotInstalled" : "Other",
      message: `${cause.reason === "NotFound" ? "" : at(endpoint)}${cause.message}${
        cause.reason === "NotFound" && cause.program === "zfs"
          ? role === "archive"
            ? ` (OpenZFS; or set "snapshots": "live" to archive a plain folder)`
            : " (OpenZFS)"
          : ""
      }`,
      transient: cause.transient,
      cause
    })

/** The failure of ssh itself, whose exit status is 255; undefined when the command failed, since zfs may end so too. */
const connectionFailure = (
  purpose: string,
  remote: Remote,
  { exitCode, stderr }: Pick<Completed, "exitCode" | "stderr">
): ZfsError | undefined => {
  if (exitCode !== 255) return undefined
  const lines = messageLines(stderr)
  const fail = (said: string, { advice, transient }: Verdict) =>
    new ZfsError({
      reason: "Unreachable",
      message: `cannot ${purpose}: cannot reach ${label(remote)}: ${said}${advice}`,
      transient
    })
  for (const { pattern, verdict } of complaints) {
    const said = lines.find((line) => pattern.test(line))
    if (said !== undefined) return fail(said, verdict(remote, stderr))
  }
  return lines.length === 0 ? fail("the connection was lost", { advice: "", transient: true }) : undefined
}

export const isConnectionComplaint = (line: string): boolean => complaints.some(({ pattern }) => pattern.test(line))

interface Verdict {
  readonly advice: string
  readonly transient: boolean
}

/** When ssh prints more than one of these, the first in this list counts. */
const complaints: ReadonlyArray<{
  readonly pattern: RegExp
  readonly verdict: (remote: Remote, stderr: string) => Verdict
}> = [
  {
    pattern: /Permission denied \(|Too many authentication failures|No more authentication methods/,
    verdict: (remote) => ({
      advice: `; the login needs a key without a passphrase, or an agent: try ${manualCommand(remote, true)} as the user that runs this; ssh-copy-id puts a key there`,
      transient: false
    })
  },
  {
    pattern: /Host key verification failed|host key is known for/,
    verdict: (remote, stderr) => ({
      advice: /IDENTIFICATION HAS CHANGED/.test(stderr)
        ? "; its host key is another one than before: find out why, then take the old one out of known_hosts (ssh-keygen -R)"
        : `; its host key is not known yet: compare and accept it once by hand: ${manualCommand(remote, false)}`,
      transient: false
    })
  },
  {
    pattern: /Could not resolve hostname/,
    verdict: (_, stderr) =>
      /Temporary failure|try again/i.test(stderr)
        ? { advice: "", transient: true }
        : { advice: "; is the name of the host right?", transient: false }
  },
  {
    pattern:
      /Bad configuration option|command-line: line |keyword .* extra arguments|Bad owner or permissions|invalid characters|Bad port/,
    verdict: () => ({ advice: "; check the host and the options for ssh", transient: false })
  },
  {
    pattern:
      /^ssh: |^client_loop|^mux_client_|^Shared connection to |^(kex_exchange|ssh_exchange)_identification|^ssh_dispatch_run_fatal|^packet_write|Connection (closed|reset|timed out|refused)|Connection to .* (closed|timed out)|^Timeout, server|^Received disconnect|^Disconnected from|banner exchange|Broken pipe|^Killed by signal/,
    verdict: () => ({ advice: "", transient: true })
  }
]
