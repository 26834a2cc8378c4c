import { closeSync, fstatSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { basename, join } from "node:path"
import { isatty } from "node:tty"
import { makeRunMain, type Teardown } from "@effect/platform/Runtime"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type StopSignal, signalStatus } from "../system/ExitStatus.ts"
import { WorkerSource } from "../system/Workers.ts"
import { zipper } from "./app.ts"
import { workerProgram } from "./build.ts"
import { exitStatusOf } from "./exit.ts"

/**
 * Whether the program was started so that SIGHUP does nothing to it (`nohup`, `trap '' HUP`). Node gives every signal its
 * default action back before the first line runs, so it cannot be asked: `nohup` shows by the name that shells leave in the environment,
 * by the file that it writes to and by what it puts in the place of a terminal; a shell's trap shows in its process, on Linux.
 */
export const ignoresHangUp = (env: NodeJS.ProcessEnv = process.env): boolean =>
  basename(env["_"] ?? "") === "nohup" ||
  writesTo([join(env["HOME"] ?? "/", outputName), outputName]) ||
  hasNoInput() ||
  parentIgnores()

/** Where nohup writes what would go to a terminal: in the working directory, else in HOME. */
const outputName = "nohup.out"

const writesTo = (names: ReadonlyArray<string>): boolean =>
  [1, 2].some((fd) => {
    const output = unlessFailed(() => fstatSync(fd, { bigint: true }))
    return names.some((name) => {
      const file = unlessFailed(() => statSync(name, { bigint: true }))
      return file !== undefined && file.dev === output?.dev && file.ino === output.ino
    })
  })

/** nohup gives /dev/null, opened for writing alone, in the place of a terminal to read from. */
const hasNoInput = (): boolean => {
  const flags = unlessFailed(() => readFileSync("/proc/self/fdinfo/0", "latin1"))
  const mode = /^flags:\s*([0-7]+)/m.exec(flags ?? "")?.[1]
  const name = unlessFailed(() => readlinkSync("/proc/self/fd/0"))
  return name === "/dev/null" && mode !== undefined && (Number.parseInt(mode, 8) & 3) === 1
}

/** A shell that ignores it hands that on to what it starts (proc(5): a mask, in which the first bit is signal 1). */
const parentIgnores = (): boolean => {
  const status = unlessFailed(() => readFileSync(`/proc/${process.ppid}/status`, "latin1"))
  const mask = /^SigIgn:\s*([0-9a-f]+)/m.exec(status ?? "")?.[1]
  return mask !== undefined && (Number.parseInt(mask.slice(-1), 16) & 1) === 1
}

/** What is not there, or may not be read, shows nothing. */
const unlessFailed = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** What @effect/cli asks for. Not all of NodeContext: workers and commands of its kind are not used, and cost a fifth of the start. */
const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeTerminal.layer)

let stoppedBy: StopSignal | undefined

/** So soon after the first, a signal is the same wish once more: `timeout` sends it to us and to our group, `sudo` hands on ^C that we had. */
const echoMillis = 1000

const teardown: Teardown = (exit, onExit) =>
  onExit(stoppedBy === undefined ? exitStatusOf(exit) : signalStatus[stoppedBy])

/**
 * Interrupts the program on the first signal, so that it cleans up (NodeRuntime's own runMain knows no SIGHUP
 * and gives exit status 0 on a signal), and ends it at once on a later one. SIGHUP counts as a first one only: nobody presses it,
 * and when a connection drops, the kernel may send one and the shell another.
 */
const runMain = makeRunMain(({ fiber, teardown: finish }) => {
  const keepAlive = setInterval(() => {}, 2 ** 31 - 1)
  let stoppedAt = 0
  const stop = (signal: StopSignal) => () => {
    if (stoppedBy !== undefined) {
      if (signal === "SIGHUP" || performance.now() - stoppedAt < echoMillis) return
      process.exit(signalStatus[signal])
    }
    stoppedBy = signal
    stoppedAt = performance.now()
    fiber.unsafeInterruptAsFork(fiber.id())
  }
  process.on("SIGINT", stop("SIGINT"))
  process.on("SIGTERM", stop("SIGTERM"))
  // Caught even where nothing is to come of it: uncaught, it would end the process.
  process.on("SIGHUP", ignoresHangUp() ? () => undefined : stop("SIGHUP"))
  fiber.addObserver((exit) => {
    clearInterval(keepAlive)
    finish(exit, (code) => process.exit(code))
  })
})

/** Standard input, output and error: those that are a terminal when the process begins. */
const terminals = [0, 1, 2].filter((fd) => isatty(fd))

/** Those of them that went away: an ssh connection that dropped. */
const lost = (): ReadonlyArray<number> => terminals.filter((fd) => !isatty(fd))

/** The path of a working directory that was deleted: nothing can be there, and a message with it says why. */
const deletedFolder = "/dev/null/(the working directory was deleted)"

/** No file can be made in them, and none is there that a user means: on FreeBSD, and on Linux. */
const emptyFolders = ["/var/empty", "/proc/self/fdinfo"]

/**
 * In a working directory that was deleted its path cannot be asked for, and node starts no threads. The program goes on in
 * one that is there and empty, so that a relative path leads nowhere, and not to another file of that name.
 */
const leaveDeletedFolder = (): void => {
  if (isThere(() => process.cwd())) return
  emptyFolders.some((path) => isThere(() => process.chdir(path)))
  process.cwd = () => deletedFolder
}

const isThere = (look: () => unknown): boolean => {
  try {
    look()
    return true
  } catch {
    return false
  }
}

/** Runs the command line in this process, and ends it with the exit status. */
export const start = (argv: ReadonlyArray<string>): void => {
  leaveDeletedFolder()
  // `zipper … | head` closes the pipe, and a terminal goes away: nobody is left to read, which is no error of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && !lost().includes(1)) throw error
  })
  process.stderr.on("error", (error: NodeJS.ErrnoException) => {
    if (!lost().includes(2)) throw error
  })
  // Node sets its terminals back when it ends, and aborts where that fails; those that are closed it passes over.
  process.on("exit", () => {
    for (const fd of lost()) closeSync(fd)
  })
  zipper(argv).pipe(
    Effect.provide(platform),
    Effect.provideService(WorkerSource, workerProgram),
    runMain({ disableErrorReporting: true, disablePrettyLogger: true, teardown })
  )
}
