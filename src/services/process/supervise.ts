import type { EventEmitter } from "node:events"
import { constants } from "node:os"
import type { Readable } from "node:stream"
import * as Exit from "effect/Exit"
import * as Errno from "../../domain/Errno.ts"
import { type Sink, tail } from "./output.ts"
import type { ProcessError } from "./ProcessError.ts"

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
interface Care {
  /** Takes what it prints; without it, somebody else has the stream. */
  readonly stdout: Sink | undefined
  /** Takes what it prints to stderr too, as it comes. */
  readonly stderr?: Sink | undefined
  readonly cannotStart: (cause: unknown) => ProcessError
  /** It has exited; its output may still be open. */
  readonly exited?: (() => void) | undefined
  /** Called once, when it and its output have ended. */
  readonly done: (outcome: Exit.Exit<Completed, ProcessError>) => void
}

/** A child that is looked after. */
export interface Supervised {
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
export const supervise = (child: Child, care: Care): Supervised => {
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

/** Whether there was anyone in the child's process group to get it; signal 0 only asks. */
const signal = (child: Child, name: "SIGTERM" | "SIGKILL" | 0): boolean => {
  try {
    return child.pid !== undefined && process.kill(-child.pid, name)
  } catch (cause) {
    // Otherwise ESRCH: the whole group has ended already.
    return Errno.codeOf(cause) === "EPERM"
  }
}
