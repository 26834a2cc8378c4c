import { closeSync, fstatSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { basename, join } from "node:path"
import { isatty } from "node:tty"
import { setFlagsFromString } from "node:v8"
import { makeRunMain, type Teardown } from "@effect/platform/Runtime"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { valueOr } from "../system/Errno.ts"
import { type StopSignal, signalStatus } from "../system/ExitStatus.ts"
import { WorkerSource } from "../system/Workers.ts"
import { zipper } from "./app.ts"
import { workerProgram } from "./build.ts"
import { exitStatusOf } from "./exit.ts"

export const start = (argv: ReadonlyArray<string>): void => {
  leaveDeletedFolder()
  const flag = compileLater[process.versions.node.split(".")[0] ?? ""]
  if (flag !== undefined) setFlagsFromString(flag)
  // A closed pipe (`zipper … | head`) and a lost terminal are no errors.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && !lost().includes(1)) throw error
  })
  process.stderr.on("error", (error: NodeJS.ErrnoException) => {
    if (!lost().includes(2)) throw error
  })
  // At exit node resets its terminals and aborts where that fails; it ignores those that are closed.
  process.on("exit", () => {
    for (const fd of lost()) closeSync(fd)
  })
  zipper(argv).pipe(
    Effect.provide(platform),
    Effect.provideService(WorkerSource, workerProgram),
    runMain({ disableErrorReporting: true, disablePrettyLogger: true, teardown })
  )
}

const byInvocations = "--invocation-count-for-turbofan=48000"

/**
 * By default the optimizing compiler takes an eighth to a quarter of the processor time of a run of seconds, in each thread. By
 * major version: V8 writes an error for a flag that it does not know.
 */
const compileLater: Readonly<Record<string, string>> = {
  "20": "--interrupt-budget=2000000",
  "22": byInvocations,
  "24": byInvocations,
  "26": byInvocations
}

/** What @effect/cli needs. All of NodeContext would take a fifth longer to start. */
const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeTerminal.layer)

let stoppedBy: StopSignal | undefined

/** A second signal so soon is a copy of the first: `timeout` signals process and group, `sudo` passes ^C on. */
const echoMillis = 1000

const teardown: Teardown = (exit, onExit) =>
  onExit(stoppedBy === undefined ? exitStatusOf(exit) : signalStatus[stoppedBy])

/**
 * Interrupts the program on the first signal, so that it cleans up (NodeRuntime's own runMain ignores SIGHUP and exits with 0 on a
 * signal), and exits at once on a later one. A later SIGHUP is ignored: a lost connection may send two.
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
  process.on("SIGHUP", ignoresHangUp() ? () => undefined : stop("SIGHUP"))
  fiber.addObserver((exit) => {
    clearInterval(keepAlive)
    finish(exit, (code) => process.exit(code))
  })
})

/** Standard input, output and error: those that are a terminal when the process begins. */
const terminals = [0, 1, 2].filter((fd) => isatty(fd))

const lost = (): ReadonlyArray<number> => terminals.filter((fd) => !isatty(fd))

const deletedFolder = "/dev/null/(the working directory was deleted)"

/** Folders where no file can be made: on FreeBSD, and on Linux. */
const emptyFolders = ["/var/empty", "/proc/self/fdinfo"]

/** In a deleted working directory node starts no threads: goes to an empty folder, where a relative path leads to no file. */
const leaveDeletedFolder = (): void => {
  if (valueOr(() => process.cwd(), undefined) !== undefined) return
  emptyFolders.some((path) => valueOr(() => process.chdir(path) === undefined, false))
  process.cwd = () => deletedFolder
}

/**
 * Whether the caller made SIGHUP ignored (`nohup`, `trap '' HUP`). Node resets every signal before the first line runs, so the
 * traces count: of nohup the name in the environment, its output file (in the working directory or HOME) and its input, of a
 * shell's trap the mask of its process, on Linux.
 */
const ignoresHangUp = ({ _: program = "", HOME: home = "/" } = process.env): boolean =>
  basename(program) === "nohup" || writesTo([join(home, "nohup.out"), "nohup.out"]) || hasNoInput() || parentIgnores()

const writesTo = (names: ReadonlyArray<string>): boolean =>
  [1, 2].some((fd) => {
    const output = valueOr(() => fstatSync(fd, { bigint: true }), undefined)
    return names.some((name) => {
      const file = valueOr(() => statSync(name, { bigint: true }), undefined)
      return file !== undefined && file.dev === output?.dev && file.ino === output.ino
    })
  })

/** nohup replaces a terminal on standard input by /dev/null, opened for writing alone. */
const hasNoInput = (): boolean => {
  const flags = valueOr(() => readFileSync("/proc/self/fdinfo/0", "latin1"), "")
  const mode = /^flags:\s*([0-7]+)/m.exec(flags)?.[1]
  const name = valueOr(() => readlinkSync("/proc/self/fd/0"), undefined)
  return name === "/dev/null" && mode !== undefined && (Number.parseInt(mode, 8) & 3) === 1
}

/** A child inherits an ignored signal (proc(5): a mask, in which the first bit is signal 1). */
const parentIgnores = (): boolean => {
  const status = valueOr(() => readFileSync(`/proc/${process.ppid}/status`, "latin1"), "")
  const mask = /^SigIgn:\s*([0-9a-f]+)/m.exec(status)?.[1]
  return mask !== undefined && (Number.parseInt(mask.slice(-1), 16) & 1) === 1
}
