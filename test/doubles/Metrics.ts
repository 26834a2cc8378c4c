import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { type JobState, JobStates } from "../../src/runs/JobState.ts"
import { Metrics, type MetricsSettings, metricsText } from "../../src/runs/Metrics.ts"

/** Keeps the texts in `written`, in order. */
export const memoryMetrics = (
  written: Ref.Ref<ReadonlyArray<string>>,
  jobs: MetricsSettings["jobs"]
): Layer.Layer<Metrics, never, JobStates> =>
  Layer.effect(
    Metrics,
    Effect.map(JobStates, (states) => {
      const write = (after: JobState | undefined, alone: boolean) =>
        Effect.flatMap(Ref.get(written), (all) => metricsText(states, jobs, after, alone, all.at(-1))).pipe(
          Effect.flatMap((text) => Ref.update(written, (all) => [...all, text])),
          Effect.catchAll((error) => Effect.logWarning(error.message))
        )
      return { refresh: write, rewrite: write(undefined, false) }
    })
  )
