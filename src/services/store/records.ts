import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type FolderName, parse } from "../../domain/FolderName.ts"
import type { FolderRecord } from "../../domain/FolderState.ts"
import { Disk, type DiskError } from "../Disk.ts"
import { isFolder } from "./folders.ts"
import { type Corrupt, failure, load } from "./jobState.ts"
import * as Layout from "./layout.ts"
import { decodeState } from "./survey.ts"

/**
 * What is known of every folder in the target, and of those that have only ever failed. `report` fails where the user may not
 * read a state, or a folder cannot be looked at: for whoever asks, that says nothing about the archive.
 */
export const records = Effect.fnUntraced(function* (layout: Layout.Layout, corrupt: Corrupt) {
  const disk = yield* Disk
  const folders = new Set<FolderName>()
  for (const name of yield* disk.list(layout.target)) {
    const folder = parse(name)
    if (folder !== undefined) folders.add(folder)
  }
  const failed = new Set<FolderName>()
  if ((yield* isFolder(layout.job)) && (yield* isFolder(layout.failures))) {
    for (const name of yield* disk.list(layout.failures)) {
      const folder = name.endsWith(".json") ? parse(name.slice(0, -".json".length)) : undefined
      if (folder !== undefined) failed.add(folder)
    }
  }
  const found = yield* Effect.forEach(
    [...new Set([...folders, ...failed])].sort(),
    Effect.fnUntraced(function* (folder) {
      const paths = Layout.folder(layout, folder)
      const published = folders.has(folder) ? yield* current(paths, corrupt) : nothing
      return [
        folder,
        { ...published, failure: failed.has(folder) ? yield* failure(paths) : undefined }
      ] as const
    }),
    { concurrency: 16 }
  )
  return new Map<FolderName, FolderRecord>(found)
})

type Current = Omit<FolderRecord, "failure">

const nothing: Current = { state: undefined, zipSize: undefined }

const isDenied = ({ code }: DiskError): boolean => code === "EACCES" || code === "EPERM"

const current = (paths: Layout.FolderLayout, corrupt: Corrupt) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    // Nothing is read through a symlink; staging refuses it.
    if ((yield* disk.stat(paths.home))?.kind !== "directory") return nothing
    const zip = yield* disk.stat(join(paths.home, paths.names.zip))
    const state = yield* load(
      join(paths.home, paths.names.state),
      (content) => Option.fromNullable(decodeState(paths, content)),
      corrupt,
      corrupt === "report"
        ? `${paths.folder} is then archived anew, and nothing is lost by that`
        : `${paths.folder} is archived anew`
    ).pipe(
      // What cannot be read makes its folder due, and fails there with a message of its own; the archive is still there.
      Effect.catchIf(
        (error) => corrupt !== "report" || !isDenied(error),
        (error) => Effect.as(Effect.logWarning(unknownText(paths.folder, corrupt, error)), undefined)
      )
    )
    const beside = yield* Effect.findFirst(
      [paths.names.md5, paths.names.sha256, paths.names.metadata],
      (name) =>
        Effect.map(disk.stat(join(paths.home, name)), (stat) => stat?.kind !== "file" || stat.size === 0)
    )
    return {
      state,
      zipSize: zip?.kind === "file" ? zip.size : undefined,
      ...Option.match(beside, { onNone: () => ({}), onSome: (incomplete) => ({ incomplete }) })
    } satisfies Current
  }).pipe(
    // One folder must not stop the others of a run.
    Effect.catchIf(
      () => corrupt !== "report",
      (error) => Effect.as(Effect.logWarning(unknownText(paths.folder, corrupt, error)), nothing)
    )
  )

const unknownText = (folder: FolderName, corrupt: Corrupt, { message }: { readonly message: string }) =>
  corrupt === "report"
    ? `the state of ${folder} is not known, and the next run archives it anew: ${message}`
    : `${folder} is archived anew, its state is not known: ${message}`
