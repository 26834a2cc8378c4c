import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { History, type HistoryRun } from "../../src/runs/History.ts"

/** Keeps the runs in `ref`. */
export const memoryHistory = (ref: Ref.Ref<ReadonlyArray<HistoryRun>>): Layer.Layer<History> =>
  Layer.succeed(History, {
    end: (run) => Ref.update(ref, (runs) => [...runs, run]),
    runs: Effect.map(Ref.get(ref), (runs) => ({ runs, unreadable: 0 }))
  })
