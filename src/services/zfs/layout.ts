import * as Effect from "effect/Effect"
import type { SourceName } from "../../domain/JobIdentity.ts"
import * as RawPath from "../../domain/RawPath.ts"
import { poolOf } from "../../domain/replication/DatasetName.ts"
import { arrange, findHome, hidden, type Layout, targetHidden } from "../../domain/SourceLayout.ts"
import { datasetColumns, parseDatasets } from "../../domain/ZfsList.ts"
import type { Process } from "../Process.ts"
import { allowCommand, type Commands, understood } from "./command.ts"
import { type SourceInfo, ZfsError } from "./contract.ts"
import { isNowhere, realPath, resolveFolder } from "./folder.ts"
import { readMounts } from "./mounts.ts"

/** Finds out how the source folder lies in its dataset, and what is mounted in it, at this moment. */
export const readLayout = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  path: string
) {
  const folder = yield* resolveFolder(path)
  const mounts = yield* readMounts(process)
  const home = yield* Effect.mapError(
    findHome(mounts, folder),
    (unusable) => new ZfsError({ ...unusable, transient: false })
  )
  const datasets = yield* listDatasets(commands, home.dataset)
  const unusable = hidden(home, mounts, datasets)
  if (unusable !== undefined) return yield* new ZfsError({ ...unusable, transient: false })
  return arrange(home, mounts, datasets)
})

/** Fails when the dataset of the target is not mounted. Whether there is such a folder at all is not said here. */
export const checkTarget = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  path: string
) {
  const target = yield* realPath(path)
  if (target === undefined) return
  const unusable = targetHidden(target, yield* readMounts(process), yield* listDatasets(commands, path))
  if (unusable !== undefined) return yield* new ZfsError({ ...unusable, transient: false })
})

/** See ZfsService.isGone. */
export const isGone = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  { dataset, source_path }: SourceName
) {
  if (dataset === undefined) return yield* isNowhere(source_path)
  const datasets = yield* listDatasets(commands, dataset)
  const names = new Set(datasets.map(({ name }) => name))
  // Of a pool that is not imported nobody knows what is in it.
  if (!names.has(dataset)) return names.has(poolOf(dataset))
  const mounts = yield* readMounts(process)
  // zfs removes the mount point of a dataset that is not mounted.
  const mounted = mounts.some(({ device, type }) => type === "zfs" && device === dataset)
  return mounted && (yield* isNowhere(source_path))
})

/** Those of all pools. */
const listDatasets = Effect.fnUntraced(function* (commands: Commands, about: string) {
  const purpose = "list the datasets"
  const args = ["list", "-H", "-p", "-t", "filesystem", "-o", datasetColumns]
  return yield* understood(commands, purpose, parseDatasets(yield* commands.run(purpose, about, args)))
})

/** The datasets that one snapshot has to cover, the source's own first. */
export const datasetsOf = (layout: Layout): ReadonlyArray<string> => [
  ...new Set([layout.dataset, ...layout.children.map(({ dataset }) => dataset)])
]

/** What locate tells of it. */
export const infoOf = (path: string, layout: Layout): SourceInfo => ({
  path,
  dataset: layout.dataset,
  ...(layout.within === "" ? {} : { within: RawPath.display(layout.within) }),
  datasets: datasetsOf(layout),
  ...(process.getuid?.() === 0 ? {} : { grant: allowCommand(layout.dataset) })
})
