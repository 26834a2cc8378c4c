import { randomBytes } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import type { Manifest } from "../source/Manifest.ts"
import type { SourceView } from "../source/SourceView.ts"
import { Process } from "../system/Process.ts"
import { abortable, Workers } from "../system/Workers.ts"
import * as RawPath from "../text/RawPath.ts"
import { type Compression, isSameFile, sameCompression } from "./ArchiveIndex.ts"
import { checkRoot, extractZip, makeTally, openRoot, plannedFiles } from "./Extract.ts"
import { planExtraction } from "./ExtractSurvey.ts"
import { openWholeSync } from "./ExtractSync.ts"
import { type ExtractRequest, temporaryName } from "./ExtractTarget.ts"
import type { ZipEntry } from "./Headers.ts"
import { openZip, readEntries } from "./ReadZip.ts"
import { nothingRestored, type PlannedFile, type RestoreOutcome, type RestorePlan } from "./RestorePlan.ts"
import { type Audit, type AuditOptions, auditZip, type VerifyOptions, verifyZip } from "./VerifyZip.ts"
import { type ArchiveOptions, writeZip } from "./WriteZip.ts"
import { type ArchiveError, type ArchiveReport, ExtractError, isArchiveError, isExtractError } from "./ZipError.ts"

/** Reads zips of which no manifest is known. */
export class ArchiveReader extends Context.Tag("zipper/ArchiveReader")<
  ArchiveReader,
  {
    /** Finds all that is wrong with the zip at `path` by itself. Fails for want of threads, memory or rights. */
    readonly audit: (path: string, options: AuditOptions) => Effect.Effect<Audit, ArchiveError>
    /** The entries of a zip of this program in their order, from its central directory alone. */
    readonly entries: (path: string) => Stream.Stream<ReadonlyArray<ZipEntry>, ArchiveError>
  }
>() {
  static readonly layer: Layer.Layer<ArchiveReader> = Layer.effect(
    ArchiveReader,
    Effect.map(Workers, (runner) => ({
      audit: Effect.fn("ArchiveReader.audit")((path: string, options: AuditOptions) =>
        abortable((signal) => auditZip(path, options, signal, runner), isArchiveError)
      ),
      entries: (path) => streamOf(() => readEntries(path, new AbortController().signal))
    }))
  )
}

/** Writes zips and reads them back. The layer knows method, level and threads. */
export class Archiver extends Context.Tag("zipper/Archiver")<
  Archiver,
  {
    /**
     * Writes the entries of `manifest` to a new zip at `destination`, not synced; on failure or interruption it is removed.
     * The error names the entry; a file that changed while it was read (live sources only) is a transient one.
     */
    readonly archive: (
      view: SourceView,
      manifest: Manifest,
      destination: string,
      options?: ArchiveOptions
    ) => Effect.Effect<ArchiveReport, ArchiveError>
    /**
     * Reads every byte of the zip back: names, kinds, sizes, modes and times are those of `manifest`, each CRC-32 is right.
     * Entries that were `copied` from a verified archive are not inflated: their bytes are those copied.
     */
    readonly verify: (zip: string, manifest: Manifest, options?: VerifyOptions) => Effect.Effect<void, ArchiveError>
  }
>() {
  static readonly layer = (settings: Compression): Layer.Layer<Archiver> =>
    Layer.effect(
      Archiver,
      Effect.map(Workers, (runner) => ({
        archive: Effect.fn("Archiver.archive")(function* (view, manifest, destination, options = {}) {
          // Copied entries have to be what compressing would give.
          const old = options.previous?.index
          const usable = old === undefined || sameCompression(old, settings)
          if (!usable) {
            yield* Effect.logInfo(
              `everything is compressed anew: the archive before was made with method ${old.method}, level ${old.level}`
            )
          }
          const previous = usable ? options.previous : undefined
          const input = { view, manifest, destination, compression: settings, runner }
          return yield* abortable((signal) => writeZip(input, { ...options, previous }, signal), isArchiveError)
        }),
        verify: Effect.fn("Archiver.verify")((zip, manifest, options = {}) =>
          abortable((signal) => verifyZip(zip, manifest, signal, runner, options), isArchiveError)
        )
      }))
    )

  static readonly layerDryRun: Layer.Layer<Archiver> = Layer.succeed(Archiver, {
    archive: (_view, manifest) => Effect.succeed(reportOf(manifest, 0)),
    verify: () => Effect.void
  })
}

export const reportOf = (manifest: Manifest, zipSize: number): ArchiveReport => ({
  zipSize,
  entries: manifest.entries.length,
  bytes: manifest.bytes,
  madeWith: { method: "auto", level: 6 },
  copiedFiles: 0,
  copied: []
})

export interface PreparedRestore {
  readonly plan: RestorePlan
  /**
   * Writes what the plan, which must have no obstacles, says. A file that fails is removed and in the result; others go on,
   * unless the disk is full. Then all of it is synced, if that was asked for. Interrupted, it removes the files at work, and
   * gives the folders that it made their modes.
   */
  readonly carryOut: Effect.Effect<RestoreOutcome, ExtractError>
  /** Bytes that went to files so far, also to those that fail in the end. */
  readonly written: () => number
  readonly soFar: () => RestoreOutcome
  readonly dryRun: boolean
  /** Of a dry run: what {@link carryOut} would write. */
  readonly files: Stream.Stream<ReadonlyArray<PlannedFile>, ArchiveError>
}

/** Puts the content of archives back into folders. */
export class Extractor extends Context.Tag("zipper/Extractor")<
  Extractor,
  {
    /**
     * Reads the zip, looks at DIR, and leaves nothing written. A zip that no folder can hold is an ArchiveError that names
     * the entry. It stays open for the scope: what is written is what was planned.
     */
    readonly prepare: (
      request: ExtractRequest
    ) => Effect.Effect<PreparedRestore, ArchiveError | ExtractError, Scope.Scope>
  }
>() {
  static readonly layer: Layer.Layer<Extractor> = Layer.effect(
    Extractor,
    Effect.map(Effect.all([Workers, Effect.context<Process>()]), ([runner, context]) => ({
      prepare: Effect.fn("Extractor.prepare")(function* (request) {
        const temporary = temporaryName(randomBytes(6).toString("hex"))
        const names = request.triesNames ? RawPath.fromText(`${temporary}names`) : undefined
        const { zip, plan } = yield* preparePlan(request, runner.width, names)
        const tally = makeTally()
        return {
          plan: plan.plan,
          carryOut: Effect.gen(function* () {
            const wholeSync = request.sync ? yield* openWholeSync(plan) : undefined
            const syncEach = request.sync && wholeSync === undefined
            const extraction = { request, zip, plan, runner, tally, temporary, syncEach }
            yield* Effect.acquireRelease(
              abortable(() => openRoot(plan), isExtractError),
              (root) => Effect.sync(root.close)
            )
            yield* abortable((signal) => extractZip(extraction, signal), isExtractError)
            if (wholeSync !== undefined) {
              tally.rest.unsynced = "it was stopped"
              tally.rest.unsynced = yield* wholeSync
            }
            yield* abortable(() => checkRoot(plan), isExtractError)
            return tally.restored()
          }).pipe(Effect.scoped, Effect.provide(context)),
          written: tally.written,
          soFar: tally.restored,
          dryRun: false,
          files: Stream.empty
        }
      })
    }))
  ).pipe(Layer.provide(Process.layer))

  /** Plans as it is done, and writes nothing. */
  static readonly layerDryRun: Layer.Layer<Extractor> = Layer.effect(
    Extractor,
    Effect.map(Workers, (runner) => ({
      prepare: Effect.fn("Extractor.prepare")((request) =>
        Effect.map(preparePlan(request, runner.width, undefined), ({ plan, zip }) => ({
          ...dryRunOf(plan.plan),
          files: streamOf(() => plannedFiles(zip, plan))
        }))
      )
    }))
  )
}

export const dryRunOf = (plan: RestorePlan): PreparedRestore => ({
  plan,
  carryOut: Effect.succeed({ ...nothingRestored, ...Struct.pick(plan, "files", "bytes", "folders", "replaced") }),
  written: () => 0,
  soFar: () => nothingRestored,
  dryRun: true,
  files: Stream.empty
})

/** What is no ArchiveError is a defect. */
const streamOf = <A>(batches: () => AsyncIterable<A>): Stream.Stream<A, ArchiveError> =>
  Stream.suspend(() => Stream.fromAsyncIterable(batches(), (cause) => cause)).pipe(
    Stream.catchAll((cause) => (isArchiveError(cause) ? Stream.fail(cause) : Stream.die(cause)))
  )

const isFailure = (cause: unknown): cause is ArchiveError | ExtractError =>
  isArchiveError(cause) || isExtractError(cause)

const preparePlan = Effect.fnUntraced(function* (
  request: ExtractRequest,
  writers: number,
  temporary: RawPath.RawPath | undefined
) {
  const zip = yield* Effect.acquireRelease(
    abortable(() => openZip(request.zip), isArchiveError),
    (opened) => Effect.promise(() => opened.close())
  )
  if (!isSameFile(zip.identity, request.file)) {
    return yield* new ExtractError({
      reason: "Changed",
      message: `${request.zip} was replaced while it was looked at: another run has published meanwhile; nothing was written`
    })
  }
  const plan = yield* abortable((signal) => planExtraction(zip, request, writers, temporary, signal), isFailure)
  return { zip, plan }
})
