import { makeRunMain, type Teardown } from "@effect/platform/Runtime"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Effect from "effect/Effect"
import { type StopSignal, signalStatus } from "../domain/ExitStatus.ts"
import { WorkerSource } from "../services/Workers.ts"
import { exitStatusOf } from "./Exit.ts"
import { workerProgram } from "./workerProgram.ts"
import { zipper } from "./Zipper.ts"

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
    Effect.provide(NodeContext.layer),
    Effect.provideService(WorkerSource, workerProgram),
    runMain({ disableErrorReporting: true, disablePrettyLogger: true, teardown })
  )
}
