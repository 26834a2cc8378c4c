import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { restore } from "../../../src/restore/Restore.ts"
import { type RestoreRequest, resultOf as resultOfAll } from "../../../src/restore/RestoreResult.ts"
import type { TrackedFolder } from "../../../src/runs/JobState.ts"
import type { FolderName } from "../../../src/source/FolderName.ts"
import type { PublishedArchive, Which } from "../../../src/store/PublishedArchive.ts"
import { Progress } from "../../../src/system/Progress.ts"
import type { RestorePlan } from "../../../src/zip/RestorePlan.ts"
import { memoryArchiveReader } from "../../doubles/ArchiveReader.ts"
import { type ExtractorMemory, memoryExtractor } from "../../doubles/Extractor.ts"
import { memoryHasher } from "../../doubles/Hasher.ts"
import { type MemoryJobStates, memoryJobStates, noJobStates } from "../../doubles/JobStates.ts"
import { memoryArchives } from "../../doubles/PublishedArchives.ts"
import * as sets from "../zip/sets.ts"
import { folder } from "./job.ts"
import { capturedLog } from "./log.ts"

export const abcd = folder("ABCD")
export const file = { dev: 1, ino: 1, size: 100, mtimeMs: 0, ctimeMs: 0 }
export const setOf = (which: Which, change: Partial<PublishedArchive> = {}) => sets.setOf(abcd, which, change)

export const plan: RestorePlan = {
  directory: "/back",
  device: "1",
  files: 2,
  bytes: 30,
  folders: 1,
  replaced: 0,
  conflicts: { count: 0, first: [] },
  meeting: { count: 0, first: [] },
  untried: { count: 0, first: [] },
  unmatched: [],
  privileged: { count: 0, first: [] },
  free: 1000,
  needed: 30,
  neededAtMost: 30,
  leftovers: { count: 0, first: [] }
}

const audit = { files: 2, bytes: 30, complete: true, flaws: [], names: ["a", "b"] }

export const requestFor = (change: Partial<RestoreRequest>): RestoreRequest => ({
  folders: [abcd],
  which: "current",
  to: "back",
  below: false,
  only: [],
  overwrite: false,
  sync: true,
  dryRun: false,
  place: ["--config", "c.json"],
  job: ["--config", "c.json"],
  ...change
})

/** What is known of earlier archives, by their indexes and by the state of the job. */
export interface Earlier {
  readonly recorded?: ReadonlyArray<FolderName>
  readonly state?: ReadonlyArray<TrackedFolder>
}

const statesOf = (folders: ReadonlyArray<TrackedFolder>): MemoryJobStates => {
  const at = "2025-01-01T12:00:00Z"
  const last_run = { run: "r", started_at_utc: at, seconds: 1, outcome: "ok", bytes: 0, failures: 0 } as const
  return {
    ...noJobStates,
    states: new Map([["archive", { version: 1, kind: "archive", last_run, folders }]])
  }
}

export const worldOf = (sets: ReadonlyArray<PublishedArchive>, { recorded = [], state = [] }: Earlier = {}) =>
  Layer.mergeAll(
    memoryArchives(sets, recorded),
    Layer.unwrapEffect(Effect.map(Ref.make(statesOf(state)), memoryJobStates)),
    memoryArchiveReader(Object.fromEntries(sets.map(({ zip }) => [zip, audit]))),
    memoryHasher(),
    Progress.layerNone
  )

export const run = (
  sets: ReadonlyArray<PublishedArchive>,
  memory: Partial<ExtractorMemory> = {},
  options: Partial<RestoreRequest> = {},
  earlier: Earlier = {}
) =>
  Effect.gen(function* () {
    const log = capturedLog()
    const carriedOut: Array<string> = []
    const plans = Object.fromEntries(sets.map(({ zip }) => [zip, plan]))
    const result = yield* Effect.either(restore(requestFor(options))).pipe(
      Effect.provide(
        Layer.mergeAll(worldOf(sets, earlier), memoryExtractor({ plans, carriedOut, ...memory }), log.layer)
      )
    )
    return { result, carriedOut, lines: log.lines }
  })

export const resultOf = ({ result }: Effect.Effect.Success<ReturnType<typeof run>>) =>
  Either.match(result, { onLeft: (error) => error.message, onRight: (summaries) => resultOfAll(summaries) })
