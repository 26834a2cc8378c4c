import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { dryRunOf, Extractor } from "../../src/zip/Archiver.ts"
import type { ExtractRequest } from "../../src/zip/ExtractTarget.ts"
import type { RestoreOutcome, RestorePlan } from "../../src/zip/RestorePlan.ts"
import { type ArchiveError, ExtractError } from "../../src/zip/ZipError.ts"

/** A test's archives: by the path of the zip what a plan finds, and what becomes of it. */
export interface ExtractorMemory {
  readonly plans: Record<string, RestorePlan>
  readonly results?: Record<string, RestoreOutcome>
  /** Failures of the next plans, first one first. */
  readonly failures?: Array<ArchiveError | ExtractError>
  readonly requests?: Array<ExtractRequest>
  /** Zips, as they are restored. */
  readonly carriedOut?: Array<string>
}

/** Reads and writes nothing. */
export const memoryExtractor = (memory: ExtractorMemory): Layer.Layer<Extractor> =>
  Layer.succeed(Extractor, {
    prepare: Effect.fnUntraced(function* (request) {
      memory.requests?.push(request)
      const failure = memory.failures?.shift()
      if (failure !== undefined) return yield* failure
      const plan = memory.plans[request.zip]
      if (plan === undefined) {
        return yield* new ExtractError({ reason: "Target", message: `${request.zip}: no such zip` })
      }
      const prepared = dryRunOf(plan)
      return {
        ...prepared,
        dryRun: false,
        carryOut: Effect.flatMap(prepared.carryOut, (all) =>
          Effect.sync(() => {
            memory.carriedOut?.push(request.zip)
            return memory.results?.[request.zip] ?? all
          })
        )
      }
    })
  })
