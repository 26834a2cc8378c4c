import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import type { JobKey } from "../../../src/config/ReplicationJob.ts"
import type { HistoryRun } from "../../../src/runs/History.ts"
import { memoryHistory } from "../../doubles/History.ts"
import { type MemoryJobStates, memoryJobStates, noJobStates } from "../../doubles/JobStates.ts"
import { memoryMetrics } from "../../doubles/Metrics.ts"
import { memoryPing } from "../../doubles/Ping.ts"

/** What runs leave and say of themselves, in memory. */
export const makeState = (jobs: ReadonlyArray<JobKey>) =>
  Effect.gen(function* () {
    const history = yield* Ref.make<ReadonlyArray<HistoryRun>>([])
    const jobStates = yield* Ref.make<MemoryJobStates>(noJobStates)
    const metrics = yield* Ref.make<ReadonlyArray<string>>([])
    const pings = yield* Ref.make<ReadonlyArray<string>>([])
    const layer = Layer.mergeAll(
      memoryHistory(history),
      Layer.provideMerge(memoryMetrics(metrics, jobs), memoryJobStates(jobStates)),
      memoryPing(pings)
    )
    return { history, jobStates, metrics, pings, layer }
  })

export type MemoryState = Effect.Effect.Success<ReturnType<typeof makeState>>
