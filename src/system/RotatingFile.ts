import * as fs from "node:fs"
import { codeOf, explain, valueOr } from "./Errno.ts"
import { headLength, notToWrite, readOnly } from "./FileCalls.ts"

export interface RotatingFileSettings {
  readonly path: string
  /** A file that would grow past this becomes `path.1`, … up to `path.<keep>`. */
  readonly maxBytes: number
  readonly keep: number
}

/**
 * Why a file is no log, by its first bytes (one a character). The first line of a log of any program has a time of day, not a
 * hardware address, or begins with a level; in ours, a line begins with `time=`, or the console was redirected to it. A comment,
 * JSON, XML and a mailbox have times too. Zeros before all that are of a power cut.
 */
export const notALog = (head: string): string | undefined => {
  const text = head.replace(/^[\0\s]+/, "")
  const [first = ""] = text.split("\n", 1)
  const isOurs = "time=".startsWith(text.slice(0, 5)) || /^time=\d{4}-\d\d-\d\dT/m.test(text) || printed.test(first)
  const isOther =
    !/^(?:[{#<]|From |Date:)/.test(first) &&
    (/^(?:debug|info|notice|warn(?:ing)?|error|critical|fatal):/i.test(first) ||
      /(?<!\d|\b[\da-f]{2}:)\d\d:\d\d:\d\d(?!:|\d)/i.test(first))
  return (text === "" ? head.length < headLength : isOurs || isOther)
    ? undefined
    : "its first line is not that of a log, so it is left as it is: set log_file to another name, or move it away"
}

/** The prefixes of cli/output, in UTF-8, one byte a character. */
const printed = /^(?:\* |\xf0\x9f\x9a\xa8 |\xe2\x84\xb9)/

const headOf = (path: string): string => {
  const fd = fs.openSync(path, readOnly)
  try {
    const head = Buffer.alloc(headLength)
    return head.toString("latin1", 0, fs.readSync(fd, head))
  } finally {
    fs.closeSync(fd)
  }
}

/** Appends lines to a file, which is renamed when it is full. Synchronous: a line stays when the process dies. */
export class RotatingFile {
  private readonly settings: RotatingFileSettings
  private open: { readonly fd: number; readonly ino: number; readonly dev: number } | undefined
  /** The last line was cut short (disk full). */
  private torn = false
  private closed = false
  /** Why rotating failed; it is tried again for the next line. */
  rotationFailure: string | undefined

  constructor(settings: RotatingFileSettings) {
    this.settings = settings
  }

  /** Writes one line (without its newline). Throws node's error; the next call tries again. Does nothing after `close`. */
  append(line: string): void {
    if (this.closed) return
    const data = Buffer.from(`${this.torn ? "\n" : ""}${line}\n`)
    let file = this.current()
    const size = file.stat.isFile() ? file.stat.size : 0
    if (size > 0 && size + data.length > this.settings.maxBytes && this.rotate(file.stat)) {
      this.closeCurrent()
      file = this.current()
    }
    let written = 0
    try {
      while (written < data.length) written += fs.writeSync(file.fd, data, written)
      this.torn = false
    } catch (cause) {
      if (written > 0) this.torn = written < data.length
      throw cause
    }
  }

  close(): void {
    this.closed = true
    this.closeCurrent()
  }

  private closeCurrent(): void {
    if (this.open === undefined) return
    const { fd } = this.open
    this.open = undefined
    fs.closeSync(fd)
  }

  /** Opens the path again when another process, or logrotate, has rotated the file. */
  private current(): { readonly fd: number; readonly stat: fs.Stats } {
    const { path } = this.settings
    if (this.open !== undefined) {
      const there = fs.lstatSync(path, { throwIfNoEntry: false })
      if (there?.ino === this.open.ino && there.dev === this.open.dev) return { fd: this.open.fd, stat: there }
      this.closeCurrent()
    }
    // O_NONBLOCK: opening a fifo without a reader must fail, not wait.
    const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = fs.constants
    const fd = fs.openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o640)
    const stat = fs.fstatSync(fd)
    // What cannot be read may be a log.
    const obstacle = stat.isCharacterDevice()
      ? undefined
      : (notToWrite(stat) ?? notALog(valueOr(() => headOf(path), "")))
    if (obstacle !== undefined) {
      fs.closeSync(fd)
      throw new Error(obstacle)
    }
    this.open = { fd, ino: stat.ino, dev: stat.dev }
    return { fd, stat }
  }

  private rotate(full: fs.Stats): boolean {
    const { path, keep } = this.settings
    const marker = `${path}.rotating`
    try {
      if (!takeMarker(marker)) return false
      try {
        this.settle()
        const there = fs.lstatSync(path, { throwIfNoEntry: false })
        if (there?.ino === full.ino && there.dev === full.dev) {
          if (keep === 0) fs.unlinkSync(path)
          else {
            // To path.0 first: when this file cannot be renamed, the older ones stay where they are.
            fs.renameSync(path, `${path}.0`)
            this.settle()
          }
        }
      } finally {
        fs.rmSync(marker, { force: true })
      }
      this.rotationFailure = undefined
      return true
    } catch (cause) {
      this.rotationFailure = explain(cause)
      return false
    }
  }

  /** Renames `path.0`, if it exists, to `path.1`. A crash half-way leaves it for the next time. */
  private settle(): void {
    const { path, keep } = this.settings
    if (fs.lstatSync(`${path}.0`, { throwIfNoEntry: false }) === undefined) return
    for (let n = keep - 1; n >= 1; n -= 1) renameIfThere(`${path}.${n}`, `${path}.${n + 1}`)
    renameIfThere(`${path}.0`, `${path}.1`)
  }
}

/** A marker older than this was left by a process that died. */
const staleMillis = 10_000

/** Keeps two processes from renaming at once. False: another process renames. */
const takeMarker = (marker: string): boolean => {
  const there = fs.lstatSync(marker, { throwIfNoEntry: false })
  if (there !== undefined) {
    // A clock that was set back leaves a marker from the future.
    if (Math.abs(Date.now() - there.mtimeMs) < staleMillis) return false
    fs.rmSync(marker, { force: true })
  }
  try {
    fs.closeSync(fs.openSync(marker, "wx", 0o600))
    return true
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false
    throw cause
  }
}

const renameIfThere = (from: string, to: string): void => {
  try {
    fs.renameSync(from, to)
  } catch (cause) {
    if (codeOf(cause) !== "ENOENT") throw cause
  }
}
