import { type ChildProcess, spawn } from "node:child_process"
import { constants } from "node:os"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Errno from "../domain/Errno.ts"
import { collect, type Sink, splitLines, tail } from "./process/output.ts"
import { type ProcessError, startFailure, timedOut } from "./process/ProcessError.ts"
import { searchPath } from "./process/path.ts"

export { ProcessError } from "./process/ProcessError.ts"

/** A program to run: no shell is involved, arguments reach it byte for byte. */
export interface Invocation {
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** Added to our environment, in which `LC_ALL=C` is set, so that messages and times can be parsed. */
  readonly env?: Readonly<Record<string, string>>
  /** Folder it runs in; ours when left out. */
  readonly cwd?: string
  /** Written to its standard input; without it, standard input is /dev/null. */
  readonly stdin?: string
  /** File descriptors of ours that it inherits as 3, 4, …. */
  readonly inherit?: ReadonlyArray<number>
  /** After this many milliseconds it is ended. Default: 10 minutes. */
  readonly timeoutMillis?: number
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

/** The only door to other programs. Whatever it starts is ended (SIGTERM, then SIGKILL) when the caller is interrupted. */
export class Process extends Context.Tag("zipper/Process")<
  Process,
  {
    /** Runs it to its end and collects what it printed. */
    readonly run: (invocation: Invocation) => Effect.Effect<Completed, ProcessError>
    /**
     * Runs it to its end, giving each line of stdout (latin1, without the newline) to `onLine` as it comes, so
     * that output of any length takes constant memory; `stdout` of the result is empty.
     */
    readonly lines: (
      invocation: Invocation,
      onLine: (line: string) => void
    ) => Effect.Effect<Completed, ProcessError>
  }
>() {
  /** The real one. */
  static readonly layer: Layer.Layer<Process> = Layer.succeed(Process, {
    run: (invocation) =>
      Effect.withSpan(execute(invocation, collect), "Process.run", {
        attributes: { program: invocation.program }
      }),
    lines: (invocation, onLine) =>
      Effect.withSpan(
        execute(invocation, () => splitLines(onLine)),
        "Process.lines",
        { attributes: { program: invocation.program } }
      )
  })
}

const tenMinutes = 600_000
/** How long a program may take to end after SIGTERM, and again after SIGKILL (it may hang in the kernel). */
const grace = 5_000
/** How long output may stay open after the program ended: a process that it left behind can hold it for ever. */
const linger = 2_000
const stderrLimit = 64 * 1024

const execute = (invocation: Invocation, makeSink: () => Sink): Effect.Effect<Completed, ProcessError> =>
  Effect.async<Completed, ProcessError>((resume) => {
    const path = searchPath(invocation.env?.["PATH"] ?? process.env["PATH"])
    const env = { ...process.env, LC_ALL: "C", ...invocation.env, PATH: path }
    const cannotStart = (cause: unknown) => startFailure(invocation.program, path, invocation.cwd, cause)
    let child: ChildProcess
    try {
      child = spawn(invocation.program, [...invocation.args], {
        env,
        ...(invocation.cwd === undefined ? {} : { cwd: invocation.cwd }),
        // A process group of its own, so that what it starts is ended with it, and Ctrl-C reaches us alone.
        detached: true,
        stdio: [
          invocation.stdin === undefined ? "ignore" : "pipe",
          "pipe",
          "pipe",
          ...(invocation.inherit ?? [])
        ]
      })
    } catch (cause) {
      resume(Effect.fail(cannotStart(cause)))
      return
    }
    const running = supervise(child, invocation, makeSink(), cannotStart, resume)
    return Effect.promise(running.end)
  })

/**
 * Reads the child's output and calls `done` once, when the child and its output have ended. `end` ends it: all
 * of its process group, SIGTERM first; one that hangs in the kernel is left behind.
 */
const supervise = (
  child: ChildProcess,
  invocation: Invocation,
  stdout: Sink,
  cannotStart: (cause: unknown) => ProcessError,
  done: (outcome: Effect.Effect<Completed, ProcessError>) => void
) => {
  const stderr = tail(stderrLimit)
  const timers = new Set<NodeJS.Timeout>()
  let settle = () => {}
  const settled = new Promise<void>((resolve) => {
    settle = resolve
  })
  let failure: Effect.Effect<never, ProcessError> | undefined
  let ending = false
  let received = 0
  const later = (millis: number, then: () => void) => timers.add(setTimeout(then, millis))

  const finish = () => {
    for (const timer of timers) clearTimeout(timer)
    child.stdout?.destroy()
    child.stderr?.destroy()
    child.unref()
    done(failure ?? Effect.sync(() => completed(child, stdout.end(), stderr.end())))
    settle()
  }
  const end = () => {
    if (!ending) {
      ending = true
      signal(child, "SIGTERM")
      later(grace, () => signal(child, "SIGKILL"))
      later(2 * grace, finish)
    }
    return settled
  }
  const fail = (with_: Effect.Effect<never, ProcessError>) => {
    failure ??= with_
    void end()
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
    if (failure !== undefined) return
    try {
      sink.write(chunk)
    } catch (defect) {
      fail(Effect.die(defect))
    }
  }

  child.stdout?.on("data", read(stdout))
  child.stderr?.on("data", read(stderr))
  // A program that ends without reading its input says what it has to say by its exit status.
  child.stdin?.on("error", () => {})
  child.stdin?.end(invocation.stdin)
  child.on("error", (cause) => {
    if (child.pid !== undefined) return
    failure ??= Effect.fail(cannotStart(cause))
    finish()
  })
  child.on("exit", () => later(linger, stopReading))
  child.on("close", whenGroupIsGone)
  const limit = invocation.timeoutMillis ?? tenMinutes
  later(limit, () => fail(Effect.fail(timedOut(invocation.program, limit))))
  return { end }
}

const completed = (child: ChildProcess, stdout: string, stderr: string): Completed => ({
  exitCode: child.exitCode ?? 128 + (child.signalCode === null ? 0 : constants.signals[child.signalCode]),
  stdout,
  stderr
})

/** Whether there was anyone in the child's process group to get it; signal 0 only asks. */
const signal = (child: ChildProcess, name: "SIGTERM" | "SIGKILL" | 0): boolean => {
  try {
    return child.pid !== undefined && process.kill(-child.pid, name)
  } catch (cause) {
    // Otherwise ESRCH: the whole group has ended already.
    return Errno.codeOf(cause) === "EPERM"
  }
}
