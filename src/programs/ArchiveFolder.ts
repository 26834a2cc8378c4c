import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { DueReason } from "../domain/Changes.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { Checksums, FolderState } from "../domain/FolderState.ts"
import type { Manifest } from "../domain/Manifest.ts"
import * as Metadata from "../domain/Metadata.ts"
import { display, fromText } from "../domain/RawPath.ts"
import { describe, type FolderResult } from "../domain/RunResult.ts"
import type { SourceView } from "../domain/Source.ts"
import { count } from "../domain/Units.ts"
import { type ArchiveReport, Archiver } from "../services/Archiver.ts"
import { Hasher } from "../services/Hasher.ts"
import { Store } from "../services/Store.ts"
import { Tree } from "../services/Tree.ts"
import { retryTransient } from "./Retry.ts"
import { TaskTimeout } from "./TaskTimeout.ts"

/** A folder that may have to be archived, and why. */
export interface Candidate {
  readonly folder: FolderName
  /** `Compare`: only if its manifest's hash is another one. */
  readonly decision:
    | { readonly _tag: "Due"; readonly reason: DueReason }
    | { readonly _tag: "Compare"; readonly manifestHash: string }
}

/** What all folders of a run have in common. */
interface FolderContext {
  readonly run: string
  readonly view: SourceView
  /** The base that this run compared with: see FolderState.compared_with. */
  readonly comparedWith: string | undefined
}

/** How one folder is worked on. */
export interface FolderSettings {
  readonly retries: number
  readonly task_timeout_seconds: number
}

/**
 * One folder from snapshot to published archive: manifest -> archive -> read back and verify -> hash -> publish.
 * Each attempt has to end within the task timeout; transient errors are tried again. Never fails, not even by
 * a defect: what went wrong is in the result, and in a failure record, so that the folder stays due.
 */
export const archiveFolder = (context: FolderContext, settings: FolderSettings) =>
  Effect.fn("ArchiveFolder")(
    function* (candidate: Candidate) {
      const { folder } = candidate
      return yield* attempt(context, candidate).pipe(
        Effect.timeoutFail({
          duration: Duration.seconds(settings.task_timeout_seconds),
          onTimeout: () => new TaskTimeout({ seconds: settings.task_timeout_seconds })
        }),
        retryTransient(settings.retries),
        Effect.catchAll((error) => failFolder(context.run, folder, error.message)),
        Effect.catchAllDefect((defect) => failFolder(context.run, folder, internal(defect)))
      )
    },
    (effect, candidate) => Effect.annotateLogs(effect, "folder", candidate.folder)
  )

const internal = (defect: unknown): string =>
  `internal error: ${defect instanceof Error ? defect.message : String(defect)} (please report)`

const attempt = Effect.fnUntraced(function* (context: FolderContext, candidate: Candidate) {
  const { folder, decision } = candidate
  const { view } = context
  const store = yield* Store
  const started = yield* Clock.currentTimeMillis

  const prepared = yield* prepare(view, candidate)
  if (prepared === undefined) {
    yield* Effect.logDebug("unchanged: its manifest is the same as when it was archived")
    return { _tag: "Unchanged", folder } satisfies FolderResult
  }
  const { manifest, report, checksums, staging } = prepared

  const now = yield* Clock.currentTimeMillis
  const metadata = Metadata.make({ manifest, checksums, createdAt: now, snapshot: view.label })
  const published = yield* store.publish(staging, {
    metadata,
    state: stateOf(context, metadata, manifest, report, checksums)
  })

  const result: FolderResult = {
    _tag: "Archived",
    folder,
    reason: decision._tag === "Due" ? decision.reason : "changed",
    files: manifest.files,
    bytes: manifest.bytes,
    zipSize: report.zipSize,
    millis: (yield* Clock.currentTimeMillis) - started,
    rotated: published.rotated,
    rehearsed: published.rehearsed ?? false
  }
  yield* Effect.logInfo(describe(result))
  return result
}, Effect.scoped)

/** Everything before publication; undefined when the manifest shows that nothing changed. */
const prepare = Effect.fnUntraced(function* (view: SourceView, { folder, decision }: Candidate) {
  const tree = yield* Tree
  const archiver = yield* Archiver
  const hasher = yield* Hasher
  const store = yield* Store
  const manifest = yield* tree.manifest(view, folder)
  if (decision._tag === "Compare" && decision.manifestHash === manifest.hash) return undefined
  const [escaped] = manifest.escaped ?? []
  if (escaped !== undefined) {
    yield* Effect.logWarning(
      `${count(manifest.escaped?.length ?? 0, "name is", "names are")} not UTF-8 and archived under an escaped name, the first ${display(escaped.path)} as ${display(fromText(escaped.name))}`
    )
  }
  const staging = yield* store.stage(folder)
  const report = yield* archiver.archive(view, manifest, staging.zip)
  yield* archiver.verify(staging.zip, manifest)
  const checksums = yield* hasher.hash(staging.zip)
  return { manifest, report, checksums, staging }
})

const stateOf = (
  context: FolderContext,
  metadata: Metadata.Metadata,
  manifest: Manifest,
  report: ArchiveReport,
  checksums: Checksums
): FolderState => ({
  version: 1,
  folder: manifest.folder,
  manifest_sha256: manifest.hash,
  hard_links: manifest.hardLinks,
  snapshot: metadata.snapshot,
  ...(context.comparedWith === undefined ? {} : { compared_with: context.comparedWith }),
  archived_at_utc: metadata.created_at_utc,
  files: manifest.files,
  bytes: manifest.bytes,
  zip_size: report.zipSize,
  zip_md5: checksums.md5,
  zip_sha256: checksums.sha256
})

/** Says that a folder failed, and notes it, so that the folder is due again in the next run. */
export const failFolder = Effect.fnUntraced(
  function* (run: string, folder: FolderName, error: string) {
    yield* Effect.logError(error)
    const store = yield* Store
    const now = yield* Clock.currentTimeMillis
    const recorded = yield* store
      .recordFailure({ folder, run, failed_at_utc: Metadata.utcSeconds(now), error })
      .pipe(
        Effect.as(true),
        Effect.catchAll((cause) =>
          Effect.as(Effect.logWarning(`cannot note the failure: ${cause.message}`), false)
        )
      )
    return { _tag: "Failed", folder, error, recorded } satisfies FolderResult
  },
  (effect, _run, folder) => Effect.annotateLogs(effect, "folder", folder)
)
