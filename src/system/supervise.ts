import type { EventEmitter } from "node:events"
import { existsSync } from "node:fs"
import { constants } from "node:os"
import type { Readable } from "node:stream"
import { StringDecoder } from "node:string_decoder"
import * as Data from "effect/Data"
import * as Exit from "effect/Exit"
import * as Errno from "./Errno.ts"

/** A program that could not be started, or did not end in time. A non-zero exit status is no ProcessError. */
export class ProcessError extends Data.TaggedError("ProcessError")<{
  readonly reason: "NotFound" | "PermissionDenied" | "Timeout" | "Other"
  readonly program: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

export const startFailure = (
  program: string,
  path: string,
  folder: string | undefined,
  cause: unknown
): ProcessError => {
  const code = Errno.codeOf(cause)
  const error = (reason: ProcessError["reason"], message: string, transient = false) =>
    new ProcessError({ reason, program, message: `${program}: ${message}`, transient, cause })
  if (code === "ENOENT" && folder !== undefined && !existsSync(folder)) {
    return error("Other", `cannot be started in ${folder}: no such folder`)
  }
  if (code === "ENOENT") {
    const where = `program not found in PATH (${path}): is it installed?`
    return error("NotFound", program.includes("/") ? "no such program" : where)
  }
  const reason = code === "EACCES" || code === "EPERM" ? "PermissionDenied" : "Other"
  return error(reason, `cannot be started: ${Errno.explain(cause)}`, Errno.isTransientCode(code))
}

export const timedOut = (program: string, millis: number): ProcessError =>
  new ProcessError({
    reason: "Timeout",
    program,
    message: `${program}: was ended after ${Math.round(millis / 1000)} seconds without a result`,
    transient: true
  })

/** Takes what a program prints, chunk by chunk. */
export interface Sink {
  readonly write: (chunk: Buffer) => void
  /** What goes into the result. */
  readonly end: () => string
}

/** Keeps everything, as latin1. */
export const collect = (): Sink => {
  const chunks: Array<Buffer> = []
  return { write: (chunk) => chunks.push(chunk), end: () => Buffer.concat(chunks).toString("latin1") }
}

/** Keeps the last `limit` bytes, as UTF-8. */
export const tail = (limit: number): Sink => {
  let chunks: Array<Buffer> = []
  let size = 0
  return {
    write: (chunk) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > 2 * limit) {
        chunks = [Buffer.concat(chunks).subarray(-limit)]
        size = limit
      }
    },
    end: () => Buffer.concat(chunks).subarray(-limit).toString("utf8")
  }
}

/** Gives each line to `onLine` as latin1, without its newline; the last one need not have one. */
export const splitLines = (onLine: (line: string) => void): Sink =>
  lineSink(onLine, (chunk) => chunk?.toString("latin1") ?? "", Number.POSITIVE_INFINITY)

/** A line that is longer is given in pieces, so that no program can fill our memory. */
const longestLine = 64 * 1024

/** The same as UTF-8. */
export const textLines = (onLine: (line: string) => void): Sink => {
  const decoder = new StringDecoder("utf8")
  return lineSink(onLine, (chunk) => (chunk === undefined ? decoder.end() : decoder.write(chunk)), longestLine)
}

/** `decode` gets undefined at the end. */
const lineSink = (
  onLine: (line: string) => void,
  decode: (chunk: Buffer | undefined) => string,
  longest: number
): Sink => {
  let rest = ""
  return {
    write: (chunk) => {
      const text = decode(chunk)
      let from = 0
      for (let to = text.indexOf("\n"); to !== -1; to = text.indexOf("\n", from)) {
        const line = rest + text.slice(from, to)
        rest = ""
        from = to + 1
        onLine(line)
      }
      rest += text.slice(from)
      if (rest.length <= longest) return
      onLine(rest)
      rest = ""
    },
    end: () => {
      rest += decode(undefined)
      if (rest !== "") onLine(rest)
      rest = ""
      return ""
    }
  }
}

/** How a program ended. */
export interface Completed {
  /** Exit status; 128 + N when signal N ended it. */
  readonly exitCode: number
  /** One character a byte (latin1), since names are bytes. */
  readonly stdout: string
  /** UTF-8, at most its last 64 KiB. */
  readonly stderr: string
}

/** What we need of node's ChildProcess. */
export interface Child extends EventEmitter {
  readonly pid?: number | undefined
  readonly exitCode: number | null
  readonly signalCode: NodeJS.Signals | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  readonly unref: () => void
}

/** What becomes of a child's output and of its end. */
interface Supervision {
  /** Takes what it prints; without it, another program has the stream. */
  readonly stdout: Sink | undefined
  /** Takes what it prints to stderr too, as it comes. */
  readonly stderr?: Sink | undefined
  readonly cannotStart: (cause: unknown) => ProcessError
  /** It has exited; its output may still be open. */
  readonly exited?: (() => void) | undefined
  /** Called once, when it and its output have ended. */
  readonly done: (outcome: Exit.Exit<Completed, ProcessError>) => void
}

interface Supervised {
  /** Ends it: all of its process group, SIGTERM first; one that hangs in the kernel is left behind. */
  readonly end: () => Promise<void>
  /** Ends it with this failure if it takes longer than that. */
  readonly within: (millis: number, error: ProcessError) => void
}

/** How long a program may take to end after SIGTERM, and again after SIGKILL (it may hang in the kernel). */
const grace = 5_000
/** How long output may stay open after the program ended: a process that it left behind can hold it for ever. */
const linger = 2_000
const stderrLimit = 64 * 1024

/** Reads the child's output and sees it to its end. */
export const supervise = (child: Child, care: Supervision): Supervised => {
  const stderr = tail(stderrLimit)
  const timers = new Set<NodeJS.Timeout>()
  let settle = () => {}
  const settled = new Promise<void>((resolve) => {
    settle = resolve
  })
  let failure: Exit.Exit<never, ProcessError> | undefined
  let ending = false
  let finished = false
  let received = 0
  const later = (millis: number, then: () => void) => {
    if (!finished) timers.add(setTimeout(then, millis))
  }

  const result = (): Exit.Exit<Completed, ProcessError> => {
    try {
      return Exit.succeed(completed(child, care.stdout?.end() ?? "", stderr.end()))
    } catch (defect) {
      return Exit.die(defect)
    }
  }
  const finish = () => {
    // A child that could not be started says so, and closes after that; one that was given up may close much later.
    if (finished) return
    finished = true
    for (const timer of timers) clearTimeout(timer)
    child.stdout?.destroy()
    child.stderr?.destroy()
    child.unref()
    care.done(failure ?? result())
    settle()
  }
  const end = () => {
    if (!ending && !finished) {
      ending = true
      signal(child, "SIGTERM")
      later(grace, () => signal(child, "SIGKILL"))
      later(2 * grace, finish)
    }
    return settled
  }
  const fail = (with_: Exit.Exit<never, ProcessError>) => {
    failure ??= with_
    void end()
  }
  const guarded = (work: () => void) => {
    if (failure !== undefined) return
    try {
      work()
    } catch (defect) {
      fail(Exit.die(defect))
    }
  }
  const whenGroupIsGone = () => (ending && signal(child, 0) ? later(50, whenGroupIsGone) : finish())
  const stopReading = () => {
    const before = received
    // What is in the pipes is read between a timer and an immediate, even when we were late for the timer.
    setImmediate(() => {
      if (received !== before) {
        later(linger, stopReading)
      } else {
        child.stdout?.destroy()
        child.stderr?.destroy()
      }
    })
  }
  const read = (sink: Sink) => (chunk: Buffer) => {
    received += chunk.length
    guarded(() => sink.write(chunk))
  }

  if (care.stdout !== undefined) child.stdout?.on("data", read(care.stdout))
  child.stderr?.on("data", read(stderr))
  if (care.stderr !== undefined) child.stderr?.on("data", read(care.stderr))
  child.on("error", (cause) => {
    if (child.pid !== undefined) return
    failure ??= Exit.fail(care.cannotStart(cause))
    finish()
  })
  child.on("exit", () => {
    later(linger, stopReading)
    care.exited?.()
  })
  child.on("close", () => {
    guarded(() => care.stderr?.end())
    whenGroupIsGone()
  })
  return { end, within: (millis, error) => later(millis, () => fail(Exit.fail(error))) }
}

const completed = (child: Child, stdout: string, stderr: string): Completed => ({
  exitCode: child.exitCode ?? 128 + (child.signalCode === null ? 0 : constants.signals[child.signalCode]),
  stdout,
  stderr
})

/** Whether the child's process group still has a member; signal 0 only asks. */
const signal = (child: Child, name: "SIGTERM" | "SIGKILL" | 0): boolean => {
  try {
    return child.pid !== undefined && process.kill(-child.pid, name)
  } catch (cause) {
    // Otherwise ESRCH: the whole group has ended already.
    return Errno.codeOf(cause) === "EPERM"
  }
}

/** One program of a pipe. */
export interface PipeStage {
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** As an Invocation's. */
  readonly env?: Readonly<Record<string, string>>
  /** Gets each line of its stderr (UTF-8, without the newline) as it comes. */
  readonly onStderr?: (line: string) => void
}

/** How a program of a pipe ended; only the last one has any `stdout`. */
export interface StageEnd extends Completed {
  /** It was still running when one that came after it had ended, and we ended it. */
  readonly ended: boolean
}

/** What {@link supervisePipe} leaves to the module that starts programs. */
interface Starter {
  /** Starts a stage that reads from the one before. */
  readonly start: (stage: PipeStage, previous: Child | undefined) => Child
  readonly cannotStart: (stage: PipeStage) => (cause: unknown) => ProcessError
}

type Outcome<A> = Exit.Exit<A, ProcessError>

/** How long a program may go on when its reader has ended. One that prints ends by SIGPIPE; ssh has to tell the other end. */
const unreadGrace = 2_000

/**
 * Starts all stages in one go and sees them to their end; see Process.pipe. Calls `done` once, when all have ended. `end`
 * ends them all.
 */
export const supervisePipe = (
  stages: ReadonlyArray<PipeStage>,
  { cannotStart, start }: Starter,
  done: (outcome: Outcome<ReadonlyArray<StageEnd>>) => void
): { readonly end: () => Promise<void> } => {
  const running: Array<Supervised> = []
  const exited = new Set<number>()
  const unread = new Set<number>()
  const completed: Array<Completed> = []
  const timers = new Set<NodeJS.Timeout>()
  let failure: Outcome<never> | undefined
  let left = 0

  const end = async () => {
    await Promise.all(running.map((stage) => stage.end()))
  }
  const fail = (with_: Outcome<never>) => {
    failure ??= with_
    void end()
  }
  const finish = () => {
    for (const timer of timers) clearTimeout(timer)
    done(failure ?? Exit.succeed(completed.map((each, index) => ({ ...each, ended: unread.has(index) }))))
  }
  const endUnread = (index: number) => () => {
    for (const [earlier, stage] of running.slice(0, index).entries()) {
      if (exited.has(earlier)) continue
      unread.add(earlier)
      void stage.end()
    }
  }
  const whenExited = (index: number) => () => {
    exited.add(index)
    timers.add(setTimeout(endUnread(index), unreadGrace))
  }
  const whenDone = (index: number) => (outcome: Outcome<Completed>) => {
    if (Exit.isSuccess(outcome)) completed[index] = outcome.value
    else fail(Exit.failCause(outcome.cause))
    left--
    if (left === 0) finish()
  }

  let previous: Child | undefined
  for (const [index, stage] of stages.entries()) {
    let child: Child
    try {
      child = start(stage, previous)
    } catch (cause) {
      fail(Exit.fail(cannotStart(stage)(cause)))
      break
    }
    // It has a copy of its own; ours would keep the writer from noticing that its reader has gone.
    previous?.stdout?.destroy()
    previous = child
    left++
    running.push(
      supervise(child, {
        stdout: index === stages.length - 1 ? collect() : undefined,
        stderr: stage.onStderr === undefined ? undefined : textLines(stage.onStderr),
        cannotStart: cannotStart(stage),
        exited: whenExited(index),
        done: whenDone(index)
      })
    )
    // It could not be started: what it says about that comes in a moment, and ends the others.
    if (child.pid === undefined) break
  }
  if (left === 0) finish()
  return { end }
}
