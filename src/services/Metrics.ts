import { dirname } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { fileNameOf, type JobKey } from "../domain/JobKey.ts"
import { otherOwner, render, withJobAlone, withOwner } from "../domain/Metrics.ts"
import { type JobStanding, keyOf } from "../domain/Standing.ts"
import { quoted } from "../domain/Text.ts"
import { Disk } from "./Disk.ts"
import { Standing, type StandingError } from "./Standing.ts"
import { described } from "./state/folder.ts"

/** Where metrics go, and what they are about. */
export interface MetricsSettings {
  readonly path: string
  /** The state folder of the configuration: the file says whose it is. */
  readonly dir: string
  /** Those of the configuration; what is left of others is passed over. */
  readonly jobs: ReadonlyArray<JobKey>
}

/** Tells a monitor how things stand. */
export class Metrics extends Context.Tag("zipper/Metrics")<
  Metrics,
  {
    /**
     * After a run: replaces what the monitor reads. `standing` is how the job stands then, whether that could be written
     * down or not. With `alone` it is only about the job's last run: what the monitor was told of its folders or datasets, and of
     * other jobs, stays. Never fails: what goes wrong is a warning.
     */
    readonly refresh: (standing: JobStanding, alone: boolean) => Effect.Effect<void>
    /** The same when no run ended, but something else is known of archives. */
    readonly rewrite: Effect.Effect<void>
  }
>() {
  /** A file for node_exporter's textfile collector, replaced atomically and readable by everybody. */
  static readonly layer = (settings: MetricsSettings): Layer.Layer<Metrics, never, Disk | Standing> =>
    Layer.effect(Metrics, makeFile(settings))

  /** Says what it would write. */
  static readonly layerDryRun = (path: string): Layer.Layer<Metrics> =>
    Layer.succeed(Metrics, {
      refresh: () => Effect.logInfo(`would write the metrics to ${path}`),
      rewrite: Effect.logInfo(`would write the metrics to ${path}`)
    })

  /** No metrics_file is configured. */
  static readonly layerNone: Layer.Layer<Metrics> = Layer.succeed(Metrics, {
    refresh: () => Effect.void,
    rewrite: Effect.void
  })
}

/** The whole of what the monitor reads, or `before` with the run of the job `after` alone. */
export const metricsText = (
  standing: typeof Standing.Service,
  jobs: ReadonlyArray<JobKey>,
  after: JobStanding | undefined,
  alone: boolean,
  before: string | undefined
): Effect.Effect<string, StandingError> =>
  alone && before !== undefined && after !== undefined
    ? Effect.succeed(withJobAlone(before, after))
    : Effect.all([
        Effect.forEach(jobs, (job) =>
          after !== undefined && fileNameOf(job) === fileNameOf(keyOf(after))
            ? Effect.succeed(after)
            : standing.load(job)
        ),
        standing.verified
      ]).pipe(
        Effect.map(([standings, verified]) =>
          render(
            standings.filter((each) => each !== undefined),
            verified
          )
        )
      )

/** Jobs that end at the same instant write one after the other; more often than this they do not. */
const rewrites = 3

const makeFile = Effect.fnUntraced(function* ({ dir, jobs, path }: MetricsSettings) {
  const disk = yield* Disk
  const standing = yield* Standing

  const write = Effect.fnUntraced(function* (content: string, draft: string) {
    yield* disk.remove(draft)
    yield* disk.write(draft, content).pipe(
      // The collector is another user.
      Effect.zipRight(disk.setMode(draft, 0o644)),
      Effect.zipRight(disk.rename(draft, path)),
      Effect.onError(() => disk.remove(draft).pipe(Effect.ignoreLogged)),
      Effect.uninterruptible
    )
    yield* disk.sync(`${dirname(path)}/.`)
  })

  const refresh = Effect.fn("Metrics.refresh")(
    function* (after: JobStanding | undefined, alone: boolean) {
      // Each job has its own draft; the collector reads every name that ends in .prom.
      const draft = `${path}.${after === undefined ? "verify" : fileNameOf(keyOf(after))}.new`
      const owner = otherOwner(yield* disk.read(path), dir)
      if (owner !== undefined) {
        yield* Effect.logWarning(
          `${path} had the metrics of another configuration, whose state is in ${quoted(owner)}, and they are replaced: give each configuration a metrics_file of its own`
        )
      }
      const text = Effect.flatMap(disk.read(path), (before) =>
        // What another configuration said does not stay.
        metricsText(standing, jobs, after, alone && otherOwner(before, dir) === undefined, before)
      ).pipe(Effect.map((whole) => withOwner(whole, dir)))
      for (let n = 0; n < rewrites; n += 1) {
        const content = yield* text
        yield* write(content, draft)
        // Another job may have ended since, and its figures may have been overwritten with older ones.
        if ((yield* text) === content) return
      }
    },
    Effect.catchAll((error) =>
      Effect.logWarning(
        error._tag === "DiskError"
          ? described("no metrics were written", error)
          : `no metrics were written: ${error.message}`
      )
    )
  )
  return { refresh, rewrite: refresh(undefined, false) }
})
