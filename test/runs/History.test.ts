import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fullSize, History, type HistoryRun } from "../../src/runs/History.ts"
import { Disk } from "../../src/system/Disk.ts"
import { capturedLog, temporaryFolder } from "../support/program/log.ts"

const run = (id: string, startedAt = "2025-01-01T12:00:00Z", error?: string): HistoryRun => ({
  version: 1,
  kind: "archive",
  run: id,
  started_at_utc: startedAt,
  seconds: 1,
  outcome: "ok",
  archived: 0,
  unchanged: 0,
  failed: 0,
  bytes: 0,
  zip_bytes: 0,
  folders: [],
  ...(error === undefined ? {} : { error })
})

const setup = Effect.gen(function* () {
  const root = yield* temporaryFolder
  const dir = path.join(root, "state")
  const layer = (inTarget = false) => History.layer({ dir, inTarget })
  const history = yield* History.pipe(Effect.provide(layer()), Effect.provide(Disk.layer))
  const ids = Effect.map(history.runs, ({ runs }) => runs.map((each) => each.run))
  return { root, dir, file: path.join(dir, "history.jsonl"), history, ids, layer }
})

describe("History", () => {
  it.scoped(
    "writes a line for each run and gives them back in the order in which they ended, whatever the clock said",
    () =>
      Effect.gen(function* () {
        const { file, history, ids } = yield* setup
        assert.deepStrictEqual(yield* history.runs, { runs: [], unreadable: 0 })
        yield* history.end(run("b", "2025-01-01T13:00:00Z", "two\nlines"))
        yield* history.end(run("a"))
        assert.deepStrictEqual(yield* ids, ["b", "a"])
        assert.lengthOf(fs.readFileSync(file, "utf8").trimEnd().split("\n"), 2)
      })
  )

  it.scoped("a line that was cut short costs that line alone; what cannot be understood is counted", () =>
    Effect.gen(function* () {
      const { file, history } = yield* setup
      yield* history.end(run("a"))
      const wrong = JSON.stringify(run("x", "2025-02-30T12:00:00Z"))
      fs.appendFileSync(file, `${wrong}\n{"version":2}\nnoise\n{"version":1,"kind":"arch`)
      yield* history.end(run("b"))
      const { runs, unreadable } = yield* history.runs
      assert.deepStrictEqual([runs.map((each) => each.run), unreadable], [["a", "b"], 4])
      assert.isTrue(fs.readFileSync(file, "utf8").endsWith("}\n"))
    })
  )

  it.scoped("stays bounded: a full file is set aside, and the oldest of those go", () =>
    Effect.gen(function* () {
      const { dir, file, history, ids } = yield* setup
      for (let n = 1; n <= 7; n += 1) {
        // The clock goes back all the while, for the runs and for the files.
        yield* history.end(run(`full${n}`, `2025-01-0${9 - n}T00:00:00Z`))
        fs.appendFileSync(file, `${" ".repeat(fullSize)}\n`)
        fs.utimesSync(file, 1e9 - n, 1e9 - n)
      }
      yield* history.end(run("last", "2025-01-01T00:00:00Z"))
      assert.deepStrictEqual(fs.readdirSync(dir).sort(), [
        "history-000004-full5.jsonl",
        "history-000005-full6.jsonl",
        "history-000006-full7.jsonl",
        "history-000007-last.jsonl",
        "history.jsonl"
      ])
      assert.deepStrictEqual(yield* ids, ["full4", "full5", "full6", "full7", "last"])
    })
  )

  it.scoped("many runs may end at once", () =>
    Effect.gen(function* () {
      const { history, ids } = yield* setup
      const all = Array.from({ length: 30 }, (_, n) => `r${n}`)
      yield* Effect.forEach(all, (id) => history.end(run(id)), { concurrency: "unbounded" })
      assert.sameMembers([...(yield* ids)], all)
    })
  )

  it.scoped("never writes through a symlink, nor makes a target that is not there; a warning is all", () =>
    Effect.gen(function* () {
      const { dir, file, history, layer, root } = yield* setup
      const log = capturedLog()
      const target = yield* History.pipe(Effect.provide(layer(true)), Effect.provide(Disk.layer))
      fs.rmSync(root, { recursive: true })
      yield* target.end(run("a")).pipe(Effect.provide(log.layer))
      assert.isFalse(fs.existsSync(root))
      fs.mkdirSync(dir, { recursive: true })
      fs.symlinkSync(path.join(root, "elsewhere"), file)
      yield* history.end(run("b")).pipe(Effect.provide(log.layer))
      assert.isFalse(fs.existsSync(path.join(root, "elsewhere")))
      assert.lengthOf(log.lines, 2)
      assert.match(log.lines[1] ?? "", /^Warning: this run is not in the history: cannot append to .*ELOOP/)
    })
  )

  it.scoped("a dry run reads and writes nothing", () =>
    Effect.gen(function* () {
      const { dir, ids, history } = yield* setup
      const dry = yield* History.pipe(
        Effect.provide(History.layerDryRun({ dir, inTarget: false })),
        Effect.provide(Disk.layer)
      )
      yield* dry.end(run("a"))
      assert.isFalse(fs.existsSync(dir))
      yield* history.end(run("b"))
      assert.deepStrictEqual(
        (yield* dry.runs).runs.map((each) => each.run),
        ["b"]
      )
      assert.deepStrictEqual(yield* ids, ["b"])
    })
  )
})
