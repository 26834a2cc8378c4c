import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type DueReason, describe, type FolderResult } from "../runs/ArchiveResult.ts"
import { retryTransient } from "../runs/Retry.ts"
import { shortened } from "../runs/Run.ts"
import type { FolderName } from "../source/FolderName.ts"
import * as LeftOut from "../source/LeftOut.ts"
import type { Compare, Manifest } from "../source/Manifest.ts"
import { type SourceView, snapshotName } from "../source/SourceView.ts"
import { Tree } from "../source/Tree.ts"
import { TreeError } from "../source/TreeError.ts"
import type { FolderRecord, FolderState } from "../store/FolderState.ts"
import * as Metadata from "../store/Metadata.ts"
import { Store } from "../store/Store.ts"
import { type Checksums, Hasher } from "../system/Hasher.ts"
import { secondsOf } from "../text/Document.ts"
import { display, fromText } from "../text/RawPath.ts"
import { count } from "../text/Text.ts"
import type { SnapshotHandle } from "../zfs/Zfs.ts"
import { type ArchiveIndex, type PreviousArchive, settledStamps } from "../zip/ArchiveIndex.ts"
import { Archiver } from "../zip/Archiver.ts"
import { ArchiveError, type ArchiveReport } from "../zip/ZipError.ts"
import type { FolderProgress, RunProgress } from "./ArchiveProgress.ts"
import { type Decision, isAsBefore, isMountedAsBefore, isUnsettled, missing } from "./Changes.ts"

/** What belongs in the folder is not there. */
class PlaceMissing extends Data.TaggedError("PlaceMissing")<{
  readonly message: string
  readonly transient: false
}> {}

/** Fails where a place in the folder was a mount of its own at its last success and is not now, unless the user accepts that. */
export const checkMounts = Effect.fnUntraced(function* (
  context: { readonly records: ReadonlyMap<FolderName, FolderRecord>; readonly acceptsLoss: boolean },
  manifest: Manifest
) {
  if (context.acceptsLoss) return
  const { folder } = manifest
  const message = missing(folder, context.records.get(folder)?.state, manifest)
  if (message !== undefined) return yield* new PlaceMissing({ message, transient: false })
})

/** Says that a folder failed, and notes it, so that the folder is due again in the next run. A path in `reason` may be of any length. */
export const failFolder = Effect.fnUntraced(
  function* (run: string, folder: FolderName, reason: string) {
    const error = shortened(reason)
    yield* Effect.logError(error)
    const store = yield* Store
    const now = yield* Clock.currentTimeMillis
    const recorded = yield* store.recordFailure({ folder, run, failed_at_utc: Metadata.utcSeconds(now), error }).pipe(
      Effect.as(true),
      Effect.catchAll((cause) => Effect.as(Effect.logWarning(`cannot note the failure: ${cause.message}`), false))
    )
    return { folder, result: "failed", error, recorded } satisfies FolderResult
  },
  (effect, _run, folder) => Effect.annotateLogs(effect, "folder", folder)
)

/** A folder took longer than `task_timeout_seconds`; its work was ended. */
export class TaskTimeout extends Data.TaggedError("TaskTimeout")<{ readonly seconds: number }> {
  readonly transient = false
  override get message() {
    return `not done after ${this.seconds} s (task_timeout_seconds), so it was stopped; the archive before stays as it is`
  }
}

/** A folder that may have to be archived, and why. */
export interface Candidate {
  readonly folder: FolderName
  /** `Compare`: only if its manifest is not as before (Manifest.isAsBefore). */
  readonly decision: Exclude<Decision, { readonly _tag: "Unchanged" }>
  /** Its published archive holds files. */
  readonly hadFiles: boolean
}

/** What all folders of a run have in common. */
export interface FolderContext {
  readonly run: string
  /** When it began (milliseconds since 1970), before its snapshot was taken. */
  readonly started: number
  /** Whether unchanged files may be copied from the archive before, instead of being read and compressed again. */
  readonly reuse: boolean
  /** The user accepts that what the folder held, or what was mounted in it, is gone (`run --force --folder ABCD`). */
  readonly acceptsLoss: boolean
  readonly compare: Compare
  readonly view: SourceView
  /** What is known of the folders since their last archives. */
  readonly records: ReadonlyMap<FolderName, FolderRecord>
  /** See SnapshotHandle.hold. */
  readonly hold: SnapshotHandle["hold"]
  readonly progress: RunProgress
}

/** How one folder is worked on. */
export interface FolderSettings {
  readonly retries: number
  readonly task_timeout_seconds: number
}

/**
 * One folder from snapshot to published archive: manifest -> archive -> read back and verify -> hash -> publish.
 * Each attempt has to end within the task timeout; transient errors are tried again. An archive that fails by
 * what was copied into it from the one before is made anew. Never fails, not even by a defect: what went wrong
 * is in the result, and in a failure record, so that the folder stays due.
 */
export const archiveFolder = (context: FolderContext, settings: FolderSettings) =>
  Effect.fn("ArchiveFolder")(
    function* (candidate: Candidate) {
      const { folder } = candidate
      const shown = yield* context.progress.folder(folder)
      return yield* attempt(context, candidate, shown).pipe(
        Effect.catchIf(isByCopying, (error) =>
          Effect.logWarning(`${error.message}; everything is compressed anew`).pipe(
            Effect.zipRight(attempt({ ...context, reuse: false }, candidate, shown))
          )
        ),
        Effect.timeoutFail({
          duration: Duration.seconds(settings.task_timeout_seconds),
          onTimeout: () => new TaskTimeout({ seconds: settings.task_timeout_seconds })
        }),
        retryTransient(settings.retries),
        Effect.catchAll((error) => failFolder(context.run, folder, error.message)),
        Effect.catchAllDefect((defect) => failFolder(context.run, folder, internal(defect))),
        Effect.tap(shown.ended)
      )
    },
    Effect.scoped,
    (effect, candidate) => Effect.annotateLogs(effect, "folder", candidate.folder)
  )

const isByCopying = (error: { readonly _tag: string }): error is ArchiveError =>
  error instanceof ArchiveError && error.reason === "Previous"

const internal = (defect: unknown): string =>
  `internal error: ${defect instanceof Error ? defect.message : String(defect)} (please report)`

const attempt = Effect.fnUntraced(function* (context: FolderContext, candidate: Candidate, shown: FolderProgress) {
  const { folder, decision } = candidate
  const { view } = context
  const store = yield* Store
  const started = yield* Clock.currentTimeMillis

  yield* context.hold(folder)
  const prepared = yield* prepare(context, candidate, shown)
  if ("unchanged" in prepared) {
    yield* Effect.logDebug("unchanged: its manifest is the same as when it was archived")
    return { folder, result: "unchanged", state: prepared.unchanged } satisfies FolderResult
  }
  const { manifest, previous, reason, report, checksums, staging } = prepared

  const now = yield* Clock.currentTimeMillis
  const metadata = Metadata.make({ manifest, checksums, createdAt: now, snapshot: snapshotName(view) })
  const state = stateOf(prepared, metadata)
  const index = indexOf(context, manifest, report, checksums)
  const published = yield* store.publish(staging, { metadata, state, index, previous })
  if (decision._tag === "Compare" && published.same === true) {
    yield* Effect.logInfo(`unchanged: archived again (${reason}), and its archive has the same bytes as before`)
    return { folder, result: "unchanged", state } satisfies FolderResult
  }

  const result: FolderResult = {
    folder,
    result: "archived",
    reason,
    files: manifest.files,
    bytes: manifest.bytes,
    zip_bytes: report.zipSize,
    copied_files: report.copiedFiles,
    left_out: manifest.leftOut ?? LeftOut.nothing,
    seconds: secondsOf((yield* Clock.currentTimeMillis) - started),
    rotated: published.rotated,
    ...(published.same === true ? { same: true as const } : {}),
    sha256: checksums.sha256,
    dry_run: published.rehearsed ?? false,
    ...(published.rehearsed === true ? {} : { archived_at_utc: metadata.created_at_utc })
  }
  yield* Effect.logInfo(describe(result))
  return result
}, Effect.scoped)

/** Everything before publication; only the state that it has, if the manifest shows that nothing changed since. */
const prepare = Effect.fnUntraced(function* (
  context: FolderContext,
  { folder, decision, hadFiles }: Candidate,
  shown: FolderProgress
) {
  const { compare, reuse, view } = context
  const tree = yield* Tree
  const archiver = yield* Archiver
  const hasher = yield* Hasher
  const store = yield* Store
  // What is damaged inside may still have the digest that it was published with.
  const isDamaged = decision._tag === "Due" && decision.reason === "verify found its archive damaged"
  const before: Effect.Effect<PreviousArchive | undefined> =
    reuse && !isDamaged ? store.previous(folder) : Effect.succeed(undefined)
  yield* shown.listing
  const listedAt = view.frozen ? context.started : yield* Clock.currentTimeMillis
  // A folder that is due in any case needs both, and each of them waits for other things.
  const [manifest, found] = yield* Effect.all(
    [tree.manifest(view, folder), decision._tag === "Due" ? before : Effect.succeed(undefined)],
    { concurrency: 2 }
  )
  yield* checkMounts(context, manifest)
  if (hadFiles && manifest.files === 0 && !context.acceptsLoss) return yield* emptied(folder)
  let reason: DueReason = decision._tag === "Due" ? decision.reason : "changed"
  if (
    decision._tag === "Compare" &&
    isAsBefore(manifest, decision.state, compare) &&
    isMountedAsBefore(decision.state, manifest)
  ) {
    if (decision.state.unsettled !== true) return { unchanged: decision.state }
    reason = "it was written to shortly before it was last listed"
  }
  const [escaped] = manifest.escaped ?? []
  if (escaped !== undefined) {
    yield* Effect.logWarning(
      `${count(manifest.escaped?.length ?? 0, "name is", "names are")} not UTF-8 and archived under an escaped name, the first ${display(escaped.path)} as ${display(fromText(escaped.name))}`
    )
  }
  const previous = decision._tag === "Due" ? found : yield* before
  const staging = yield* store.stage(folder)
  const following = yield* hasher.follow(staging.zip)
  const report = yield* archiver.archive(view, manifest, staging.zip, {
    previous,
    settled: following.advance,
    progress: yield* shown.archiving(manifest.bytes)
  })
  const { copied } = report
  // All three read or write back the same bytes and wait for different things.
  const [, checksums] = yield* Effect.all(
    [
      archiver.verify(staging.zip, manifest, { copied, progress: yield* shown.verifying(report.zipSize) }).pipe(
        Effect.mapError((error) => (copied.length > 0 ? byCopying(error) : error)),
        Effect.zipRight(shown.finishing)
      ),
      following.finish(report.zipSize),
      store.sync(staging)
    ],
    { concurrency: "unbounded" }
  )
  const unsettled = isUnsettled(manifest, listedAt, compare)
  return { manifest, previous, reason, report, checksums, staging, unsettled }
})

const emptied = (folder: FolderName) =>
  new TreeError({
    path: folder,
    message: `its archive holds files, and the folder holds none now: is all of it mounted? If it is to be empty, accept that once with: zipper run --force --folder ${folder}`,
    transient: false
  })

/** What was copied may be what is wrong with an archive that fails verification. */
const byCopying = (error: ArchiveError): ArchiveError =>
  error.reason === "Corrupt" || error.reason === "Mismatch"
    ? new ArchiveError({
        reason: "Previous",
        path: error.path,
        message: `an archive with files copied from the one before cannot be verified: ${error.message}`,
        transient: false,
        cause: error
      })
    : error

const indexOf = (
  context: FolderContext,
  manifest: Manifest,
  report: ArchiveReport,
  checksums: Checksums
): ArchiveIndex | undefined =>
  manifest.stamps === undefined
    ? undefined
    : {
        sha256: checksums.sha256,
        method: report.madeWith.method,
        level: report.madeWith.level,
        stamps: settledStamps(manifest.stamps, context.started)
      }

const stateOf = (
  {
    checksums,
    manifest,
    report,
    unsettled
  }: {
    readonly checksums: Checksums
    readonly manifest: Manifest
    readonly report: ArchiveReport
    readonly unsettled: boolean
  },
  metadata: Metadata.Metadata
): FolderState => ({
  version: 1,
  folder: manifest.folder,
  manifest_sha256: manifest.hash,
  ...(manifest.stampsHash === undefined ? {} : { stamps_sha256: manifest.stampsHash }),
  hard_links: manifest.hardLinks,
  snapshot: metadata.snapshot,
  ...(unsettled ? { unsettled } : {}),
  archived_at_utc: metadata.created_at_utc,
  files: manifest.files,
  bytes: manifest.bytes,
  zip_size: report.zipSize,
  zip_md5: checksums.md5,
  zip_sha256: checksums.sha256,
  mounts: manifest.mounts ?? [],
  ...(manifest.hollow === undefined || manifest.hollow.length === 0 ? {} : { hollow: manifest.hollow })
})
