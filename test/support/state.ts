import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import type { HistoryRun } from "../../src/domain/History.ts"
import type { JobKey } from "../../src/domain/JobKey.ts"
import { History } from "../../src/services/History.ts"
import { Metrics } from "../../src/services/Metrics.ts"
import { Ping } from "../../src/services/Ping.ts"
import { type MemoryStanding, noStanding, Standing } from "../../src/services/Standing.ts"

/** What runs leave and say of themselves, in memory. */
export const makeState = (jobs: ReadonlyArray<JobKey>) =>
  Effect.gen(function* () {
    const history = yield* Ref.make<ReadonlyArray<HistoryRun>>([])
    const standing = yield* Ref.make<MemoryStanding>(noStanding)
    const metrics = yield* Ref.make<ReadonlyArray<string>>([])
    const pings = yield* Ref.make<ReadonlyArray<string>>([])
    const layer = Layer.mergeAll(
      History.layerMemory(history),
      Layer.provideMerge(Metrics.layerMemory(metrics, jobs), Standing.layerMemory(standing)),
      Ping.layerMemory(pings)
    )
    return { history, standing, metrics, pings, layer }
  })

export type MemoryState = Effect.Effect.Success<ReturnType<typeof makeState>>
