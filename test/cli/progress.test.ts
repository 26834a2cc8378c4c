import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as esbuild from "esbuild"
import { afterAll, beforeAll } from "vitest"
import { Output } from "../../src/cli/output.ts"
import * as progressBar from "../../src/cli/progressBar.ts"
import { type Figures, makeRate, progressLines } from "../../src/cli/progressBar.ts"
import { Progress } from "../../src/system/Progress.ts"
import { makePlace, zipper } from "../support/program/built.ts"
import { fakeTerminal } from "../support/program/log.ts"
import { installed } from "../support/programs.ts"
import { onTerminal, type PtyEvent } from "../support/terminal/pty.ts"
import { noise } from "../support/zip/archive.ts"

const mebi = 1024 * 1024
const figures = { label: "tank/data", done: 1230 * mebi, total: 2930 * mebi, rate: 12.3 * mebi }
const room = { width: 79, lines: 6, ascii: true }

describe("the text of progress bars", () => {
  it("says how far it is, how fast, and how long it takes, as far as there is room", () => {
    const at = (width: number) => progressLines([figures], { ...room, width })[0]
    assert.strictEqual(at(79), "tank/data  41% [########............] 1.2/2.9 GiB, 12.3 MiB/s, 2 m 19 s left")
    assert.strictEqual(at(58), "tank/data  41% 1.2/2.9 GiB, 12.3 MiB/s, 2 m 19 s left")
    assert.strictEqual(at(40), "tank/data  41% 2 m 19 s left")
    assert.strictEqual(at(23), "~data 41% 2 m 19 s left")
    assert.include(progressLines([figures], { ...room, ascii: false })[0], "[████████░░░░░░░░░░░░]")
  })

  it("shows bytes and rate where the total is not known", () => {
    const at = (some: Omit<Figures, "label" | "done" | "total">, label = "a", width = 79) =>
      progressLines([{ label, done: 5 * mebi, total: undefined, ...some }], { ...room, width })[0]
    assert.strictEqual(at({ rate: mebi }), "a 5.0 MiB, 1.0 MiB/s")
    assert.strictEqual(at({ rate: undefined }), "a 5.0 MiB")
    assert.strictEqual(at({ rate: mebi }, "tank/very/long", 13), "~long 5.0 MiB")
  })

  it("stands in columns, and sums up what there are no lines for", () => {
    const folder = (label: string, done: number): Figures => ({ label, done, total: 100, rate: 10 })
    const all = [folder("1 of 4 folders", 50), folder("AAAA", 30), folder("BBBB verifying", 20), folder("C", 10)]
    assert.deepStrictEqual(progressLines(all, room), [
      "1 of 4 folders  50% [##############..............] 50/100 B, 10 B/s, 5 s left",
      "AAAA            30% [########....................] 30/100 B, 10 B/s, 7 s left",
      "BBBB verifying  20% [#####.......................] 20/100 B, 10 B/s, 8 s left",
      "C               10% [##..........................] 10/100 B, 10 B/s, 9 s left"
    ])
    const few = progressLines(all, { ...room, lines: 3 })
    assert.lengthOf(few, 3)
    assert.match(few[2] ?? "", /^2 more {10}15% .* 30\/200 B, 20 B\/s, 9 s left$/)
    assert.match(progressLines(all, { ...room, lines: 1 })[0] ?? "", /^4 at work {2}27% /)
  })

  it("has one unit for both amounts, and never more than the whole", () => {
    const at = (done: number, total: number) =>
      /(\S+\/\S+ \S+),/.exec(progressLines([{ label: "a", done, total, rate: 1 }], room)[0] ?? "")?.[1]
    assert.strictEqual(at(400 * mebi, 12_400 * mebi), "0.4/12.1 GiB")
    assert.strictEqual(at(0, 2930 * mebi), "0.0/2.9 GiB")
    assert.strictEqual(at(512, 700 * mebi), "0.0/700 MiB")
    assert.strictEqual(at(700 * mebi, 700 * mebi), "700/700 MiB")
    const amounts = FastCheck.tuple(FastCheck.nat(2 ** 50), FastCheck.integer({ min: 1, max: 2 ** 50 }))
    FastCheck.assert(
      FastCheck.property(amounts, ([done, total]) => {
        const [, some, all] = /^([\d.]+)\/~?([\d.]+) /.exec(at(done, total) ?? "") ?? []
        assert.isAtMost(Number(some), Number(all))
      })
    )
  })

  it("marks a total that is a guess, or was too small, and shows no time left for it", () => {
    const guess = { ...figures, isGuess: true }
    const at = (all: ReadonlyArray<Figures>, lines = 6) => progressLines(all, { ...room, lines })[0]
    assert.strictEqual(at([guess]), "tank/data  41% [###########.................] 1.2/~2.9 GiB, 12.3 MiB/s")
    assert.match(at([{ ...figures, done: 3000 * mebi }]) ?? "", / 99% .* 2\.9\/~2\.9 GiB, 12\.3 MiB\/s$/)
    assert.match(at([{ ...figures, done: figures.total }]) ?? "", / 100% .* 2\.9\/2\.9 GiB, 12\.3 MiB\/s$/)
    assert.match(at([guess, figures], 1) ?? "", /2\.4\/~5\.7 GiB, 24\.6 MiB\/s$/)
    assert.strictEqual(progressLines([guess], { ...room, width: 25 })[0], "tank/data  41% 12.3 MiB/s")
  })

  it("does not go back when the total turns out to be larger", () => {
    assert.include(progressLines([{ ...figures, shown: 0.8 }], room)[0], " 80% ")
  })

  it("fits, whatever the figures, the width and the number of lines", () => {
    const amount = FastCheck.double({ min: 0, max: 1e16, noNaN: true })
    const maybe = FastCheck.option(amount, { nil: undefined })
    const one = FastCheck.record({
      // The generator likes names such as NaN, which the figures must never be.
      label: FastCheck.string({ maxLength: 60 }).map((label) => label.replace(/[NIu]/g, "x")),
      done: amount,
      total: maybe,
      rate: maybe
    })
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(one, { minLength: 1, maxLength: 9 }),
        FastCheck.integer({ min: 0, max: 200 }),
        FastCheck.integer({ min: 1, max: 7 }),
        FastCheck.boolean(),
        (all, width, lines, ascii) => {
          const texts = progressLines(all, { width, lines, ascii })
          assert.lengthOf(texts, Math.min(lines, all.length))
          for (const text of texts) {
            assert.isAtMost(text.length, width)
            assert.notMatch(text, /NaN|Infinity|undefined/)
          }
        }
      )
    )
  })

  it("goes by the pace of the last seconds, and begins anew when what is done does", () => {
    const rate = makeRate()
    assert.isUndefined(rate(0, 0))
    assert.strictEqual(rate(1000, 500), 500)
    assert.strictEqual(rate(2000, 2000), 1000)
    for (let second = 3; second <= 60; second += 1) rate(second * 1000, 2000 + (second - 2) * 10)
    assert.strictEqual(rate(61_000, 2590), 10)
    assert.isUndefined(rate(62_000, 0))
    assert.strictEqual(rate(63_000, 7), 7)
  })
})

describe("a progress bar", () => {
  const env = { LANG: "C.UTF-8", TERM: "xterm" }
  const plain = { quiet: false, debug: false, ascii: false, json: false }
  const shownOn = (terminal: ReturnType<typeof fakeTerminal>, options: Partial<typeof plain> = {}) =>
    Effect.gen(function* () {
      const show = yield* (yield* Progress).start("tank/data")
      show({ done: 1, total: 2 })
      yield* Effect.promise(() => setTimeout(300))
    }).pipe(
      Effect.scoped,
      Effect.zipRight(Effect.logInfo("done")),
      Effect.provide(progressBar.layer),
      Effect.provide(Output.layer({ ...plain, ...options }, terminal)),
      Effect.as(terminal.written)
    )

  it.live("is for somebody who watches: not without a terminal, on a dumb one, or when quiet", () =>
    Effect.gen(function* () {
      const of = (options: Parameters<typeof fakeTerminal>[0], flags?: Partial<typeof plain>) =>
        Effect.map(shownOn(fakeTerminal(options), flags), ({ stderr }) => stderr)
      const [pipe, dumb, none, quiet, shown, json] = yield* Effect.all(
        [
          of({ tty: false, env }),
          of({ tty: true, env: { ...env, TERM: "dumb" } }),
          of({ tty: true, env: {} }),
          of({ tty: true, env }, { quiet: true }),
          of({ tty: true, env }),
          of({ tty: true, env }, { json: true })
        ],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([pipe, dumb, none, quiet], ["", "", "", ""])
      assert.include(shown, "tank/data  50% [")
      assert.include(json, "tank/data  50% [")
    })
  )

  it.live("shows nothing of what is done at once", () =>
    Effect.gen(function* () {
      const terminal = fakeTerminal({ tty: true, env })
      yield* Effect.gen(function* () {
        const { start } = yield* Progress
        const quick = Effect.scoped(Effect.map(start("a"), (show) => show({ done: 1, total: 2 })))
        yield* start("all of it")
        yield* Effect.replicateEffect(quick, 20)
      }).pipe(Effect.scoped, Effect.provide(progressBar.layer), Effect.provide(Output.layer(plain, terminal)))
      assert.strictEqual(terminal.written.stderr, "")
    })
  )

  it.live("names from strangers cannot steer the terminal", () =>
    Effect.gen(function* () {
      const terminal = fakeTerminal({ tty: true, env })
      yield* Effect.gen(function* () {
        yield* (yield* Progress).start("evil\x1b[2J\nname")
        yield* Effect.promise(() => setTimeout(300))
      }).pipe(Effect.scoped, Effect.provide(progressBar.layer), Effect.provide(Output.layer(plain, terminal)))
      assert.include(terminal.written.stderr, "evil\\x1b[2J name")
    })
  )
})

describe.runIf(installed("python3"))("progress bars on a real terminal", () => {
  let root = ""
  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "zipper-test-"))
    await esbuild.build({
      entryPoints: [new URL("../support/terminal/barChild.ts", import.meta.url).pathname],
      bundle: true,
      platform: "node",
      format: "esm",
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)"
      },
      outfile: join(root, "child.mjs")
    })
  })
  afterAll(() => rmSync(root, { recursive: true }))

  const child = (mode: string, events: ReadonlyArray<PtyEvent> = []) =>
    onTerminal([process.execPath, join(root, "child.mjs"), mode], { columns: 80, rows: 24, events })

  const log = [
    ...["tank/a 1", "tank/b 1", "tank/c 1", "tank/a 4", "tank/b 4", "tank/c 4", "tank/a 7", "tank/b 7", "tank/a 10"]
  ].flatMap((words) => {
    const [name, step] = words.split(" ")
    return [`* ${name} is at ${step}`, `error: ${name} has trouble at ${step}`]
  })

  it("are drawn in place below the log, in any window, and nothing of them is left", async () => {
    const resizing = [70, 60, 45, 100, 30].map((columns, index) => ({
      after: 150 + 120 * index,
      columns,
      rows: 20 + index
    }))
    const [still, moved, quiet] = await Promise.all([child(""), child("", resizing), child("quiet")])
    for (const { bars, end, status } of [still, moved]) {
      assert.strictEqual(status, 0)
      assert.deepStrictEqual([...end.above].sort(), [...log, "* done"].sort())
      assert.strictEqual(end.above.at(-1), "* done")
      assert.deepStrictEqual(end.below, [])
      assert.strictEqual(end.column, 0)
      assert.isTrue(bars.some((lines) => lines.length === 4 && (lines[1] ?? "").startsWith("tank/a")))
    }
    for (const lines of still.bars) for (const line of lines) assert.isBelow(line.length, 80)
    // Errors come also when quiet; bars do not.
    assert.notInclude(quiet.text, "\x1b[?7l")
  })

  it("are gone when the work dies, when the process ends in the middle, and when it is stopped", async () => {
    const [died, ended] = await Promise.all([child("crash"), child("exit")])
    assert.strictEqual(died.end.above.at(-1), "error: Error: the work died")
    assert.strictEqual(ended.status, 3)
    for (const { bars, end } of [died, ended]) {
      assert.isTrue(bars.some((lines) => lines.length === 4))
      assert.deepStrictEqual(end.below, [])
      assert.strictEqual(end.column, 0)
    }
  })

  describe("of a run", () => {
    const place = makePlace()
    const folders = ["AAAA", "BBBB", "CCCC", "DDDD", "EEEE", "FFFF"]
    beforeAll(() => {
      // Slow to compress.
      const text = noise(3 * 1024 * 1024).toString("hex")
      for (const folder of folders) {
        place.put(`${folder}/text`, text)
        place.put(`${folder}/more`, text.slice(mebi))
      }
    })
    afterAll(place.remove)

    const commandTo = (name: string, ...flags: ReadonlyArray<string>): ReadonlyArray<string> => {
      const target = join(place.root, name)
      mkdirSync(target)
      const config = {
        source_path: place.source,
        target_path: target,
        snapshots: "live",
        lockfile_path: `${target}.lock`,
        log_file: `${target}.log`,
        syslog: false,
        max_workers: 4,
        compression: { method: "deflate", level: 9, threads: 1 }
      }
      writeFileSync(`${target}.json`, JSON.stringify(config), { mode: 0o600 })
      return [process.execPath, zipper, "run", "--config", `${target}.json`, ...flags]
    }
    const size = { columns: 80, rows: 24 }
    const percents = (bars: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<number> =>
      bars.flatMap(([first]) => {
        const found = /^\d of \d folders +(\d+)% \[/.exec(first ?? "")
        return found === null ? [] : [Number(found[1])]
      })

    it("show the run as a whole and the folders at work, and never go back", async () => {
      const { bars, end, status } = await onTerminal(commandTo("whole"), size)
      assert.strictEqual(status, 0)
      assert.lengthOf(
        end.above.filter((line) => /^\* [A-F]{4}: archived 2 files/.test(line)),
        6
      )
      assert.match(end.above.at(-1) ?? "", /^\* 6 archived, 0 unchanged, 0 failed/)
      assert.deepStrictEqual([end.below, end.column], [[], 0])
      assert.isTrue(bars.some((lines) => lines.length === 5))
      for (const lines of bars) {
        assert.isAtMost(lines.length, 5)
        for (const line of lines) assert.isBelow(line.length, size.columns)
        for (const line of lines.slice(1)) assert.match(line, /^[A-F]{4} /)
      }
      const seen = percents(bars)
      assert.deepStrictEqual(
        seen,
        [...seen].sort((a, b) => a - b)
      )
      assert.isAbove(new Set(seen).size, 2)
    })

    it("are gone when it is stopped by Ctrl-C or a signal", async () => {
      const begun = { ...size, begin: "% [" }
      const [typed, asked, twice] = await Promise.all([
        onTerminal(commandTo("typed"), { ...begun, events: [{ after: 250, keys: "\x03" }] }),
        onTerminal(commandTo("asked"), { ...begun, events: [{ after: 250, signal: 15 }] }),
        onTerminal(commandTo("twice"), { ...begun, events: [{ after: 250, keys: "\x03\x03" }] })
      ])
      assert.deepStrictEqual([typed.status, asked.status, twice.status], [130, 143, 130])
      for (const { bars, end } of [typed, asked, twice]) {
        assert.isNotEmpty(percents(bars))
        const line =
          /stopped by a signal: [A-F]{4}(, [A-F]{4})* (was|were) not archived; .* as (it was|they were); (\d|no folder)/
        assert.match(end.above.join(""), line)
        assert.deepStrictEqual([end.below, end.column], [[], 0])
      }
    })

    it("go to standard error: not to a pipe, and not with --quiet", async () => {
      const piped = commandTo("piped", "--folder", "AAAA", "--folder", "BBBB")
      const [some, none] = await Promise.all([
        onTerminal(["sh", "-c", `"$@" > ${place.root}/out`, "sh", ...piped], size),
        onTerminal(commandTo("quiet", "--folder", "AAAA", "--quiet"), size)
      ])
      assert.isNotEmpty(percents(some.bars))
      assert.notInclude(some.text, "archived")
      const out = readFileSync(join(place.root, "out")).toString()
      assert.match(out, /2 archived/)
      assert.notInclude(out, "\x1b")
      assert.strictEqual(none.text, "")
    })
  })
})
