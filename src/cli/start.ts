import { makeRunMain, type Teardown } from "@effect/platform/Runtime"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type StopSignal, signalStatus } from "../domain/ExitStatus.ts"
import { WorkerSource } from "../services/Workers.ts"
import { exitStatusOf } from "./Exit.ts"
import { workerProgram } from "./workerProgram.ts"
import { zipper } from "./Zipper.ts"

/** What @effect/cli asks for. Not all of NodeContext: workers and commands of its kind are not used, and cost a fifth of the start. */
const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeTerminal.layer)

let stoppedBy: StopSignal | undefined

const teardown: Teardown = (exit, onExit) =>
  onExit(stoppedBy === undefined ? exitStatusOf(exit) : signalStatus[stoppedBy])

/**
 * Interrupts the program on the first signal, so that it cleans up (NodeRuntime's own runMain knows no SIGHUP
 * and gives exit status 0 on a signal), and ends it at once on the second.
 */
const runMain = makeRunMain(({ fiber, teardown: finish }) => {
  const keepAlive = setInterval(() => {}, 2 ** 31 - 1)
  const stop = (signal: StopSignal) => () => {
    if (stoppedBy !== undefined) process.exit(signalStatus[signal])
    stoppedBy = signal
    fiber.unsafeInterruptAsFork(fiber.id())
  }
  process.on("SIGINT", stop("SIGINT"))
  process.on("SIGTERM", stop("SIGTERM"))
  process.on("SIGHUP", stop("SIGHUP"))
  fiber.addObserver((exit) => {
    clearInterval(keepAlive)
    finish(exit, (code) => process.exit(code))
  })
})

/** Runs the command line in this process, and ends it with the exit status. */
export const start = (argv: ReadonlyArray<string>): void => {
  // `zipper … | head` closes the pipe: nobody is left to read, which is no error of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error
  })
  zipper(argv).pipe(
    Effect.provide(platform),
    Effect.provideService(WorkerSource, workerProgram),
    runMain({ disableErrorReporting: true, disablePrettyLogger: true, teardown })
  )
}
