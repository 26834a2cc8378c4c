import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Process } from "./Process.ts"
import type { ZfsService, ZfsSettings } from "./zfs/contract.ts"
import { makeDryRun } from "./zfs/dryRun.ts"
import { live } from "./zfs/live.ts"
import { makeReal } from "./zfs/real.ts"

export { type SnapshotHandle, type SourceInfo, ZfsError } from "./zfs/contract.ts"

/** Snapshots of the source. The layer knows the prefix, the run and the job that they are marked with. */
export class Zfs extends Context.Tag("zipper/Zfs")<Zfs, ZfsService>() {
  /** OpenZFS. */
  static readonly layer = (settings: ZfsSettings): Layer.Layer<Zfs, never, Process> =>
    Layer.effect(
      Zfs,
      Effect.map(Process, (process) => makeReal(process, settings))
    )

  /** Any plain folder, read as it is: `"snapshots": "live"`. */
  static readonly layerLive: Layer.Layer<Zfs> = Layer.succeed(Zfs, live)

  /** OpenZFS, but it takes and destroys no snapshot: it shows the live dataset, and says what would be destroyed. */
  static readonly layerDryRun = (settings: ZfsSettings): Layer.Layer<Zfs, never, Process> =>
    Layer.effect(
      Zfs,
      Effect.map(Process, (process) => makeDryRun(process, settings))
    )
}
