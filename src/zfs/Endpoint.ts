import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { explain } from "../system/Errno.ts"
import { Process } from "../system/Process.ts"
import { shellWord, shellWords } from "../text/ShellWord.ts"

/** The machine on which a zfs command runs. */
export type Endpoint = { readonly _tag: "Local" } | Remote

export interface Remote {
  readonly _tag: "Remote"
  /** Host name, address or an alias of ssh_config(5), without a user. */
  readonly host: string
  /** Left out: the user that ssh chooses. */
  readonly user?: string | undefined
  readonly port?: number | undefined
  /** Each goes after an `-o`, before our own: `IdentityFile=/root/.ssh/backup`. */
  readonly options: ReadonlyArray<string>
}

export const local: Endpoint = { _tag: "Local" }

/** For messages: `this host`, `nas`, `backup@nas`. */
export const label = (endpoint: Endpoint): string =>
  endpoint._tag === "Local"
    ? "this host"
    : endpoint.user === undefined
      ? endpoint.host
      : `${endpoint.user}@${endpoint.host}`

/** Begins a message about the end with that label: `on nas: `; nothing for this host. */
export const onEnd = (end: string): string => (end === label(local) ? "" : `on ${end}: `)

export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
}

export const commandOn = (endpoint: Endpoint, command: Command): Command =>
  endpoint._tag === "Local"
    ? command
    : { program: "ssh", args: sshArguments(endpoint, remoteLine([command.program, ...command.args])) }

/**
 * The machine, reached through the connection at `socket` while {@link masterCommand} keeps it, else by a connection
 * of its own.
 */
export const throughSocket = (remote: Remote, socket: string): Remote => ({
  ...remote,
  options: [...remote.options, `ControlPath=${socket}`]
})

/** What a master prints when other commands can go through its connection. */
const connectedLine = "zipper: connected"

/**
 * The ssh whose connection the commands for `remote` share, because a handshake costs more than most of them. Ends
 * with its stdin.
 */
const masterCommand = (remote: Remote): Command => ({
  program: "ssh",
  args: sshArguments(remote, `echo ${shellWord(connectedLine)}; exec cat`, "yes")
})

/** A program between a command and the network: over what the command writes (`out`) or reads (`in`). */
export interface Filter {
  readonly at: "in" | "out"
  /** For sh; holds nothing that has to be quoted. */
  readonly line: string
}

/** As {@link commandOn}, with a filter on that machine. */
export const onFiltered = (endpoint: Remote, command: Command, filter: Filter): Command => {
  // The exit status of a pipe is that of its last program; the other one's goes to stderr.
  const script =
    filter.at === "out"
      ? `{ "$@"; echo "${statusMark} $?" >&2; } | ${filter.line}`
      : `{ ${filter.line}; echo "${statusMark} $?" >&2; } | "$@"`
  const words = ["sh", "-c", script, "sh", command.program, ...command.args]
  return { program: "ssh", args: sshArguments(endpoint, remoteLine(words)) }
}

const statusMark = "zipper: exit status"

/** The exit status in a line of stderr, of the program of {@link onFiltered} whose status ssh does not tell. */
export const statusOf = (line: string): number | undefined => {
  const [, digits] = new RegExp(`^${statusMark} ([0-9]+)$`).exec(line) ?? []
  return digits === undefined ? undefined : Number(digits)
}

/**
 * Never asks for anything, and notices within a minute that the other end is gone. The user's options go first: ssh
 * takes the first value.
 */
const sshArguments = (
  remote: Remote,
  line: string,
  // A master that ssh made of a command by itself would outlive us, and hold our stderr open.
  master: "yes" | "no" = "no"
): ReadonlyArray<string> => [
  "-T",
  ...[
    ...remote.options,
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    `ControlMaster=${master}`,
    ...(master === "yes" ? ["ControlPersist=no"] : [])
  ].flatMap((option) => ["-o", option]),
  ...(remote.port === undefined ? [] : ["-p", String(remote.port)]),
  ...(remote.user === undefined ? [] : ["-l", remote.user]),
  "--",
  hostOf(remote),
  line
]

/** ssh takes an IPv6 address without the brackets that a URL needs. */
const hostOf = ({ host }: Remote): string => /^\[(.*)\]$/.exec(host)?.[1] ?? host

// Without a login, PATH has no sbin, where zfs may be. csh sees no modifier (`$PATH:`) in these pieces, and fish no
// braces.
const pathVariable = `"PATH=$PATH"":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"`

const remoteLine = (words: ReadonlyArray<string>): string => `env LC_ALL=C ${pathVariable} ${shellWords(words)}`

/** The command with which an operator tries the connection by hand. */
export const manualCommand = (remote: Remote, batch: boolean): string =>
  [
    "ssh",
    ...(batch ? ["-o", "BatchMode=yes"] : []),
    // The shared connection will be gone when the operator tries.
    ...remote.options
      .filter((option) => !/^ControlPath\b/i.test(option))
      .flatMap((option) => ["-o", shellWord(option)]),
    ...(remote.port === undefined ? [] : ["-p", String(remote.port)]),
    shellWord(remote.user === undefined ? hostOf(remote) : `${remote.user}@${hostOf(remote)}`),
    "true"
  ].join(" ")

/** Longer than that, no login is waited for, nor one that runs something else than our command. */
const loginTimeout = "30 seconds"

/** As long as node can wait: the connection is there until the scope closes. */
const unlimited = 2 ** 31 - 1

/**
 * Opens one connection that all commands for `remote` share until the scope closes, and gives the endpoint to use.
 * When it fails that is `remote` itself: each command connects by itself, and the first one says what is wrong.
 */
export const sharedConnection = Effect.fn("sharedConnection")(
  function* (remote: Remote) {
    const process = yield* Process
    const folder = yield* Effect.acquireRelease(
      Effect.tryPromise(() => fs.mkdtemp(join(tmpdir(), "zipper-ssh-"))),
      (made) => Effect.ignoreLogged(Effect.tryPromise(() => fs.rm(made, { recursive: true, force: true })))
    )
    const shared = throughSocket(remote, join(folder, "socket"))
    const connected = yield* Deferred.make<boolean>()
    const master = yield* process
      .lines({ ...masterCommand(shared), attached: true, timeoutMillis: unlimited }, (line) => {
        // A start-up file of the shell may have printed something before it, without a newline.
        if (line.endsWith(connectedLine)) Deferred.unsafeDone(connected, Effect.succeed(true))
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
