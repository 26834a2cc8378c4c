import { fstatSync, writeSync } from "node:fs"
import { isatty } from "node:tty"
import { codeOf, explain } from "../system/Errno.ts"

export type StreamName = "stdout" | "stderr"

/** Standard output and error, and what is known of the terminal behind them. */
export interface Terminal {
  /** Writes at once. Returns the error, if any, also of an earlier write; a reader that has gone away is none. */
  readonly write: (stream: StreamName, text: string) => unknown
  readonly isTerminal: (stream: StreamName) => boolean
  /** Keeps these lines below all other text on standard error. Each is narrower than `columns`; there are fewer than `rows`. */
  readonly status: (lines: ReadonlyArray<string>) => void
  /** The width now; of standard error if no stream is named. */
  readonly columns: (stream?: StreamName) => number
  readonly rows: () => number
  /** Calls `changed` when standard error gets another size, until the returned function is called. */
  readonly onResize: (changed: () => void) => () => void
  readonly env: Readonly<Record<string, string | undefined>>
}

const descriptors = { stdout: 1, stderr: 2 } as const

/** Writes synchronously, so that nothing is lost when the process ends. A stream without a reader (`zipper run | head`) is dropped. */
export const processTerminal = (): Terminal => {
  const gone = new Map<StreamName, unknown>()
  const write = (stream: StreamName, text: string): unknown => {
    if (gone.has(stream)) return gone.get(stream)
    const cause = writeAll(descriptors[stream], Buffer.from(text))
    if (cause !== undefined) gone.set(stream, readerGone.has(codeOf(cause) ?? "") ? undefined : cause)
    return gone.get(stream)
  }
  // Zero where the terminal does not know (a serial line).
  const columns = (stream: StreamName = "stderr") => process[stream].columns || 80
  const rows = () => process.stderr.rows || 24
  let same: boolean | undefined
  const together = (): boolean => {
    same ??= isSameTerminal()
    return same
  }
  return {
    ...withStatus({ write, columns, rows, together }),
    isTerminal: (stream) => isatty(descriptors[stream]),
    columns,
    rows,
    onResize: (changed) => {
      process.stderr.on("resize", changed)
      return () => process.stderr.off("resize", changed)
    },
    env: process.env
  }
}

export const outputProblem = (cause: unknown): string => `cannot write to standard output: ${explain(cause)}`

const isSameTerminal = (): boolean =>
  isatty(descriptors.stdout) &&
  isatty(descriptors.stderr) &&
  fstatSync(descriptors.stdout).rdev === fstatSync(descriptors.stderr).rdev

// ECMA-48 and xterm's ctlseqs; consoles of Linux and FreeBSD, tmux and screen know all of these.
const clearRight = "\x1b[K"
const clearBelow = "\x1b[J"
// Not from the first column on: in the first row of its screen, tmux would keep what is cleared as history.
const wiped = `\r${clearRight}\x1b[C${clearBelow}\r`
const wrapping = { off: "\x1b[?7l", on: "\x1b[?7h" }
const up = (lines: number): string => (lines === 0 ? "" : `\x1b[${lines}A`)

/**
 * Text, and status lines that move below it.
 *
 * The cursor waits at the beginning of the first status line, so that "clear from here on" wipes them, whether a narrower
 * window wrapped or cut them. They are redrawn in a single write and without wrapping, so that nothing flickers and a window
 * that changes its size at that moment cuts a line instead of breaking it.
 */
export const withStatus = (device: {
  readonly write: Terminal["write"]
  readonly columns: () => number
  readonly rows: () => number
  readonly together: () => boolean
}): Pick<Terminal, "write" | "status"> => {
  let lines: ReadonlyArray<string> = []
  // The lines on the screen, and the size that they were drawn for.
  let drawn: { readonly text: string; readonly size: string } | undefined
  // The last line of text has no end yet: it must not be wiped.
  let unfinished = false

  const block = (): string => {
    const fitting = lines.slice(0, Math.max(1, device.rows() - 1))
    const text = fitting.join(`${clearRight}\r\n`)
    return `${wrapping.off}\r${text}${clearBelow}${wrapping.on}${up(fitting.length - 1)}\r`
  }
  const size = (): string => `${device.columns()}x${device.rows()}`
  const wipe = (): void => {
    if (drawn !== undefined) device.write("stderr", wiped)
    drawn = undefined
  }

  return {
    write: (stream, text) => {
      if (stream === "stdout" && !device.together()) {
        // It may reach the same terminal later, by another program (`| tee`). The next drawing brings the lines back.
        wipe()
        return device.write(stream, text)
      }
      if (text === "") return undefined
      const before = drawn === undefined ? "" : wiped
      unfinished = !text.endsWith("\n")
      const after = unfinished || lines.length === 0 ? "" : block()
      const cause = device.write(stream, `${before}${text}${after}`)
      drawn = after === "" || cause !== undefined ? undefined : { text: after, size: size() }
      return cause
    },
    status: (now) => {
      lines = now
      if (unfinished) return
      if (lines.length === 0) return wipe()
      const next = { text: block(), size: size() }
      if (drawn?.text === next.text && drawn.size === next.size) return
      // A terminal that wrapped what it did not have room for would join the rows again.
      const before = drawn === undefined || drawn.size === next.size ? "" : wiped
      device.write("stderr", `${before}${next.text}`)
      drawn = next
    }
  }
}

const readerGone: ReadonlySet<string> = new Set(["EPIPE", "EBADF"])

const writeAll = (fd: number, data: Buffer): unknown => {
  let written = 0
  while (written < data.length) {
    try {
      written += writeSync(fd, data, written)
    } catch (cause) {
      // A pipe that another program made non-blocking, and whose reader is slow.
      if (codeOf(cause) !== "EAGAIN") return cause
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
  return undefined
}

/** Whether the locale's characters are UTF-8; without a locale (cron) they are not. */
export const isUtf8 = (env: Terminal["env"]): boolean =>
  /utf-?8/i.test(env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "")

/** Whether text there may be coloured: NO_COLOR (no-color.org), no terminal and a dumb one say no. */
export const hasColour = (terminal: Terminal, stream: StreamName): boolean =>
  terminal.isTerminal(stream) && !terminal.env["NO_COLOR"] && (terminal.env["TERM"] ?? "dumb") !== "dumb"
