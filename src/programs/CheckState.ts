import * as Effect from "effect/Effect"
import { type Config, stateDirOf } from "../domain/Config.ts"
import { otherOwner } from "../domain/Metrics.ts"
import { quoted } from "../domain/Text.ts"
import { Disk, type DiskError } from "../services/Disk.ts"
import { type Finding, ok, warning } from "./Finding.ts"

/** The part of the configuration that says so. */
type Told = Pick<
  Config,
  "source_path" | "target_path" | "state_dir" | "metrics_file" | "ping_url" | "replication"
>

/**
 * Looks at where runs leave word of themselves: the state folder that is not the target's, the metrics, the pings. No run fails
 * for want of these, so there are no problems. Pings nobody: that would count as a sign of life. Changes nothing, never fails.
 */
export const checkState = Effect.fn("CheckState")(function* (config: Told) {
  const { metrics_file } = config
  return [
    // With a target, state is kept in it, and the target was looked at.
    ...(config.target_path === undefined ? [yield* checkStateDir(stateDirOf(config))] : []),
    ...(metrics_file === undefined ? [] : [yield* checkMetrics(metrics_file, stateDirOf(config))]),
    ...pings(config)
  ]
})

const checkStateDir = (path: string) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    const stat = yield* disk.stat(path)
    if (stat !== undefined && stat.kind !== "directory") return unkept(`${path} is no folder`)
    const there = yield* nearest(path)
    yield* disk.writable(there)
    return ok("state_dir", there === path ? path : `${path}, which the first run makes`)
  }).pipe(Effect.catchAll(({ message }) => Effect.succeed(unkept(message))))

const unkept = (why: string): Finding =>
  warning("state_dir", `${why}: no history is kept, and status and report will know of no run`)

/** The folder, or the first one above it that is there. */
const nearest = (path: string): Effect.Effect<string, DiskError, Disk> =>
  Effect.gen(function* () {
    const { stat } = yield* Disk
    return path === "/" || (yield* stat(path)) !== undefined ? path : yield* nearest(above(path))
  })

const above = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/"

const checkMetrics = (path: string, dir: string) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    const folder = above(path)
    const stat = yield* disk.stat(folder)
    if (stat === undefined) return unwritten(`there is no folder ${folder}`)
    if ((yield* disk.stat(path))?.kind === "directory") return unwritten(`${path} is a folder`)
    yield* disk.writable(folder)
    const owner = otherOwner(yield* disk.read(path), dir)
    if (owner === undefined) return ok("metrics_file", path)
    return warning(
      "metrics_file",
      `${path} has the metrics of another configuration, whose state is in ${quoted(owner)}, and the next run replaces them: give each configuration a file of its own`
    )
  }).pipe(Effect.catchAll(({ message }) => Effect.succeed(unwritten(message))))

const unwritten = (why: string): Finding => warning("metrics_file", `${why}: no metrics will be written`)

/** Never the addresses: they are secrets. */
const pings = (config: Told): ReadonlyArray<Finding> => {
  const archive = config.ping_url !== undefined && config.source_path !== undefined
  const jobs = [
    ...(archive ? ["the archive job"] : []),
    ...config.replication.flatMap(({ name, ping_url }) => (ping_url === undefined ? [] : [name]))
  ]
  return [
    ...(config.ping_url !== undefined && !archive
      ? [warning("ping_url", "there is no archive job that would call it; a replication job has its own")]
      : []),
    ...(jobs.length === 0
      ? []
      : [ok("ping_url", `set for ${jobs.join(", ")}; not called now: that would count as a run`)])
  ]
}
