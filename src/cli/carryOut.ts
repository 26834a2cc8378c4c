import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { told } from "./command.ts"

/** How a job can be run. */
interface Ways<P, In> {
  readonly dryRun: boolean
  /** Services that do what they are asked to, and those that only say what they would do. */
  readonly live: Layer.Layer<P, never, In>
  readonly rehearsal: Layer.Layer<NoInfer<P>, never, In>
  /** What is said before a rehearsal. */
  readonly disclaimer: string
  /** Log file and syslog of a job that is really run. */
  readonly logs: <A, E, R>(job: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Runs a job with the services for it, or rehearses it. That it failed is told within its logs. */
export const carriedOut =
  <P, In>({ disclaimer, dryRun, live, logs, rehearsal }: Ways<P, In>) =>
  <A, E, R>(job: Effect.Effect<A, E, R>) =>
    dryRun
      ? Effect.zipRight(Effect.logInfo(`dry run: ${disclaimer}`), job).pipe(Effect.provide(rehearsal))
      : job.pipe(Effect.provide(live), told, logs)
