import { writeSync } from "node:fs"
import { isatty } from "node:tty"
import { codeOf } from "../domain/Errno.ts"

export type StreamName = "stdout" | "stderr"

/** Where text for a person goes, and what is known of the place. */
export interface Terminal {
  /** Writes at once. Gives what went wrong, if anything; a reader that has gone away is no error. */
  readonly write: (stream: StreamName, text: string) => unknown
  readonly isTerminal: (stream: StreamName) => boolean
  /**
   * Keeps `text` on the last line of the terminal behind standard error, below whatever else is written; undefined takes
   * it away. One line, narrower than {@link Terminal.columns}.
   */
  readonly status: (text: string | undefined) => void
  /** Width of the terminal behind standard error. */
  readonly columns: () => number
  readonly env: Readonly<Record<string, string | undefined>>
}

const descriptors = { stdout: 1, stderr: 2 } as const

/**
 * Our own standard output and error. Synchronous, so that nothing is lost when the process ends; once nobody
 * reads a stream any more (`zipper run | head`) what goes there is dropped, and the work goes on.
 */
export const processTerminal = (): Terminal => {
  const gone = new Set<StreamName>()
  const write = (stream: StreamName, text: string): unknown => {
    if (gone.has(stream)) return undefined
    const cause = writeAll(descriptors[stream], Buffer.from(text))
    if (cause === undefined) return undefined
    gone.add(stream)
    return readerGone.has(codeOf(cause) ?? "") ? undefined : cause
  }
  return {
    ...withStatus(write),
    isTerminal: (stream) => isatty(descriptors[stream]),
    // Zero where the terminal does not know (a serial line).
    columns: () => process.stderr.columns || 80,
    env: process.env
  }
}

const clearLine = "\r\x1b[K"

/** Writing, and a status line that makes way for what is written and comes back below it. */
export const withStatus = (write: Terminal["write"]): Pick<Terminal, "write" | "status"> => {
  let shown: string | undefined
  return {
    write: (stream, text) => {
      if (shown === undefined) return write(stream, text)
      write("stderr", clearLine)
      const cause = write(stream, text)
      write("stderr", shown)
      return cause
    },
    status: (text) => {
      if (text === shown) return
      write("stderr", `${clearLine}${text ?? ""}`)
      shown = text
    }
  }
}

/** Nobody reads any more, or standard output was closed before we began. */
const readerGone: ReadonlySet<string> = new Set(["EPIPE", "EBADF"])

/** The error when the descriptor takes no more. */
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
