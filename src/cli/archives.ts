import { resolve } from "node:path"
import type { Command } from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { defaultThreads, wholeName } from "../config/Config.ts"
import { FindError } from "../restore/FindArchive.ts"
import { JobStates } from "../runs/JobState.ts"
import { nameProblem, parseFolderName } from "../source/FolderName.ts"
import { type ArchivesError, PublishedArchives, type Which } from "../store/PublishedArchive.ts"
import { Disk } from "../system/Disk.ts"
import { Hasher } from "../system/Hasher.ts"
import { Process } from "../system/Process.ts"
import { Workers } from "../system/Workers.ts"
import { optionWords, quoted } from "../text/Text.ts"
import type { PlaceWords } from "../verify/Advice.ts"
import type { ZfsError } from "../zfs/ZfsCommand.ts"
import { ArchiveReader } from "../zip/Archiver.ts"
import { archiving, loadConfig } from "./command.ts"
import { findConfig } from "./configPath.ts"
import { UsageError } from "./exit.ts"
import { placesOf, stateOf } from "./layers.ts"
import * as options from "./options.ts"
import * as progressBar from "./progressBar.ts"

/** The options that choose archives of a configuration. */
export const configuredFlags = {
  config: options.optionalConfig,
  prev: options.flag("prev", "The archive before the current one."),
  at: options.single(
    "at",
    "TIME|SNAPSHOT",
    "As it was in a snapshot of the target: the newest of zipper's that is not younger than a time (2026-11-28T10:00, local unless it ends in Z; 2026-11-28: its beginning; 3d: so long ago), or one by its name."
  )
}

/** The same for what needs no configuration. */
export const archiveFlags = {
  ...configuredFlags,
  from: options.single(
    "from",
    "TARGET",
    "The folder that the archives are in, instead of a configuration: that disk alone is needed, and it is only read."
  )
}

type ConfiguredFlags = Command.ParseConfig<typeof configuredFlags>

/** The archives that the options choose: which of the two, where they are read, how messages name them. */
export interface ChosenArchives<Words extends PlaceWords = PlaceWords> {
  readonly which: Which
  readonly words: Words
  readonly layer: Layer.Layer<PublishedArchives, UsageError | ArchivesError | ZfsError, Disk>
}

/** Those of a configuration, and the configuration. */
export const configuredArchives = Effect.fnUntraced(function* (command: string, flags: ConfiguredFlags) {
  const { named, path } = findConfig(flags.config)
  const config = yield* archiving(path, yield* loadConfig(path))
  const words = optionWords("--config", named)
  const wanted = wholeName(config.folders)
  const places = placesOf(config)
  return { config, ...chosen(command, flags, config.target_path, { place: words, job: words }, wanted, places) }
})

/** Those of `--from`, else of a configuration, with all that it takes to read them and nothing that writes. */
export const archivesToRead = Effect.fnUntraced(function* (
  command: string,
  flags: ConfiguredFlags & { readonly from: string | undefined }
) {
  const { at, config: file, from } = flags
  if (from === undefined) {
    const { config, words, ...archives } = yield* configuredArchives(command, flags)
    const { threads } = config.compression
    // No run changes what is in a snapshot.
    return {
      ...archives,
      words: at === undefined ? words : { ...words, job: undefined },
      layer: readLayer(archives, at ?? config, threads)
    }
  }
  const problems = [
    ...(from === "" ? ["--from: the name of the folder is empty"] : []),
    ...(file === undefined ? [] : ["--from and --config: give one or the other; --from needs no configuration"])
  ]
  if (problems.length > 0) return yield* new UsageError({ command, problems })
  const target = resolve(from)
  const archives = chosen(command, flags, target, { place: optionWords("--from", from), job: undefined })
  // What a run kept beside its lock file is not on that disk: nothing has this name.
  const state = { target_path: target, lockfile_path: `${target}/.zipper/none.lock` }
  return { ...archives, layer: readLayer(archives, at ?? state, defaultThreads()) }
})

const chosen = <Words extends PlaceWords>(
  command: string,
  { at, prev }: Pick<ConfiguredFlags, "at" | "prev">,
  target: string,
  words: Words,
  wanted?: RegExp,
  places?: ReadonlyArray<string>
): ChosenArchives<Words> => ({
  which: prev ? "previous" : "current",
  words:
    at === undefined ? words : { ...words, place: [...words.place, ...optionWords("--at", at)], frozen: true as const },
  layer:
    at === undefined
      ? PublishedArchives.layer(target, wanted, places)
      : PublishedArchives.layerAt(target, at, wanted, places).pipe(
          Layer.mapError((error) =>
            error._tag === "NoSuchSnapshot" ? new UsageError({ command, problems: [error.message] }) : error
          ),
          Layer.provide(Process.layer)
        )
})

/** `state`: where runs keep it; or a time or snapshot, of which the state of now says nothing. */
const readLayer = (
  { layer }: Pick<ChosenArchives, "layer">,
  state: Parameters<typeof stateOf>[0] | string,
  threads: number
) =>
  Layer.mergeAll(
    layer,
    typeof state === "string" ? JobStates.layerNone : JobStates.layerDryRun(stateOf(state)),
    ArchiveReader.layer,
    Hasher.layer,
    progressBar.layer
  ).pipe(Layer.provideMerge(Workers.layer(threads)), Layer.provide(Disk.layer))

/** The names of folders, each once, in their order; or all that is wrong on the command line, with these problems. */
export const parseFolders = (command: string, names: ReadonlyArray<string>, problems: ReadonlyArray<string> = []) => {
  const folders = [...new Set(names)].map((name) => ({ name, folder: parseFolderName(name) }))
  const wrong = folders.flatMap(({ folder, name }) =>
    folder === undefined ? [`${quoted(name)} is not the name of a folder: it ${nameProblem(name)}`] : []
  )
  return wrong.length + problems.length > 0
    ? Effect.fail(new UsageError({ command, problems: [...wrong, ...problems] }))
    : Effect.succeed(folders.flatMap(({ folder }) => folder ?? []))
}

/** A folder of which there never was an archive is a mistake on the command line. */
export const unknownAsUsage =
  (command: string) =>
  <A, E, R>(effect: Effect.Effect<A, E | FindError, R>) =>
    Effect.mapError(effect, (error) =>
      error instanceof FindError && error.reason === "UnknownFolder"
        ? new UsageError({ command, problems: [error.message] })
        : error
    )
