import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { HistoryRun } from "../../domain/History.ts"
import { Disk } from "../Disk.ts"
import { described, makeStateFolder, type StateSettings } from "./folder.ts"
import { HistoryError } from "./HistoryError.ts"

/** A file of this size (bytes) gets no more lines. */
export const fullSize = 4 * 1024 * 1024

/** So many full ones are kept. */
const fullKept = 4

// By number and not by time: the clock may have been wrong when one of them was set aside.
const fullName = /^history-(\d{1,9})-[0-9A-Za-z]+\.jsonl$/
const numberOf = (name: string): number => Number(fullName.exec(name)?.[1])

const Line = Schema.parseJson(HistoryRun)
const encode = Schema.encode(Line)
const decode = Schema.decodeUnknownOption(Line)

/** The history on disk. No lock is taken: runs of several jobs add to it beside each other. */
export const makeHistory = (disk: typeof Disk.Service, settings: StateSettings) => {
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
    Effect.catchTag("NoPlace", ({ message }) =>
      Effect.logDebug(`this run is not in the history: ${message}`)
    ),
    Effect.catchAll((error) =>
      Effect.logWarning(
        error._tag === "ParseError"
          ? `this run is not in the history: ${error.message}`
          : described("this run is not in the history", error)
      )
    ),
    Effect.provideService(Disk, disk)
  )

  /** Names of the full files, the oldest first. */
  const fullOnes = Effect.map(disk.list(settings.dir), (names) =>
    names.filter((name) => fullName.test(name)).sort((a, b) => numberOf(a) - numberOf(b))
  )

  /** A full file gets a name of its own, which no two runs give; the oldest of those are dropped. */
  const setFullAside = Effect.fnUntraced(function* (run: string) {
    const stat = yield* disk.stat(current)
    if (stat === undefined || stat.size < fullSize) return
    const last = (yield* fullOnes).at(-1)
    const next = String(last === undefined ? 1 : numberOf(last) + 1).padStart(6, "0")
    const full = join(settings.dir, `history-${next}-${run}.jsonl`)
    yield* disk.rename(current, full).pipe(
      // Another run was first.
      Effect.catchIf(
        (error) => error.code === "ENOENT",
        () => Effect.void
      )
    )
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
    Effect.map((found) => understood(found)),
    Effect.mapError(
      (cause) => new HistoryError({ message: described("cannot read the history of runs", cause), cause })
    ),
    Effect.withSpan("History.runs")
  )

  return { end, runs }
}

const understood = (texts: ReadonlyArray<string>) => {
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
