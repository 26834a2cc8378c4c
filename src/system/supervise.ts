import type { EventEmitter } from "node:events"
import { constants } from "node:os"
import type { Readable } from "node:stream"
import { StringDecoder } from "node:string_decoder"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { count } from "../text/Text.ts"
import * as Errno from "./Errno.ts"

/** A program that could not be started, or did not end in time. A non-zero exit status is no ProcessError. */
export class ProcessError extends Data.TaggedError("ProcessError")<{
  readonly reason: "NotFound" | "PermissionDenied" | "Timeout" | "Other"
  readonly program: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

export interface Completed {
  /** Exit status; 128 + N when signal N ended it. */
  readonly exitCode: number
  /** One character a byte (latin1), since names are bytes. */
  readonly stdout: string
  /** UTF-8; of a long one, the lines in its first and its last 32 KiB. */
  readonly stderr: string
}

/** Part of node's ChildProcess, which only Process.ts makes. */
interface Child extends EventEmitter {
  readonly pid?: number | undefined
  readonly exitCode: number | null
  readonly signalCode: NodeJS.Signals | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  readonly unref: () => void
}

interface Supervision {
  readonly program: string
  /** Undefined: another program reads the stream. */
  readonly stdout: Sink | undefined
  readonly stderr?: Sink | undefined
  readonly timeoutMillis?: number
  readonly startFailure: (cause: unknown) => ProcessError
  readonly onExit?: () => void
}

export interface Supervised {
  readonly completed: Effect.Effect<Completed, ProcessError>
  /** Ends its process group, SIGTERM first, and waits; a process that hangs in the kernel is left behind. */
  readonly end: Effect.Effect<void>
  /** Its reader has ended: ends it after a moment if it still runs. */
  readonly endUnread: () => void
  readonly unread: () => boolean
}

/** Milliseconds to end after SIGTERM, and again after SIGKILL. */
const grace = 5_000
/** Milliseconds of open output after the end: a process that the program left behind can hold it for ever. */
const linger = 2_000
/** Milliseconds without a reader. A program that prints ends by SIGPIPE; ssh has to inform the other end. */
const unreadGrace = 2_000
const stderrLimit = 64 * 1024

/** Reads a child's output and waits for its end. To be called in the tick in which the child is started. */
export const supervise = (child: Child, care: Supervision): Supervised => {
  const outcome = Deferred.unsafeMake<Completed, ProcessError>(FiberId.none)
  const stderr = bothEnds(stderrLimit / 2)
  const timers = new Set<NodeJS.Timeout>()
  let failure: Exit.Exit<never, ProcessError> | undefined
  let exited = false
  let ending = false
  let finished = false
  let unread = false
  let received = 0

  const schedule = (millis: number, then: () => void) => {
    if (!finished) timers.add(setTimeout(then, millis))
  }
  const guard = (work: () => void) => {
    if (failure !== undefined) return
    try {
      work()
    } catch (defect) {
      fail(Exit.die(defect))
    }
  }
  const fail = (with_: Exit.Exit<never, ProcessError>) => {
    failure ??= with_
    end()
  }
  const end = () => {
    if (ending || finished) return
    ending = true
    signal(child, "SIGTERM")
    // Where this process ends first, no timer would end the rest of the group.
    process.on("exit", kill)
    schedule(grace, kill)
    schedule(2 * grace, finish)
  }
  const kill = () => signal(child, "SIGKILL")
  const closeOutput = () => {
    child.stdout?.destroy()
    child.stderr?.destroy()
  }
  const finish = () => {
    // A child closes after its error, too, and much later when it was given up.
    if (finished) return
    finished = true
    for (const timer of timers) clearTimeout(timer)
    process.off("exit", kill)
    closeOutput()
    child.unref()
    let stdout = ""
    guard(() => {
      stdout = care.stdout?.end() ?? ""
    })
    const exitCode = child.exitCode ?? 128 + (child.signalCode === null ? 0 : constants.signals[child.signalCode])
    Deferred.unsafeDone(outcome, failure ?? Exit.succeed({ exitCode, stdout, stderr: stderr.end() }))
  }
  const finishWithGroup = () => (ending && signal(child, 0) ? schedule(50, finishWithGroup) : finish())
  const stopReading = () => {
    const before = received
    // What is in the pipes is read between a timer and an immediate, even when the timer is late.
    setImmediate(() => (received === before ? closeOutput() : schedule(linger, stopReading)))
  }
  const read = (sink: Sink) => (chunk: Buffer) => {
    received += chunk.length
    guard(() => sink.write(chunk))
  }

  if (care.stdout !== undefined) child.stdout?.on("data", read(care.stdout))
  child.stderr?.on("data", read(stderr))
  if (care.stderr !== undefined) child.stderr?.on("data", read(care.stderr))
  child.on("error", (cause) => {
    if (child.pid !== undefined) return
    failure ??= Exit.fail(care.startFailure(cause))
    finish()
  })
  child.on("exit", () => {
    exited = true
    schedule(linger, stopReading)
    care.onExit?.()
  })
  child.on("close", () => {
    guard(() => care.stderr?.end())
    finishWithGroup()
  })
  const { program, timeoutMillis } = care
  // One that has ended was in time, also where a process that it left behind goes on printing.
  const stop = (millis: number) =>
    exited ? schedule(linger, () => setImmediate(closeOutput)) : fail(Exit.fail(timedOut(program, millis)))
  if (timeoutMillis !== undefined) schedule(timeoutMillis, () => stop(timeoutMillis))

  const completed = Deferred.await(outcome)
  return {
    completed,
    end: Effect.suspend(() => {
      end()
      return Effect.exit(completed)
    }),
    endUnread: () =>
      schedule(unreadGrace, () => {
        if (exited) return
        unread = true
        end()
      }),
    unread: () => unread
  }
}

const timedOut = (program: string, millis: number) =>
  new ProcessError({
    reason: "Timeout",
    program,
    message: `${program}: was ended after ${count(Math.round(millis / 1000), "second")} without a result`,
    transient: true
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

export interface Sink {
  readonly write: (chunk: Buffer) => void
  readonly end: () => string
}

export const collect = (): Sink => {
  const chunks: Array<Buffer> = []
  return { write: (chunk) => chunks.push(chunk), end: () => Buffer.concat(chunks).toString("latin1") }
}

const bothEnds = (limit: number): Sink => {
  let first = Buffer.alloc(0)
  let last = Buffer.alloc(0)
  let isCut = false
  return {
    write: (chunk) => {
      const room = limit - first.length
      if (room > 0) first = Buffer.concat([first, chunk.subarray(0, room)])
      last = Buffer.concat([last, chunk.subarray(room)])
      isCut ||= last.length > limit
      if (last.length > 2 * limit) last = last.subarray(-limit)
    },
    end: () => {
      if (!isCut) return Buffer.concat([first, last]).toString("utf8")
      const tail = last.subarray(-limit)
      const next = tail.indexOf("\n") + 1
      const whole = [first.subarray(0, first.lastIndexOf("\n") + 1), next < limit ? tail.subarray(next) : tail]
      return Buffer.concat(whole).toString("utf8")
    }
  }
}

/** Gives each line to `onLine`, without its newline; the last one need not have one. A line above `longest` comes in pieces. */
export const lines = (
  onLine: (line: string) => void,
  encoding: "latin1" | "utf8",
  longest = Number.POSITIVE_INFINITY
): Sink => {
  const decoder = new StringDecoder(encoding)
  let rest = ""
  return {
    write: (chunk) => {
      const text = decoder.write(chunk)
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
      rest += decoder.end()
      if (rest !== "") onLine(rest)
      rest = ""
      return ""
    }
  }
}
