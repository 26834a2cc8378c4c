import { type ChildProcess, type StdioOptions, spawn, spawnSync } from "node:child_process"
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { codeOf, explain, isDenied, isTransientCode, valueOr } from "./Errno.ts"
import { type Completed, collect, lines, ProcessError, type Sink, type Supervised, supervise } from "./supervise.ts"

export interface Invocation {
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** Added to our environment, less its secrets, with `LC_ALL=C`. A variable that is undefined is left out. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** Its standard input; default: /dev/null. */
  readonly stdin?: string
  /** Its standard input stays open, empty, until this process ends, however it ends. */
  readonly attached?: boolean
  /** Our file descriptors that it inherits as 3, 4, …. */
  readonly inherit?: ReadonlyArray<number>
  /** Default: 10 minutes. */
  readonly timeoutMillis?: number
  /** Gets each line of its output (UTF-8, at most 64 KiB at once) as it comes; `stdout` is then empty. */
  readonly onOutput?: (line: string, from: "stdout" | "stderr") => void
}

export interface PipeStage extends Pick<Invocation, "program" | "args" | "env"> {
  /** Gets each line of its stderr (UTF-8, without the newline) as it comes. */
  readonly onStderr?: (line: string) => void
}

/** How a program of a pipe ended; only the last one has any `stdout`. */
export interface StageEnd extends Completed {
  /** It still ran when a later one had ended, and was ended. */
  readonly ended: boolean
}

/** Starts other programs, and ends them (SIGTERM, then SIGKILL) when the caller is interrupted. */
export class Process extends Context.Tag("zipper/Process")<
  Process,
  {
    /** Runs a program to its end. Fails when it cannot be started or takes too long, not for its exit status. */
    readonly run: (invocation: Invocation) => Effect.Effect<Completed, ProcessError>
    /** The same in constant memory: each line of stdout (latin1, without the newline) goes to `onLine` instead. */
    readonly lines: (invocation: Invocation, onLine: (line: string) => void) => Effect.Effect<Completed, ProcessError>
    /**
     * Runs programs at once, each reading the output of the one before through the kernel alone, without a limit of time. How
     * each ended, in order. A program whose reader has ended is ended after a moment; one whose writer has ended may go on.
     */
    readonly pipe: (
      stages: readonly [PipeStage, PipeStage, ...ReadonlyArray<PipeStage>]
    ) => Effect.Effect<ReadonlyArray<StageEnd>, ProcessError>
  }
>() {
  static readonly layer: Layer.Layer<Process> = Layer.succeed(Process, {
    run: (invocation) =>
      execute(invocation, collect).pipe(
        Effect.withSpan("Process.run", { attributes: { program: invocation.program } })
      ),
    lines: (invocation, onLine) =>
      execute(invocation, () => lines(onLine, "latin1")).pipe(
        Effect.withSpan("Process.lines", { attributes: { program: invocation.program } })
      ),
    pipe: (stages) =>
      executePipe(stages).pipe(
        Effect.withSpan("Process.pipe", { attributes: { programs: stages.map(({ program }) => program) } })
      )
  })
}

const tenMinutes = 600_000

const execute = (invocation: Invocation, makeSink: () => Sink): Effect.Effect<Completed, ProcessError> =>
  Effect.acquireUseRelease(
    Effect.try({
      try: () => {
        const { attached = false, inherit = [], onOutput, program, stdin, timeoutMillis = tenMinutes } = invocation
        const each = (from: "stdout" | "stderr") =>
          onOutput && lines((line) => onOutput(line, from), "utf8", longestLine)
        const input = stdin === undefined && !attached ? "ignore" : "pipe"
        const child = start(invocation, [input, "pipe", "pipe", ...inherit])
        // A program that ends without reading its input reports that by its exit status.
        child.stdin?.on("error", () => {})
        if (!attached) child.stdin?.end(stdin)
        return supervise(child, {
          program,
          stdout: each("stdout") ?? makeSink(),
          stderr: each("stderr"),
          startFailure: startFailure(invocation),
          timeoutMillis
        })
      },
      catch: startFailure(invocation)
    }),
    ({ completed }) => completed,
    ({ end }) => end
  )

const executePipe = (stages: ReadonlyArray<PipeStage>): Effect.Effect<ReadonlyArray<StageEnd>, ProcessError> =>
  Effect.acquireUseRelease(
    Effect.sync(() => startPipe(stages)),
    ({ failure, running }) => failure ?? endsOf(running),
    ({ running }) => endAll(running)
  )

const endsOf = (running: ReadonlyArray<Supervised>): Effect.Effect<ReadonlyArray<StageEnd>, ProcessError> =>
  Effect.forEach(
    running,
    ({ completed, unread }) =>
      completed.pipe(
        Effect.map((each) => ({ ...each, ended: unread() })),
        Effect.onError(() => endAll(running)),
        Effect.exit
      ),
    { concurrency: "unbounded" }
  ).pipe(Effect.flatMap((exits) => Effect.all(exits)))

const endAll = (running: ReadonlyArray<Supervised>): Effect.Effect<void> =>
  Effect.forEach(running, ({ end }) => end, { concurrency: "unbounded", discard: true })

/** A longer one comes in pieces, so that no program can fill our memory. */
const longestLine = 64 * 1024

/** Starts all stages in one tick, up to the first that cannot be started. */
const startPipe = (stages: ReadonlyArray<PipeStage>) => {
  const running: Array<Supervised> = []
  let previous: ChildProcess | undefined
  let input: number | undefined
  for (const [index, stage] of stages.entries()) {
    const pipe = index === stages.length - 1 ? undefined : kernelPipe()
    let child: ChildProcess
    try {
      child = start(stage, [input ?? previous?.stdout ?? "ignore", pipe?.write ?? "pipe", "pipe"])
    } catch (cause) {
      if (pipe !== undefined) closeSync(pipe.read)
      return { running, failure: Effect.fail(startFailure(stage)(cause)) }
    } finally {
      // The child has a copy; ours would keep the writer from noticing the end of its reader.
      previous?.stdout?.destroy()
      for (const fd of [input, pipe?.write]) if (fd !== undefined) closeSync(fd)
    }
    previous = child
    input = pipe?.read
    running.push(
      supervise(child, {
        program: stage.program,
        stdout: index === stages.length - 1 ? collect() : undefined,
        stderr: stage.onStderr === undefined ? undefined : lines(stage.onStderr, "utf8", longestLine),
        startFailure: startFailure(stage),
        onExit: () => {
          for (const { endUnread } of running.slice(0, index)) endUnread()
        }
      })
    )
    // It could not be started, which its `completed` reports in a moment.
    if (child.pid === undefined) {
      if (input !== undefined) closeSync(input)
      break
    }
  }
  return { running }
}

/**
 * A pipe of the kernel: what node makes for "pipe" is a pair of sockets, through which a stream takes half as much processor time
 * again. Undefined where none can be made, and the sockets have to do.
 */
const kernelPipe = (): { readonly read: number; readonly write: number } | undefined => {
  let folder: string | undefined
  try {
    folder = mkdtempSync(join(tmpdir(), "zipper-pipe-"))
    const path = join(folder, "pipe")
    const options = { env: { PATH: searchPath({}) }, stdio: "ignore", timeout: 5000 } as const
    if (spawnSync("mkfifo", ["-m", "600", path], options).status !== 0) return undefined
    // To open one end waits for the other end, unless it is opened like this.
    const first = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      return openBoth(path)
    } finally {
      closeSync(first)
    }
  } catch {
    return undefined
  } finally {
    if (folder !== undefined) removeQuietly(folder)
  }
}

const openBoth = (path: string) => {
  const write = openSync(path, "w")
  try {
    return { write, read: openSync(path, "r") }
  } catch (cause) {
    closeSync(write)
    throw cause
  }
}

// What may stay of it is an empty folder: the pipe is open, and the stream does not need its name.
const removeQuietly = (folder: string): void =>
  valueOr(() => rmSync(folder, { recursive: true, force: true }), undefined)

const start = (invocation: Invocation, stdio: StdioOptions): ChildProcess =>
  spawn(invocation.program, [...invocation.args], {
    env: { ...withoutSecrets(process.env), LC_ALL: "C", ...invocation.env, PATH: searchPath(invocation) },
    ...(invocation.cwd === undefined ? {} : { cwd: invocation.cwd }),
    // A process group of its own: what it starts is ended with it, and Ctrl-C reaches us alone.
    detached: true,
    stdio
  })

const startFailure =
  (invocation: Invocation) =>
  (cause: unknown): ProcessError => {
    const { cwd, program } = invocation
    const code = codeOf(cause)
    const error = (reason: ProcessError["reason"], message: string, transient = false) =>
      new ProcessError({ reason, program, message: `${program}: ${message}`, transient, cause })
    if (code === "ENOENT" && cwd !== undefined && !existsSync(cwd)) {
      return error("Other", `cannot be started in ${cwd}: no such folder`)
    }
    if (code === "ENOENT") {
      const where = `program not found in PATH (${searchPath(invocation)}): is it installed?`
      const what = existsSync(program) ? "the interpreter that its first line names is not there" : "no such program"
      return error("NotFound", program.includes("/") ? what : where)
    }
    const reason = isDenied(code) ? "PermissionDenied" : "Other"
    return error(reason, `cannot be started: ${explain(cause)}`, isTransientCode(code))
  }

const systemFolders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

/** PATH with the system's folders at the end: cron's lacks sbin, where zfs is. */
const searchPath = ({ env }: Pick<Invocation, "env">): string => {
  const given = (env?.["PATH"] ?? process.env["PATH"] ?? "").split(":").filter((folder) => folder !== "")
  return [...given, ...systemFolders.filter((folder) => !given.includes(folder))].join(":")
}

/**
 * Shows text on the terminal through a pager, a shell's command line; false when there is no such program. Waits for its end
 * without handling signals: Ctrl-C is for the pager.
 */
export const showInPager = (pager: string, text: string): Effect.Effect<boolean> =>
  Effect.sync(() => {
    const { status } = spawnSync("/bin/sh", ["-c", pager], {
      input: text,
      stdio: ["pipe", "inherit", "inherit"],
      // As git does: one screen is only printed, and stays.
      env: { LESS: "FRX", ...withoutSecrets(process.env) }
    })
    return status !== notFound && status !== notExecutable
  })

/** Exit statuses of a shell. */
const notFound = 127
const notExecutable = 126

/** Whether there is a process with this pid, of any user. */
export const isRunning = (pid: number): boolean => {
  try {
    // 0 would ask for our own process group.
    return pid > 0 && process.kill(pid, 0)
  } catch (cause) {
    return codeOf(cause) === "EPERM"
  }
}

export const tokenVariable = "ZIPPER_GOTIFY_TOKEN"

export const passwordVariable = "MQTT_PASSWORD"

const secret: ReadonlySet<string> = new Set([tokenVariable, passwordVariable])

/** An environment for other programs, none of which needs our secrets; ssh may pass variables on. */
const withoutSecrets = (
  env: Readonly<Record<string, string | undefined>>
): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !secret.has(name)))

/** A program to run, without a shell. */
