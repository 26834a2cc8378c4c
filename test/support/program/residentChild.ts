import { getPriority, setPriority } from "node:os"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { zipper } from "../../../src/cli/app.ts"
import { exitStatusOf } from "../../../src/cli/exit.ts"
import { processTerminal } from "../../../src/cli/terminal.ts"
import type { Asked } from "./resident.ts"

// The program of src/cli, one command after another in one process: each has words, an environment, a folder and a umask of
// its own. What src/main.ts and src/cli/start.ts do (signals, threads, a terminal) is for tests that start the built file.

const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeTerminal.layer)

const begun = { cwd: process.cwd(), umask: process.umask(), priority: getPriority() }

process.on("disconnect", () => process.exit())

process.on("message", async (message) => {
  const { argv, cwd, env, mark }: Asked = JSON.parse(String(message))
  process.chdir(cwd ?? begun.cwd)
  process.umask(begun.umask)
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, env)
  process.argv = [process.execPath, ...argv]
  const status = exitStatusOf(await Effect.runPromiseExit(Effect.provide(zipper(process.argv), platform)))
  const terminal = processTerminal()
  for (const stream of ["stdout", "stderr"] as const) terminal.write(stream, mark)
  process.send?.(String(status), () => {
    // A command may have made the process nice: without root's rights there is no way back.
    if (!isAsBefore()) process.disconnect()
  })
})

const isAsBefore = (): boolean => {
  if (getPriority() === begun.priority) return true
  try {
    setPriority(begun.priority)
    return true
  } catch {
    return false
  }
}
