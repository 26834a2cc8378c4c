import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Disk, type DiskError, type DiskStat } from "../system/Disk.ts"
import { adviceOnWriting, codeOf } from "../system/Errno.ts"
import { Hasher } from "../system/Hasher.ts"
import { isSameFile, type PreviousArchive } from "../zip/ArchiveIndex.ts"
import type { FolderLayout } from "./Layout.ts"
import * as PublishPlan from "./PublishPlan.ts"
import { decodeState, digestOf } from "./Records.ts"
import { discard, kindOf, linkOrCopy, move } from "./SafeFolder.ts"
import type { Publication, Published, Staging } from "./Store.ts"
import { asStoreError, fromDisk, StoreError, storeError } from "./StoreError.ts"

/**
 * How an archive is published (names as in FolderLayout):
 * 1. Everything new is written to `next`, everything that it replaces is hard-linked into `old`, all of it is synced. Until here
 *    nothing that is published has been touched, and a crash or an error costs nothing.
 * 2. A synced journal that lists the steps is renamed to `commit`, and that name synced. From here on the publication is finished,
 *    by this run or by the recovery of the next one.
 * 3. Each new file is renamed over the old one: ABCD.zip is at every instant the one or the other.
 * 4. The folder is synced, and the archive counts as published. Failure record and index are brought up to date (`note`); then the
 *    journal is removed, and the rest of the work area.
 * An error after 2 undoes it: the journal is first renamed to `abort`, and that name synced, so that a crash while undoing is
 * followed by more undoing; then the links in `old` are renamed back.
 */
export const publish = (
  paths: FolderLayout,
  staging: Staging,
  publication: Publication,
  note: Effect.Effect<void, never, Disk>
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const plan = yield* restore(prepare(paths, staging, publication))
      yield* commit(paths, plan).pipe(
        Effect.catchAll((error) =>
          undo(paths).pipe(
            Effect.mapError((second) => unfinished(paths, error, second)),
            Effect.zipRight(Effect.fail(error))
          )
        )
      )
      yield* note
      yield* settle(paths, paths.commit).pipe(
        Effect.catchAll((error) =>
          Effect.logWarning(
            `published; but its work area could not be removed, the next run does that: ${error.message}`
          )
        )
      )
      return {
        folder: paths.folder,
        zip: join(paths.home, paths.names.zip),
        rotated: plan.rotates,
        ...(plan.same ? { same: true as const } : {})
      } satisfies Published
    })
  ).pipe(asStoreError(`cannot publish ${paths.folder}`))

/** Finishes the steps, from wherever they were left, and makes that durable. */
export const forward = Effect.fnUntraced(function* (paths: FolderLayout, steps: ReadonlyArray<PublishPlan.Step>) {
  const disk = yield* Disk
  for (const { action, name } of steps) {
    const place = join(paths.home, name)
    yield* action === "replace" ? move(join(paths.next, name), place) : disk.remove(place)
  }
  yield* disk.sync(paths.home)
})

export const back = Effect.fnUntraced(function* (paths: FolderLayout, steps: ReadonlyArray<PublishPlan.Step>) {
  const disk = yield* Disk
  for (const { existed, name } of [...steps].reverse()) {
    const place = join(paths.home, name)
    yield* existed ? move(join(paths.old, name), place) : disk.remove(place)
  }
  yield* disk.sync(paths.home)
})

/** The journal goes first, durably: if it came back after a power cut, it would undo the next publication. */
export const settle = Effect.fnUntraced(function* (paths: FolderLayout, journal: string) {
  const disk = yield* Disk
  yield* disk.remove(journal)
  yield* disk.sync(paths.work)
  yield* discard(paths.work)
})

const unfinished = (paths: FolderLayout, first: DiskError | StoreError, second: DiskError | StoreError) => {
  const error = first._tag === "DiskError" ? fromDisk(`cannot publish ${paths.folder}`)(first) : first
  const message = `${error.message}; what it had begun could not be undone either (${second.message}): the next run puts that right before anything else`
  return new StoreError({ ...error, message, cause: first })
}

const prepare = Effect.fnUntraced(function* (paths: FolderLayout, staging: Staging, publication: Publication) {
  const disk = yield* Disk
  yield* inspect(paths, staging, publication)
  const { current, present, prevMetadataSha256 } = yield* survey(paths, publication.previous)
  if (current._tag === "Damaged") {
    yield* Effect.logWarning(
      `the current archive ${paths.names.zip} is damaged: ${current.reason}; it is replaced and does not become the previous one`
    )
  }
  const { metadata, state } = publication
  const plan = PublishPlan.make({ folder: paths.folder, metadata, state, current, present, prevMetadataSha256 })
  if (plan.rotates && current._tag === "Whole" && current.metadata === undefined) {
    yield* Effect.logWarning(
      `there is no metadata for the current archive ${paths.names.zip}, since ${paths.names.metadata} ${current.without}: it becomes the previous one without`
    )
  }
  const zip = join(paths.next, paths.names.zip)
  if (staging.zip !== zip) yield* bring(staging.zip, zip, state.zip_sha256)
  for (const { content, name } of plan.writes) yield* disk.write(join(paths.next, name), content)
  const currentSha256 = current._tag === "Whole" ? current.checksums.sha256 : undefined
  if (plan.rotates) {
    const previous = join(paths.next, paths.names.prevZip)
    yield* linkOrCopy(join(paths.home, paths.names.zip), previous, currentSha256)
    yield* disk.sync(previous)
  }
  yield* disk.makeFolder(paths.old)
  for (const { name } of plan.steps.filter((step) => step.existed)) {
    const sha256 = name === paths.names.zip ? currentSha256 : undefined
    yield* linkOrCopy(join(paths.home, name), join(paths.old, name), sha256)
  }
  for (const path of [zip, paths.next, paths.old, paths.work, paths.home, `${paths.home}/..`]) {
    yield* disk.sync(path)
  }
  yield* disk.write(paths.draft, PublishPlan.encodeJournal(plan))
  return plan
})

// Staging has tried a rename; a mount that has appeared since needs a copy, which is compared with what was verified.
const bring = Effect.fnUntraced(function* (from: string, to: string, sha256: string) {
  const disk = yield* Disk
  yield* Effect.catchIf(
    disk.rename(from, to),
    (error) => error.code === "EXDEV",
    () => Effect.zipRight(disk.copy(from, to, sha256), disk.remove(from))
  )
})

const commit = Effect.fnUntraced(function* (paths: FolderLayout, plan: PublishPlan.PublishPlan) {
  const disk = yield* Disk
  yield* disk.rename(paths.draft, paths.commit)
  yield* disk.sync(paths.work)
  yield* forward(paths, plan.steps)
})

const undo = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  const text = yield* disk.read(paths.commit)
  // The very rename that commits has failed: there is nothing to undo.
  if (text === undefined) return
  const journal = PublishPlan.decodeJournal(paths.folder, text)
  if (journal === undefined) {
    const message = `the record of an unfinished publication, ${paths.commit}, cannot be understood`
    return yield* storeError("Other", paths.commit, message)
  }
  yield* disk.rename(paths.commit, paths.abort)
  yield* disk.sync(paths.work)
  yield* back(paths, journal.steps)
  yield* settle(paths, paths.abort)
})

/** Fails unless the staged zip is the one that the publication describes. */
const inspect = Effect.fnUntraced(function* (paths: FolderLayout, staging: Staging, { metadata, state }: Publication) {
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
  const message = `cannot publish ${paths.folder}: the new archive ${staging.zip} is not the one that was verified: ${wrong}`
  return yield* storeError("Other", staging.zip, message)
})

/** The published files of a folder. Fails where something else has the name of one. */
export const publishedFiles = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  const found = new Map<string, DiskStat>()
  for (const name of PublishPlan.publishedNames(paths.folder)) {
    const path = join(paths.home, name)
    const stat = yield* disk.stat(path)
    if (stat === undefined) continue
    if (stat.kind !== "file") {
      const message = `cannot publish ${paths.folder}: ${path} is ${kindOf(stat)}, not a file; move it away`
      return yield* storeError("Unsafe", path, message)
    }
    found.set(name, stat)
  }
  return found
})

/** What is published in the folder now. Reads the archive itself, unless it is the one that was `checked`. */
const survey = Effect.fnUntraced(function* (paths: FolderLayout, checked: PreviousArchive | undefined) {
  const disk = yield* Disk
  const n = paths.names
  const found = yield* publishedFiles(paths)
  const present = new Set(found.keys())
  const zip = found.get(n.zip)
  const content = (name: string) => (present.has(name) ? disk.read(join(paths.home, name)) : Effect.succeed(undefined))
  const state = decodeState(paths, yield* content(n.state))
  // By its size alone a damaged archive could take the place of a good previous one.
  const digests = Effect.fnUntraced(function* (zip: DiskStat) {
    if (checked !== undefined && isSameFile(checked.file, zip)) return checked.checksums
    return state === undefined || state.zip_size === zip.size ? yield* measure(join(paths.home, n.zip)) : undefined
  })
  const current: PublishPlan.Current =
    zip === undefined
      ? { _tag: "Absent" }
      : PublishPlan.judge({
          zipSize: zip.size,
          state,
          measured: yield* digests(zip),
          md5: yield* content(n.md5),
          sha256: yield* content(n.sha256),
          metadata: present.has(n.metadata) ? yield* disk.readBytes(join(paths.home, n.metadata)) : undefined
        })
  // As it was published or, where that is not known, as it is now.
  const prevMetadataSha256 =
    state?.prev_metadata_sha256 ??
    (yield* Effect.map(content(n.prevMetadata), (text) => (text === undefined ? undefined : digestOf(text))))
  return { present, current, prevMetadataSha256 }
})

const measure = (path: string) =>
  Effect.flatMap(Hasher, (hasher) => hasher.hash(path)).pipe(
    Effect.mapError((cause) => {
      const advice = adviceOnWriting(codeOf(cause.cause))
      const message = `cannot read the archive that is to become the previous one: ${cause.message}${advice}`
      return new StoreError({ reason: "Other", path, message, transient: cause.transient, cause })
    })
  )

/** The same of a dry run, which writes nothing. */
export const wouldPublish = Effect.fnUntraced(function* (paths: FolderLayout) {
  const disk = yield* Disk
  const zip = join(paths.home, paths.names.zip)
  const stat = yield* disk.stat(zip)
  const state =
    stat === undefined ? undefined : decodeState(paths, yield* disk.read(join(paths.home, paths.names.state)))
  // An archive without a state is hashed when it is published for real; that is too much work for a dry run.
  const damaged = stat !== undefined && state !== undefined && state.zip_size !== stat.size
  const rotated = stat !== undefined && !damaged
  const { prevZip } = paths.names
  const rotation = rotated
    ? `; the current archive would become ${prevZip}, unless the new one has the same bytes`
    : damaged
      ? `; the current archive has another size than when it was published, and would be replaced without becoming ${prevZip}`
      : ""
  yield* Effect.logDebug(`would publish ${zip}${rotation}`)
  return { folder: paths.folder, zip, rotated, dryRun: true } satisfies Published
})
