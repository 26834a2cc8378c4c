import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { explain } from "../system/Errno.ts"
import { Process } from "../system/Process.ts"
import { shellWord, shellWords } from "../text/Text.ts"

export type Endpoint = { readonly _tag: "Local" } | Remote

export interface Remote {
  readonly _tag: "Remote"
  /** Host name, address or an alias of ssh_config(5), without a user, and without the brackets of a URL. */
  readonly host: string
  readonly user?: string | undefined
  readonly port?: number | undefined
  /** Each goes after an `-o`, before our own: `IdentityFile=/root/.ssh/backup`. */
  readonly options: ReadonlyArray<string>
}

export const local: Endpoint = { _tag: "Local" }

/** For messages: `this host`, `nas`, `backup@nas`. */
export const label = (endpoint: Endpoint): string => {
  if (endpoint._tag === "Local") return "this host"
  return endpoint.user === undefined ? endpoint.host : `${endpoint.user}@${endpoint.host}`
}

/** Begins a message about the end with that label: `on nas: `; nothing for this host. */
export const onEnd = (end: string): string => (end === label(local) ? "" : `on ${end}: `)

export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
}

/** What runs the command on that end: the command itself, or ssh with it, quoted for any login shell. */
export const commandOn = (endpoint: Endpoint, command: Command): Command =>
  endpoint._tag === "Local" ? command : ssh(endpoint, remoteLine('exec "$@"', command))

/** The machine, reached through the connection at `socket` while there is one, else by a connection of its own. */
export const throughSocket = (remote: Remote, socket: string): Remote => ({
  ...remote,
  options: [...remote.options, `ControlPath=${socket}`]
})

/** The first line that our commands print on another machine, on stderr: what is before it is of ssh and the login. */
const beginMark = "zipper: connected"

/** Whether the command begins with this line; a start-up file may have printed text before it, without a newline. */
export const isBegin = (line: string): boolean => line.endsWith(beginMark)

/** What was printed on stderr before the command on that end began, and by it; `own` is undefined when it did not begin. */
export const splitAtBegin = (
  endpoint: Endpoint,
  stderr: string
): { readonly login: string; readonly own: string | undefined } => {
  if (endpoint._tag === "Local") return { login: "", own: stderr }
  const at = stderr.indexOf(beginMark)
  return at === -1
    ? { login: stderr, own: undefined }
    : { login: stderr.slice(0, at), own: stderr.slice(at + beginMark.length).replace(/^\n/, "") }
}

/** A program between a command and the network: over what the command writes (`out`) or reads (`in`). */
export interface Filter {
  readonly at: "in" | "out"
  /** For sh; holds nothing that has to be quoted. */
  readonly line: string
}

/** Command and filter in one ssh, joined by a pipe there. ssh gives the exit status of the last, {@link statusOf} that of the first. */
export const onFiltered = (endpoint: Remote, command: Command, filter: Filter): Command => {
  // The exit status of a pipe is that of its last program; the other one's goes to stderr.
  const script =
    filter.at === "out"
      ? `{ "$@"; echo "${statusMark} $?" >&2; } | ${filter.line}`
      : `{ ${filter.line}; echo "${statusMark} $?" >&2; } | "$@"`
  return ssh(endpoint, remoteLine(script, command))
}

const statusMark = "zipper: exit status"

/** The exit status in a line of stderr, of the program of {@link onFiltered} whose status ssh does not give. */
export const statusOf = (line: string): number | undefined => {
  const [, digits] = new RegExp(`^${statusMark} ([0-9]+)$`).exec(line) ?? []
  return digits === undefined ? undefined : Number(digits)
}

/** The command on that end, whose output is thrown away there; what comes is its stderr, with {@link statusOf} as the last line. */
export const onDiscarded = (endpoint: Endpoint, { args, program }: Command): Command => {
  // On some kernels zfs of 2.1 cannot write to /dev/null itself.
  const script = `{ { "$@" 2>&3; echo "${statusMark} $?" >&3; } | cat > /dev/null; } 3>&1`
  return commandOn(endpoint, { program: "sh", args: ["-c", script, "sh", program, ...args] })
}

/** Never asks, and notices in a minute that the other end is gone. ssh takes an option's first value: the user's. */
const ssh = (
  remote: Remote,
  line: string,
  // A master that ssh made of a command by itself would outlive us, and hold our stderr open.
  master: "yes" | "no" = "no"
): Command => {
  const options = [
    ...remote.options,
    ...["BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ServerAliveCountMax=4"],
    // Since OpenSSH 7.6. ssh does not run two commands, and -T wins over RequestTTY.
    "RemoteCommand=none",
    ...(master === "yes" ? ["ControlMaster=yes", "ControlPersist=no"] : ["ControlMaster=no"])
  ]
  const args = [
    ...["-T", ...options.flatMap((option) => ["-o", option])],
    ...(remote.port === undefined ? [] : ["-p", String(remote.port)]),
    ...(remote.user === undefined ? [] : ["-l", remote.user]),
    ...["--", remote.host, line]
  ]
  return { program: "ssh", args }
}

// Without a login, PATH has no sbin. csh sees no modifier (`$PATH:`) in these pieces, and fish no braces.
const pathVariable = `"PATH=$PATH"":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"`

/** sh runs the script, with the command as its arguments: each login shell has a syntax of its own for redirections. */
const remoteLine = (script: string, { args, program }: Command): string =>
  `env LC_ALL=C ${pathVariable} ${shellWords(["sh", "-c", `echo ${beginMark} >&2; ${script}`, "sh", program, ...args])}`

/** For an operator to type. `batch`: as zipper calls it; else it asks whether to accept the host key, also where ssh_config forbids that. */
export const manualCommand = (remote: Remote, batch: boolean): string =>
  [
    "ssh",
    ...["-o", batch ? "BatchMode=yes" : "StrictHostKeyChecking=ask"],
    ...remote.options
      .filter((option) => !/^ControlPath\b/i.test(option))
      .flatMap((option) => ["-o", shellWord(option)]),
    ...(remote.port === undefined ? [] : ["-p", String(remote.port)]),
    shellWord(label(remote)),
    "true"
  ].join(" ")

const loginTimeout = "30 seconds"

/** The longest time that a timer takes, 24 days. */
export const unlimited = 2 ** 31 - 1

/** Opens one connection for all commands until the scope closes. Gives its endpoint; `remote` when that fails. */
export const sharedConnection = Effect.fn("sharedConnection")(
  function* (remote: Remote) {
    const process = yield* Process
    const folder = yield* Effect.acquireRelease(
      Effect.tryPromise(() => fs.mkdtemp(join(tmpdir(), "zipper-ssh-"))),
      (made) => Effect.ignoreLogged(Effect.tryPromise(() => fs.rm(made, { recursive: true, force: true })))
    )
    const shared = throughSocket(remote, join(folder, "socket"))
    const connected = yield* Deferred.make<boolean>()
    const command = ssh(shared, `echo ${shellWord(beginMark)}; exec cat`, "yes")
    const master = yield* process
      .lines({ ...command, attached: true, timeoutMillis: unlimited }, (line) => {
        if (isBegin(line)) Deferred.unsafeDone(connected, Effect.succeed(true))
      })
      .pipe(
        Effect.tap(({ stderr }) => Effect.logDebug(`the shared connection has ended: ${stderr.trim()}`)),
        Effect.ignoreLogged,
        Effect.ensuring(Deferred.succeed(connected, false)),
        Effect.forkScoped
      )
    const established = yield* Deferred.await(connected).pipe(
      Effect.timeoutTo({ duration: loginTimeout, onSuccess: (yes) => yes, onTimeout: () => false })
    )
    if (established) return shared
    yield* Effect.logDebug(`no connection to share with ${label(remote)}: each command connects by itself`)
    yield* Fiber.interrupt(master)
    return remote
  },
  (effect, remote) =>
    Effect.catchAll(effect, ({ error }) =>
      Effect.as(Effect.logDebug(`each command connects by itself: ${explain(error)}`), remote)
    )
)
