import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Invocation, Process, type StageEnd } from "../../../src/system/Process.ts"
import type { Completed, ProcessError } from "../../../src/system/supervise.ts"

/** What a scripted program answers. `began`: for a command on another machine, whether it began. */
export type Answer = (Partial<StageEnd> & { readonly began?: boolean }) | ProcessError

/**
 * A Process whose programs are a function. `calls` holds every command line, in order, one string each.
 * stdout is latin1, as the real one gives it. The programs of a pipe are asked in their order.
 */
export const processFake = (answer: (commandLine: string, invocation: Invocation) => Answer) => {
  const calls: Array<string> = []
  const run = (invocation: Invocation) =>
    Effect.suspend(() => {
      const line = [invocation.program, ...invocation.args].join(" ")
      calls.push(line)
      const given = answer(line, invocation)
      return "_tag" in given
        ? Effect.fail(given)
        : Effect.succeed<Completed>({ exitCode: 0, stdout: "", stderr: "", ...given })
    })
  const layer = Layer.succeed(Process, {
    run,
    lines: (invocation, onLine) =>
      Effect.map(run(invocation), (completed) => {
        for (const line of completed.stdout.split("\n")) if (line !== "") onLine(line)
        return { ...completed, stdout: "" }
      }),
    pipe: (stages) =>
      Effect.forEach(stages, (stage) =>
        Effect.map(run(stage), (completed) => {
          for (const line of completed.stderr.split("\n")) if (line !== "") stage.onStderr?.(line)
          return { ended: false, ...completed }
        })
      )
  })
  return { calls, layer }
}
