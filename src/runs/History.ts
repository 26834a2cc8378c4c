import { dirname, join } from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { FolderName } from "../source/FolderName.ts"
import { isFolder } from "../store/SafeFolder.ts"
import { fromDisk, type StoreError } from "../store/StoreError.ts"
import { Disk, type DiskError, ignoreCode } from "../system/Disk.ts"
import { optional } from "../text/Document.ts"
import { Instant } from "../text/Time.ts"
import { RunDocument } from "./ArchiveResult.ts"
import { ReplicationDocument } from "./ReplicationResult.ts"
import { Outcome } from "./Run.ts"

/** `<state folder>/history.jsonl` has one JSON document a line for each run, but not for a dry run or one that found a lock held. */

/** Some thousand years (a clock may be set from 1970 to now meanwhile): a number beyond all dates, in a damaged line, is no time. */
export const Seconds = Schema.Number.pipe(Schema.between(0, 1e11))

/** What every run has; see RunEnd. */
export const endOfRun = {
  run: Schema.String,
  started_at_utc: Instant,
  seconds: Seconds,
  outcome: Outcome,
  error: optional(Schema.String)
}

const common = { version: Schema.Literal(1), ...endOfRun }

/** One folder that a run worked on; unchanged ones are only counted. `bytes`: uncompressed. */
export const HistoryFolder = Schema.Union(
  Schema.Struct({
    folder: FolderName,
    result: Schema.Literal("archived"),
    files: Schema.NonNegativeInt,
    bytes: Schema.NonNegativeInt,
    zip_bytes: Schema.NonNegativeInt,
    seconds: Seconds
  }),
  Schema.Struct({ folder: FolderName, result: Schema.Literal("failed"), error: Schema.String })
)
export type HistoryFolder = typeof HistoryFolder.Type

export const ArchiveRun = Schema.Struct({
  ...common,
  kind: Schema.Literal("archive"),
  ...Struct.pick(RunDocument.fields, "archived", "unchanged", "failed", "bytes", "zip_bytes"),
  folders: Schema.Array(HistoryFolder)
})
export type ArchiveRun = typeof ArchiveRun.Type

/** One dataset that a run worked on; those that were up to date are only counted. `bytes`: sent, also before a failure. */
export const HistoryDataset = Schema.Struct({
  dataset: Schema.String,
  target: optional(Schema.String),
  result: Schema.Literal("sent", "refused", "failed"),
  bytes: Schema.NonNegativeInt,
  seconds: optional(Seconds),
  error: optional(Schema.String)
})
export type HistoryDataset = typeof HistoryDataset.Type

export const ReplicationRun = Schema.Struct({
  ...common,
  kind: Schema.Literal("replication"),
  ...Struct.pick(ReplicationDocument.fields, "job", "direction", "host"),
  ...Struct.pick(ReplicationDocument.fields, "sent", "up_to_date", "nothing_to_send", "refused", "failed", "bytes"),
  datasets: Schema.Array(HistoryDataset)
})
export type ReplicationRun = typeof ReplicationRun.Type

export const HistoryRun = Schema.Union(ArchiveRun, ReplicationRun)
export type HistoryRun = typeof HistoryRun.Type

class HistoryError extends Data.TaggedError("HistoryError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

interface FoundHistory {
  /** In the order in which they ended, which is not always that of their times: the clock may have been set. */
  readonly runs: ReadonlyArray<HistoryRun>
  readonly unreadable: number
}

/** One line for each run, in the state folder; the oldest are dropped when there are tens of thousands of them. */
export class History extends Context.Tag("zipper/History")<
  History,
  {
    /** Adds a run. Never fails: an error is a warning in the log. */
    readonly end: (run: HistoryRun) => Effect.Effect<void>
    /** The runs of all jobs, as far back as they are kept. Fails when a file cannot be read. */
    readonly runs: Effect.Effect<FoundHistory, HistoryError>
  }
>() {
  static readonly layer = (settings: StateSettings): Layer.Layer<History, never, Disk> =>
    Layer.effect(History, makeHistory(settings))

  static readonly layerDryRun = (settings: StateSettings): Layer.Layer<History, never, Disk> =>
    Layer.effect(
      History,
      Effect.map(makeHistory(settings), ({ runs }) => ({ runs, end: () => Effect.void }))
    )

  static readonly layerNone: Layer.Layer<History> = Layer.succeed(History, {
    end: () => Effect.void,
    runs: Effect.succeed({ runs: [], unreadable: 0 })
  })
}

/** A file of this size (bytes) gets no more lines. */
export const fullSize = 4 * 1024 * 1024

const fullKept = 4

// By number and not by time: the clock may have been wrong.
const fullName = /^history-(\d{1,9})-[0-9A-Za-z]+\.jsonl$/
const numberOf = (name: string): number => Number(fullName.exec(name)?.[1])

const Line = Schema.parseJson(HistoryRun)
const encode = Schema.encode(Line)
const decode = Schema.decodeUnknownOption(Line)

/** No lock is taken: runs of several jobs add lines at the same time. */
const makeHistory = Effect.fnUntraced(function* (settings: StateSettings) {
  const disk = yield* Disk
  const current = join(settings.dir, "history.jsonl")

  const end = Effect.fn("History.end")(
    function* (run: HistoryRun) {
      const line = yield* encode(run)
      yield* makeStateFolder(settings, settings.dir, run.outcome)
      yield* setFullAside(run.run)
      const isNew = (yield* disk.stat(current)) === undefined
      yield* disk.append(current, line)
      if (isNew) yield* disk.sync(settings.dir)
    },
    Effect.catchTag("NoPlace", ({ message }) => Effect.logDebug(`this run is not in the history: ${message}`)),
    Effect.catchAll((error) =>
      Effect.logWarning(
        error._tag === "ParseError"
          ? `this run is not in the history: ${error.message}`
          : described("this run is not in the history", error)
      )
    ),
    Effect.provideService(Disk, disk)
  )

  const fullOnes = Effect.map(disk.list(settings.dir), (names) =>
    names.filter((name) => fullName.test(name)).sort((a, b) => numberOf(a) - numberOf(b))
  )

  /** A full file gets a name that no other run gives; the oldest of those are dropped. */
  const setFullAside = Effect.fnUntraced(function* (run: string) {
    const stat = yield* disk.stat(current)
    if (stat === undefined || stat.size < fullSize) return
    const last = (yield* fullOnes).at(-1)
    const next = String(last === undefined ? 1 : numberOf(last) + 1).padStart(6, "0")
    const full = join(settings.dir, `history-${next}-${run}.jsonl`)
    // Another run may have been first.
    yield* disk.rename(current, full).pipe(ignoreCode("ENOENT"))
    const names = yield* fullOnes
    yield* Effect.forEach(
      names.slice(0, Math.max(0, names.length - fullKept)),
      (name) => disk.remove(join(settings.dir, name)),
      { discard: true }
    )
  })

  // The current file first: when it is set aside meanwhile, its lines are found twice, and not missed.
  const texts = Effect.gen(function* () {
    const newest = yield* disk.read(current)
    if ((yield* disk.stat(settings.dir)) === undefined) return []
    const names = yield* fullOnes
    const full = yield* Effect.forEach(names, (name) => disk.read(join(settings.dir, name)))
    return [...full, newest].filter((text) => text !== undefined)
  })

  const runs = texts.pipe(
    Effect.map(parseLines),
    Effect.mapError(
      (cause) => new HistoryError({ message: described("cannot read the history of runs", cause), cause })
    ),
    Effect.withSpan("History.runs")
  )

  return { end, runs }
})

const parseLines = (texts: ReadonlyArray<string>) => {
  const found = new Map<string, HistoryRun>()
  let unreadable = 0
  for (const text of texts) {
    for (const line of text.split("\n")) {
      if (line.trim() === "") continue
      const run = Option.getOrUndefined(decode(line))
      if (run === undefined) unreadable += 1
      else found.set(`${run.started_at_utc} ${run.run} ${run.kind === "archive" ? "" : run.job}`, run)
    }
  }
  return { runs: [...found.values()], unreadable }
}

/** The folder of history and job states. */
export interface StateSettings {
  readonly dir: string
  /** It lies in the target, and nothing is written where there is no target. */
  readonly inTarget: boolean
}

export class NoPlace extends Data.TaggedError("NoPlace")<{ readonly message: string }> {}

/**
 * Makes the state folder, or a folder in it; a symlink is refused. Makes nothing in an empty target, where a dataset may be about
 * to be mounted, nor for a run that did not reach its work (`outcome`; undefined: not yet), as its target may be refused.
 */
export const makeStateFolder = Effect.fnUntraced(function* (
  settings: StateSettings,
  path: string,
  outcome: Outcome | undefined
) {
  if (yield* isFolder(path)) return
  if (path === settings.dir && settings.inTarget) {
    const target = dirname(path)
    if (outcome !== "ok" && outcome !== "failed") {
      return yield* new NoPlace({ message: `no folder is made in ${target} by a run that did not begin` })
    }
    if ((yield* (yield* Disk).list(target)).length === 0) {
      return yield* new NoPlace({ message: `${target} is empty, so nothing is written down there` })
    }
  }
  if (path === settings.dir && !settings.inTarget) yield* makeParents(dirname(path))
  yield* makeOne(path)
})

const makeParents = (path: string): Effect.Effect<void, DiskError, Disk> =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (path === dirname(path) || (yield* disk.stat(path)) !== undefined) return
    yield* makeParents(dirname(path))
    yield* makeOne(path)
  })

const makeOne = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  // Two runs may begin at the same instant.
  yield* disk.makeFolder(path).pipe(ignoreCode("EEXIST"))
  yield* disk.sync(`${dirname(path)}/.`)
})

export const described = (doing: string, error: DiskError | StoreError | NoPlace): string =>
  error._tag === "DiskError" ? fromDisk(doing)(error).message : `${doing}: ${error.message}`
