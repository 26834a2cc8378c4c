import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Process } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import { readLayout, readMounts, resolveFolder } from "./SourceLayout.ts"
import { makeCommands, readOutput, type ZfsError } from "./ZfsCommand.ts"
import { listing, table } from "./ZfsList.ts"

/** What is mounted in the folder does not matter here. */
const noFolder = /(?!)/

export interface MountedDataset {
  readonly name: string
  readonly mountpoint: string
  /** Bytes, with what is below it. */
  readonly used: number
}

/** The datasets of this machine. Only looks. */
export class Datasets extends Context.Tag("zipper/Datasets")<
  Datasets,
  {
    /** Mounted file systems, by name. Fails where there is no ZFS. */
    readonly mounted: Effect.Effect<ReadonlyArray<MountedDataset>, ZfsError>
    /** The dataset that holds a folder. Fails as NotZfs when none does, and as NotFound when it is no folder. */
    readonly holding: (path: string) => Effect.Effect<string, ZfsError>
    /** A folder's path without symlinks, as far as it is UTF-8. */
    readonly resolve: (path: string) => Effect.Effect<string, ZfsError>
  }
>() {
  static readonly layer: Layer.Layer<Datasets, never, Process> = Layer.effect(
    Datasets,
    Effect.map(Process, (process) => {
      const commands = makeCommands(process)
      return {
        mounted: Effect.gen(function* () {
          const text = yield* commands.run("list the datasets", "", listing("filesystem", "name,used"))
          const listed = yield* readOutput(commands, "list the datasets", table(text, 2))
          const used = new Map(listed.map(([name = "", bytes]) => [name, Number(bytes)]))
          const found = new Map<string, MountedDataset>()
          for (const { device, mountpoint, root, type } of yield* readMounts(process)) {
            const bytes = used.get(device)
            // A path that is not UTF-8 cannot be written in a configuration.
            const path = RawPath.toText(mountpoint)
            if (type !== "zfs" || root !== "/" || bytes === undefined || path === undefined) continue
            if (!found.has(device)) found.set(device, { name: device, mountpoint: path, used: bytes })
          }
          return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
        }).pipe(Effect.withSpan("Datasets.mounted")),
        holding: Effect.fn("Datasets.holding")((path: string) =>
          Effect.map(readLayout({ process, commands }, path, noFolder), ({ dataset }) => dataset)
        ),
        resolve: Effect.fn("Datasets.resolve")((path: string) => Effect.map(resolveFolder(path), RawPath.display))
      }
    })
  )
}
