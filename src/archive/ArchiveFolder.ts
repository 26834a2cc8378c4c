import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type DueReason, describe, type FolderResult } from "../runs/ArchiveResult.ts"
import { retryTransient, shortened } from "../runs/Run.ts"
import { type ExcludeRules, savedRules } from "../source/Exclude.ts"
import type { FolderName } from "../source/FolderName.ts"
import * as LeftOut from "../source/LeftOut.ts"
import type { Compare, Manifest } from "../source/Manifest.ts"
import { type SourceView, snapshotName } from "../source/SourceView.ts"
import { Tree } from "../source/Tree.ts"
import type { FolderRecord, FolderState } from "../store/FolderState.ts"
import * as Metadata from "../store/Metadata.ts"
import { forcedRun } from "../store/Mounts.ts"
import { Store } from "../store/Store.ts"
import { Hasher } from "../system/Hasher.ts"
import { orWarn } from "../system/Log.ts"
import { secondsOf } from "../text/Document.ts"
import { display, fromText } from "../text/RawPath.ts"
import { count } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import type { SnapshotHandle } from "../zfs/Zfs.ts"
import { type PreviousArchive, settledStamps } from "../zip/ArchiveIndex.ts"
import { Archiver } from "../zip/Archiver.ts"
import { ArchiveError } from "../zip/ZipError.ts"
import type { FolderProgress, RunProgress } from "./ArchiveProgress.ts"
import { type Decision, isAsBefore, isMountedAsBefore, isUnsettled, missing } from "./Changes.ts"

/** A folder that may have to be archived. `Compare`: only if its manifest is not as before. */
export interface Candidate {
  readonly folder: FolderName
  readonly decision: Exclude<Decision, { readonly _tag: "Unchanged" }>
}

export interface FolderContext {
  readonly run: string
  /** When the run began (milliseconds since 1970), before its snapshot was taken. */
  readonly started: number
  /** Whether unchanged files may be copied from the archive before, instead of being read and compressed again. */
  readonly reuse: boolean
  /** The user accepts that what the folder held, or what was mounted in it, is gone (`run --force --folder ABCD`). */
  readonly acceptsLoss: boolean
  /** `--config FILE` of `zipper run`, in commands to be pasted. */
  readonly configWords: ReadonlyArray<string>
  readonly compare: Compare
  readonly rules: ExcludeRules
  /** Without what the rules exclude. */
  readonly view: SourceView
  readonly records: ReadonlyMap<FolderName, FolderRecord>
  readonly hold: SnapshotHandle["hold"]
  readonly progress: RunProgress
  readonly onPublished: (folder: FolderName) => Effect.Effect<void>
}

export interface FolderSettings {
  readonly retries: number
  readonly task_timeout_seconds: number
}

class TaskTimeout extends Data.TaggedError("TaskTimeout")<{ readonly seconds: number }> {
  readonly transient = false
  override get message() {
    return `not done after ${this.seconds} s (task_timeout_seconds), so it was stopped; unless the new archive was being published already, the one before stays as it is`
  }
}

class ContentMissing extends Data.TaggedError("ContentMissing")<{
  readonly message: string
  readonly transient: boolean
}> {}

/**
 * One folder: manifest -> archive -> read back and verify -> hash -> publish. Each attempt has to end within the task
 * timeout; transient errors are tried again; an archive that fails by what was copied into it is made anew.
 * Never fails, not even by a defect: the result says what went wrong, and a failure record keeps the folder due.
 */
export const archiveFolder = (context: FolderContext, settings: FolderSettings) =>
  Effect.fn("ArchiveFolder")(
    function* (candidate: Candidate) {
      const { folder } = candidate
      const shown = yield* context.progress(folder)
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

/** Logs that a folder failed, and records it: the folder is due in the next run. `reason` may be of any length. */
export const failFolder = Effect.fnUntraced(
  function* (run: string, folder: FolderName, reason: string) {
    const error = shortened(reason)
    yield* Effect.logError(error)
    const store = yield* Store
    const now = yield* Clock.currentTimeMillis
    const recorded = yield* store
      .recordFailure({ folder, run, failed_at_utc: utcSeconds(now), error })
      .pipe(Effect.as(true), orWarn("cannot note the failure", false))
    return { folder, result: "failed", error, recorded } satisfies FolderResult
  },
  (effect, _run, folder) => Effect.annotateLogs(effect, "folder", folder)
)

const attempt = Effect.fnUntraced(function* (context: FolderContext, candidate: Candidate, shown: FolderProgress) {
  const { folder, decision } = candidate
  const { compare, view } = context
  const store = yield* Store
  const started = yield* Clock.currentTimeMillis

  yield* context.hold(folder, view)
  const listed = yield* list(context, candidate, shown)
  if ("unchanged" in listed) {
    yield* Effect.logDebug("unchanged: its manifest is the same as when it was archived")
    return { folder, result: "unchanged", state: listed.unchanged } satisfies FolderResult
  }
  const { listedAt, manifest, previous, reason } = listed
  const { checksums, report, staging } = yield* makeZip(view, manifest, previous, shown)

  const now = yield* Clock.currentTimeMillis
  const leftOut = manifest.leftOut ?? LeftOut.nothing
  const metadata = Metadata.make({ manifest, checksums, createdAt: now, snapshot: snapshotName(view) })
  const state: FolderState = {
    version: 1,
    folder,
    manifest_sha256: manifest.hash,
    ...(manifest.stampsHash === undefined ? {} : { stamps_sha256: manifest.stampsHash }),
    hard_links: manifest.hardLinks,
    snapshot: metadata.snapshot,
    ...(isUnsettled(manifest, listedAt, compare) ? { unsettled: true } : {}),
    archived_at_utc: metadata.created_at_utc,
    files: manifest.files,
    bytes: manifest.bytes,
    zip_size: report.zipSize,
    zip_md5: checksums.md5,
    zip_sha256: checksums.sha256,
    mounts: manifest.mounts ?? [],
    ...(manifest.hollow === undefined || manifest.hollow.length === 0 ? {} : { hollow: manifest.hollow }),
    ...savedRules(context.rules),
    ...(leftOut.excluded > 0 ? { excluded: leftOut.excluded } : {})
  }
  const index =
    manifest.stamps === undefined
      ? undefined
      : {
          sha256: checksums.sha256,
          method: report.madeWith.method,
          level: report.madeWith.level,
          stamps: settledStamps(manifest.stamps, context.started)
        }
  const onPublished = context.onPublished(folder)
  const published = yield* store.publish(staging, { metadata, state, index, previous, onPublished })
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
    left_out: leftOut,
    seconds: secondsOf((yield* Clock.currentTimeMillis) - started),
    rotated: published.rotated,
    ...(published.same === true ? { same: true as const } : {}),
    sha256: checksums.sha256,
    dry_run: published.dryRun ?? false,
    ...(published.dryRun === true ? {} : { archived_at_utc: metadata.created_at_utc })
  }
  yield* Effect.logInfo(describe(result))
  return result
}, Effect.scoped)

/** Why the folder is archived, and what of; or its state, if the manifest shows that nothing changed since. */
const list = Effect.fnUntraced(function* (
  context: FolderContext,
  { decision, folder }: Candidate,
  shown: FolderProgress
) {
  const { compare, rules, view } = context
  const record = context.records.get(folder)
  const tree = yield* Tree
  const store = yield* Store
  // What is damaged inside may still have the digest that it was published with.
  const isDamaged = decision._tag === "Due" && decision.reason === "verify found its archive damaged"
  const before: Effect.Effect<PreviousArchive | undefined> =
    context.reuse && !isDamaged ? store.previous(folder) : Effect.succeed(undefined)
  yield* shown.listing
  const listedAt = view.frozen ? context.started : yield* Clock.currentTimeMillis
  // A folder that is due in any case needs both, and each of them waits for other things.
  const [manifest, found] = yield* Effect.all(
    [tree.manifest(view, folder, rules), decision._tag === "Due" ? before : Effect.succeed(undefined)],
    { concurrency: 2 }
  )
  if (!context.acceptsLoss) {
    const accept = forcedRun(folder, context.configWords)
    const message = missing(folder, record?.state, manifest, rules, accept) ?? emptied(record, manifest, accept)
    if (message !== undefined) return yield* new ContentMissing({ message, transient: false })
  }
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
  return { listedAt, manifest, previous: decision._tag === "Due" ? found : yield* before, reason }
})

/** Where there is an archive and its state is lost, the archive is taken to hold files. */
const hadFiles = (record: FolderRecord | undefined): boolean =>
  record?.state === undefined ? record?.zipSize !== undefined : record.state.files > 0

/** Why an archive without files must not be made, and what to do. One that the rules left without files was accepted once. */
const emptied = (record: FolderRecord | undefined, manifest: Manifest, accept: string): string | undefined => {
  if (manifest.files > 0) return undefined
  const excluded = manifest.leftOut?.excluded ?? 0
  if (excluded > 0 && !(record?.state?.files === 0 && record.state.excluded !== undefined)) {
    const unless = hadFiles(record) ? "if all of it is mounted, change exclude" : "change exclude"
    return `nothing to archive: exclude leaves no file of it (${excluded} excluded); ${unless}, or accept an archive without files once with: ${accept}`
  }
  return hadFiles(record)
    ? `its archive holds files, and the folder holds none now: is all of it mounted? If it is to be empty, accept that once with: ${accept}`
    : undefined
}

const makeZip = Effect.fnUntraced(function* (
  view: SourceView,
  manifest: Manifest,
  previous: PreviousArchive | undefined,
  shown: FolderProgress
) {
  const archiver = yield* Archiver
  const store = yield* Store
  const staging = yield* store.stage(manifest.folder)
  const following = yield* (yield* Hasher).follow(staging.zip)
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
  return { checksums, report, staging }
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
