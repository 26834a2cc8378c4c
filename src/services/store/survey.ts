import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { isSameFile, type PreviousArchive } from "../../domain/ArchiveIndex.ts"
import { FolderState } from "../../domain/FolderState.ts"
import * as PublishPlan from "../../domain/PublishPlan.ts"
import { Disk, type DiskStat } from "../Disk.ts"
import { Hasher } from "../Hasher.ts"
import type { FolderLayout } from "./layout.ts"
import { type Publication, type Staging, StoreError } from "./model.ts"

/** The staged zip is the one that the publication describes. */
export const inspect = Effect.fnUntraced(function* (
  paths: FolderLayout,
  staging: Staging,
  { metadata, state }: Publication
) {
  const disk = yield* Disk
  const stat = yield* disk.stat(staging.zip)
  const wrong =
    stat?.kind !== "file"
      ? "it is not there"
      : stat.size !== state.zip_size
        ? `it has ${stat.size} bytes instead of ${state.zip_size}`
        : state.folder !== paths.folder || metadata.zip_name !== paths.names.zip
          ? "it belongs to another folder"
          : metadata.zip_md5 !== state.zip_md5 || metadata.zip_sha256 !== state.zip_sha256
            ? "its checksums contradict each other"
            : undefined
  if (wrong === undefined) return
  return yield* new StoreError({
    reason: "Other",
    path: staging.zip,
    message: `cannot publish ${paths.folder}: the new archive ${staging.zip} is not the one that was verified: ${wrong}`,
    transient: false
  })
})

/** What is published in the folder now. The archive itself is read, unless `checked` is what came of that. */
export const survey = Effect.fnUntraced(function* (
  paths: FolderLayout,
  checked: PreviousArchive | undefined
) {
  const disk = yield* Disk
  const n = paths.names
  const present = new Set<string>()
  let zip: DiskStat | undefined
  for (const name of PublishPlan.publishedNames(paths.folder)) {
    const stat = yield* disk.stat(join(paths.home, name))
    if (stat === undefined) continue
    if (stat.kind !== "file") {
      return yield* new StoreError({
        reason: "Unsafe",
        path: join(paths.home, name),
        message: `cannot publish ${paths.folder}: ${join(paths.home, name)} is ${stat.kind === "other" ? "" : `a ${stat.kind}, `}not a regular file; move it away`,
        transient: false
      })
    }
    present.add(name)
    if (name === n.zip) zip = stat
  }
  const content = (name: string) =>
    present.has(name) ? disk.read(join(paths.home, name)) : Effect.succeed(undefined)
  const state = decodeState(paths, yield* content(n.state))
  const stays = metadataThatStays(state, content(n.prevMetadata))
  if (zip === undefined) {
    return { present, current: { _tag: "Absent" } as const, prevMetadataSha256: yield* stays }
  }
  // Its size alone would let an archive that has rotted push out the good one before it.
  const known = state === undefined || state.zip_size === zip.size
  const unchanged = checked !== undefined && isSameFile(checked.file, zip)
  const measured = unchanged ? checked.checksums : known ? yield* measure(join(paths.home, n.zip)) : undefined
  const found = {
    zipSize: zip.size,
    state,
    measured,
    md5: yield* content(n.md5),
    sha256: yield* content(n.sha256),
    metadata: yield* content(n.metadata)
  }
  const current = PublishPlan.judge(found)
  return { present, current, prevMetadataSha256: yield* stays }
})

/** SHA-256 of `metadata.prev.json`: as it was published or, where nobody knows that, as it lies there. */
const metadataThatStays = <E>(
  state: FolderState | undefined,
  read: Effect.Effect<string | undefined, E>
): Effect.Effect<string | undefined, E> =>
  state?.prev_metadata_sha256 === undefined
    ? Effect.map(read, (text) => (text === undefined ? undefined : PublishPlan.digestOf(text)))
    : Effect.succeed(state.prev_metadata_sha256)

const measure = Effect.fnUntraced(function* (path: string) {
  const hasher = yield* Hasher
  return yield* hasher.hash(path).pipe(
    Effect.mapError(
      (error) =>
        new StoreError({
          reason: "Other",
          path,
          message: `cannot read the archive that is to become the previous one: ${error.message}`,
          transient: error.transient,
          cause: error
        })
    )
  )
})

const decodeStateFile = Schema.decodeUnknownOption(Schema.parseJson(FolderState))

/** The state of this folder that `content` holds, if it does. */
export const decodeState = (paths: FolderLayout, content: string | undefined): FolderState | undefined =>
  content === undefined
    ? undefined
    : Option.getOrUndefined(Option.filter(decodeStateFile(content), (state) => state.folder === paths.folder))
