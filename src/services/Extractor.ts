import { randomBytes } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type ArchiveError, isArchiveError } from "../archive/ArchiveError.ts"
import { openBlocks } from "../archive/BlockReader.ts"
import { ExtractError, isExtractError } from "../archive/ExtractError.ts"
import { temporaryName } from "../archive/ExtractLeftovers.ts"
import { type ExtractRequest, planExtraction } from "../archive/ExtractPlan.ts"
import { makeShared, shareOf } from "../archive/ExtractShared.ts"
import { makeTally } from "../archive/ExtractTally.ts"
import { extractZip } from "../archive/ExtractZip.ts"
import { isSameFile } from "../domain/ArchiveIndex.ts"
import * as RawPath from "../domain/RawPath.ts"
import { nothingRestored, type Restored, type RestorePlan } from "../domain/RestorePlan.ts"
import { abortable } from "./abortable.ts"
import { Workers } from "./Workers.ts"

export { ExtractError } from "../archive/ExtractError.ts"
export type { ExtractRequest } from "../archive/ExtractPlan.ts"

/** What was found out about a restore, and the way to do it. */
export interface Prepared {
  readonly plan: RestorePlan
  /**
   * Writes what the plan says: as long as it has conflicts, or patterns that mean nothing, that is not to be done. A file that
   * fails is removed and in the result, and stops no other one, unless it is the disk that is full. Interrupted, it removes
   * the files that it is at, and gives the folders that it made their modes.
   */
  readonly carryOut: Effect.Effect<Restored, ExtractError>
  /** Bytes that went to files so far, also to those that fail in the end. */
  readonly written: () => number
  /** What has become of it so far. */
  readonly soFar: () => Restored
  /** Nothing is written: it is a dry run. */
  readonly rehearsed: boolean
}

type Failure = ArchiveError | ExtractError

const isFailure = (cause: unknown): cause is Failure => isArchiveError(cause) || isExtractError(cause)

/** Puts the content of archives back into folders. */
export class Extractor extends Context.Tag("zipper/Extractor")<
  Extractor,
  {
    /**
     * Reads what is in the zip and looks at DIR, and leaves nothing written. A zip that cannot be written to a folder (names that lead
     * out of it or stand there twice, symlinks, sizes that cannot be) is refused with an ArchiveError that names the
     * entry. The zip stays open for the length of the scope: what is carried out is what was planned, whatever is
     * published meanwhile. The reason `Changed`: it is not the file any more that the request speaks of.
     */
    readonly prepare: (request: ExtractRequest) => Effect.Effect<Prepared, Failure, Scope.Scope>
  }
>() {
  /** Reads, inflates and writes on {@link Workers}. */
  static readonly layer: Layer.Layer<Extractor> = Layer.effect(
    Extractor,
    Effect.map(Workers, (runner) => ({
      prepare: Effect.fn("Extractor.prepare")(function* (request) {
        const temporary = temporaryName(randomBytes(6).toString("hex"))
        const { blocks, plan } = yield* looked(request, {
          writers: runner.width,
          temporary: RawPath.fromText(`${temporary}names`)
        })
        const shared = makeShared()
        const tally = makeTally(shared)
        return {
          plan: plan.plan,
          carryOut: abortable(
            (signal) => extractZip({ request, blocks, plan, runner, shared, tally, temporary }, signal),
            isExtractError
          ),
          written: () => shareOf(shared).figures().written,
          soFar: tally.restored,
          rehearsed: false
        }
      })
    }))
  )

  /** Plans as it is done, and writes nothing. */
  static readonly layerDryRun: Layer.Layer<Extractor> = Layer.effect(
    Extractor,
    Effect.map(Workers, (runner) => ({
      prepare: Effect.fn("Extractor.prepare")(function* (request) {
        const { plan } = yield* looked(request, { writers: runner.width, temporary: undefined })
        return rehearsed(plan.plan)
      })
    }))
  )
}

/** A plan that is not carried out: everything would go well. */
export const rehearsed = (plan: RestorePlan): Prepared => ({
  plan,
  carryOut: Effect.succeed({
    ...nothingRestored,
    files: plan.files,
    bytes: plan.bytes,
    folders: plan.folders,
    replaced: plan.replaced
  }),
  written: () => 0,
  soFar: () => nothingRestored,
  rehearsed: true
})

const looked = Effect.fnUntraced(function* (
  request: ExtractRequest,
  options: { readonly writers: number; readonly temporary: RawPath.RawPath | undefined }
) {
  const blocks = yield* Effect.acquireRelease(
    abortable(() => openBlocks(request.zip), isArchiveError),
    (opened) => Effect.promise(() => opened.close())
  )
  if (!isSameFile(blocks.identity, request.file)) {
    return yield* new ExtractError({
      reason: "Changed",
      message: `${request.zip} was replaced while it was looked at: another run has published meanwhile; nothing was written`
    })
  }
  return {
    blocks,
    plan: yield* abortable((signal) => planExtraction(blocks, request, options, signal), isFailure)
  }
})
