import { type ChildProcess, type StdioOptions, spawn } from "node:child_process"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { withoutSecrets } from "./Environment.ts"
import { codeOf } from "./Errno.ts"
import {
  type Child,
  type Completed,
  collect,
  type PipeStage,
  type ProcessError,
  type Sink,
  type StageEnd,
  splitLines,
  startFailure,
  supervise,
  supervisePipe,
  timedOut
} from "./supervise.ts"

const systemFolders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

/** PATH with the system's folders at the end: cron gives us one without sbin, where zfs is. */
const searchPath = (path: string | undefined): string => {
  const given = (path ?? "").split(":").filter((folder) => folder !== "")
  return [...given, ...systemFolders.filter((folder) => !given.includes(folder))].join(":")
}

/** A program to run: no shell is involved, arguments reach it byte for byte. */
export interface Invocation {
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** Added to our environment without its secrets, in which `LC_ALL=C` is set, so that messages and times can be parsed. */
  readonly env?: Readonly<Record<string, string>>
  /** Folder it runs in; ours when left out. */
  readonly cwd?: string
  /** Written to its standard input; without it, standard input is /dev/null. */
  readonly stdin?: string
  /** Its standard input stays open, empty, for as long as we live: its end tells it that we are gone, however we went. */
  readonly attached?: boolean
  /** File descriptors of ours that it inherits as 3, 4, …. */
  readonly inherit?: ReadonlyArray<number>
  /** After this many milliseconds it is ended. Default: 10 minutes. */
  readonly timeoutMillis?: number
}

/** Starts other programs, which only this module does. They are ended (SIGTERM, then SIGKILL) when the caller is interrupted. */
export class Process extends Context.Tag("zipper/Process")<
  Process,
  {
    /** Runs it to its end and collects what it printed. */
    readonly run: (invocation: Invocation) => Effect.Effect<Completed, ProcessError>
    /**
     * Runs it to its end, giving each line of stdout (latin1, without the newline) to `onLine` as it comes, so
     * that output of any length takes constant memory; `stdout` of the result is empty.
     */
    readonly lines: (invocation: Invocation, onLine: (line: string) => void) => Effect.Effect<Completed, ProcessError>
    /**
     * Runs two programs or more at once, each reading what the one before prints, through the kernel alone: no byte
     * of it comes to us but what the last one prints. How each ended, in their order; a non-zero exit status is no
     * failure, and there is no limit to the time it takes. A program whose reader has ended is ended after a moment; one
     * whose writer has ended goes on for as long as it likes.
     */
    readonly pipe: (
      stages: readonly [PipeStage, PipeStage, ...ReadonlyArray<PipeStage>]
    ) => Effect.Effect<ReadonlyArray<StageEnd>, ProcessError>
  }
>() {
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
      ),
    pipe: (stages) =>
      Effect.withSpan(executePipe(stages), "Process.pipe", {
        attributes: { programs: stages.map(({ program }) => program) }
      })
  })
}

const tenMinutes = 600_000

const execute = (invocation: Invocation, makeSink: () => Sink): Effect.Effect<Completed, ProcessError> =>
  Effect.async<Completed, ProcessError>((resume) => {
    let child: ChildProcess
    try {
      child = start(invocation, [
        invocation.stdin === undefined && invocation.attached !== true ? "ignore" : "pipe",
        "pipe",
        "pipe",
        ...(invocation.inherit ?? [])
      ])
    } catch (cause) {
      resume(Effect.fail(cannotStart(invocation)(cause)))
      return
    }
    const limit = invocation.timeoutMillis ?? tenMinutes
    const running = supervise(child, {
      stdout: makeSink(),
      cannotStart: cannotStart(invocation),
      done: resume
    })
    running.within(limit, timedOut(invocation.program, limit))
    // A program that ends without reading its input says what it has to say by its exit status.
    child.stdin?.on("error", () => {})
    if (invocation.attached !== true) child.stdin?.end(invocation.stdin)
    return Effect.promise(running.end)
  })

const executePipe = (stages: ReadonlyArray<PipeStage>): Effect.Effect<ReadonlyArray<StageEnd>, ProcessError> =>
  Effect.async<ReadonlyArray<StageEnd>, ProcessError>((resume) => {
    const starter = {
      start: (stage: PipeStage, previous: Child | undefined) =>
        start(stage, [previous?.stdout ?? "ignore", "pipe", "pipe"]),
      cannotStart
    }
    const running = supervisePipe(stages, starter, resume)
    return Effect.promise(running.end)
  })

const start = (invocation: Invocation, stdio: StdioOptions): ChildProcess =>
  spawn(invocation.program, [...invocation.args], {
    env: { ...withoutSecrets(process.env), LC_ALL: "C", ...invocation.env, PATH: pathOf(invocation) },
    ...(invocation.cwd === undefined ? {} : { cwd: invocation.cwd }),
    // A process group of its own, so that what it starts is ended with it, and Ctrl-C reaches us alone.
    detached: true,
    stdio
  })

const cannotStart = (invocation: Invocation) => (cause: unknown) =>
  startFailure(invocation.program, pathOf(invocation), invocation.cwd, cause)

const pathOf = ({ env }: Invocation): string => searchPath(env?.["PATH"] ?? process.env["PATH"])

/** Whether there is a process with this pid, of any user. */
export const isRunning = (pid: number): boolean => {
  try {
    // 0 would ask for our own process group.
    return pid > 0 && process.kill(pid, 0)
  } catch (cause) {
    return codeOf(cause) === "EPERM"
  }
}
