import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Datasets, type MountedDataset } from "../../src/zfs/Datasets.ts"
import type { ZfsError } from "../../src/zfs/ZfsCommand.ts"

/** These datasets, and where the given functions say that folders lie. */
export const memoryDatasets = (
  datasets: ReadonlyArray<MountedDataset> | ZfsError,
  resolve: (path: string) => Effect.Effect<string, ZfsError>,
  holding: (path: string) => Effect.Effect<string, ZfsError>
): Layer.Layer<Datasets> =>
  Layer.succeed(Datasets, {
    mounted: "reason" in datasets ? Effect.fail(datasets) : Effect.succeed(datasets),
    holding,
    resolve
  })
