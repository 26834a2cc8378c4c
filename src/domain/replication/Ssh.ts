import { shellWord, shellWords } from "../ShellWord.ts"
import type { Endpoint, Remote } from "./Endpoint.ts"

/** A program with its arguments, to be started without a shell. */
export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
}

/** The command that runs `command` on the end: itself here, ssh for another machine. */
export const on = (endpoint: Endpoint, command: Command): Command =>
  endpoint._tag === "Local"
    ? command
    : { program: "ssh", args: sshArguments(endpoint, remoteLine([command.program, ...command.args])) }

/** The machine, reached through the connection that a {@link master} keeps at `socket`, or by one of its own where there is none. */
export const through = (remote: Remote, socket: string): Remote => ({
  ...remote,
  options: [...remote.options, `ControlPath=${socket}`]
})

/** What a master prints when other commands can go through its connection. */
export const ready = "zipper: connected"

/**
 * The ssh whose connection the commands for `remote` share ({@link through}): a handshake for each costs more than most of
 * them do. Ends when its standard input does.
 */
export const master = (remote: Remote): Command => ({
  program: "ssh",
  args: sshArguments(remote, `echo ${shellWord(ready)}; exec cat`, "yes")
})

/** A program between a command and the network: over what the command writes (`out`) or reads (`in`). */
export interface Filter {
  readonly at: "in" | "out"
  /** For sh; holds nothing that has to be quoted. */
  readonly line: string
}

/** As {@link on}, with a filter on that machine. */
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

/** The exit status that a line of stderr tells, of the one program of {@link onFiltered} whose status ssh does not. */
export const statusOf = (line: string): number | undefined => {
  const [, digits] = new RegExp(`^${statusMark} ([0-9]+)$`).exec(line) ?? []
  return digits === undefined ? undefined : Number(digits)
}

/**
 * Never asks for anything, and notices within a minute that the other end has gone. The user's own options go first, since
 * ssh takes the first value that it is given.
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

// Without a login, PATH has no sbin, where zfs may be. The pieces are written so that csh sees no modifier (`$PATH:`) and
// fish no braces.
const path = `"PATH=$PATH"":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"`

const remoteLine = (words: ReadonlyArray<string>): string => `env LC_ALL=C ${path} ${shellWords(words)}`

/** The command with which an operator tries the connection by hand. */
export const trial = (remote: Remote, batch: boolean): string =>
  [
    "ssh",
    ...(batch ? ["-o", "BatchMode=yes"] : []),
    // A connection that is shared now will be gone when somebody tries.
    ...remote.options
      .filter((option) => !/^ControlPath\b/i.test(option))
      .flatMap((option) => ["-o", shellWord(option)]),
    ...(remote.port === undefined ? [] : ["-p", String(remote.port)]),
    shellWord(remote.user === undefined ? hostOf(remote) : `${remote.user}@${hostOf(remote)}`),
    "true"
  ].join(" ")
