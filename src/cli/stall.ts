import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Stall, stallSeconds } from "../services/Stall.ts"
import { Output } from "./Output.ts"

/** Notices what hangs (`task_timeout_seconds` as in stallSeconds); whoever asked for a document gets one before the process leaves. */
export const stallLayer = (taskTimeout: number): Layer.Layer<never, never, Output> =>
  answering.pipe(Layer.provide(Stall.layer(stallSeconds(taskTimeout))))

/** The Stall that is there, with the document of `--json` before it leaves. */
export const answering = Layer.effect(
  Stall,
  Effect.gen(function* () {
    const { found, leave } = yield* Stall
    const { gaveUp } = yield* Output
    return { found, leave: (why: string) => Effect.zipRight(gaveUp(why), leave(why)) }
  })
)
