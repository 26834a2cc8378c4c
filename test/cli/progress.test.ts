import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as esbuild from "esbuild"
import { afterAll, beforeAll } from "vitest"
import { Output } from "../../src/cli/Output.ts"
import * as progressBar from "../../src/cli/progressBar.ts"
import { makeRate, progressText } from "../../src/cli/progressText.ts"
import { Progress } from "../../src/services/Progress.ts"
import { fakeTerminal } from "../support/log.ts"

const mebi = 1024 * 1024
const figures = { done: 1230 * mebi, total: 2930 * mebi, rate: 12.3 * mebi }

describe("the text of a progress bar", () => {
  it("says how far it is, how fast, and how long it takes, as far as there is room", () => {
    const at = (width: number) => progressText("tank/data", figures, { width, ascii: true })
    assert.strictEqual(
      at(79),
      "tank/data  41% [######..........] 1.2 GiB of 2.9 GiB, 12.3 MiB/s, 2 m 18 s left"
    )
    assert.strictEqual(at(70), "tank/data  41% 1.2 GiB of 2.9 GiB, 12.3 MiB/s, 2 m 18 s left")
    assert.strictEqual(at(40), "tank/data  41% 2 m 18 s left")
    assert.strictEqual(at(23), "~data 41% 2 m 18 s left")
    assert.include(progressText("tank/data", figures, { width: 79, ascii: false }), "[██████░░░░░░░░░░]")
  })

  it("shows bytes and rate where the total is not known", () => {
    const options = { width: 79, ascii: true }
    const some = { done: 5 * mebi, total: undefined, rate: mebi }
    assert.strictEqual(progressText("a", some, options), "a 5.0 MiB, 1.0 MiB/s")
    assert.strictEqual(progressText("a", { ...some, rate: undefined }, options), "a 5.0 MiB")
    assert.strictEqual(progressText("tank/very/long", some, { width: 13, ascii: true }), "~long 5.0 MiB")
  })

  it("fits, whatever the figures and the width", () => {
    const amount = FastCheck.double({ min: 0, max: 1e16, noNaN: true })
    FastCheck.assert(
      FastCheck.property(
        FastCheck.string({ maxLength: 60 }),
        amount,
        FastCheck.option(amount, { nil: undefined }),
        FastCheck.option(amount, { nil: undefined }),
        FastCheck.integer({ min: 0, max: 200 }),
        FastCheck.boolean(),
        (label, done, total, rate, width, ascii) => {
          const text = progressText(label, { done, total, rate }, { width, ascii })
          assert.isAtMost(text.length, width)
          assert.notMatch(text, /NaN|Infinity|undefined/)
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
      yield* Effect.logInfo("a line")
      show({ done: 1, total: 2 })
    }).pipe(
      Effect.scoped,
      Effect.zipRight(Effect.logInfo("done")),
      Effect.provide(progressBar.layer),
      Effect.provide(Output.layer({ ...plain, ...options }, terminal)),
      Effect.as(terminal.written)
    )

  it.effect("makes way for lines of the log, comes back below them, and is gone at the end", () =>
    Effect.gen(function* () {
      const { stderr, stdout } = yield* shownOn(fakeTerminal({ tty: true, env }))
      assert.strictEqual(stdout, "* a line\n* done\n")
      const bar = "tank/data 0 B"
      assert.isTrue(stderr.startsWith(`\r\x1b[K${bar}\r\x1b[K${bar}`), JSON.stringify(stderr))
      assert.isTrue(stderr.endsWith("\r\x1b[K"), JSON.stringify(stderr))
    })
  )

  it.effect("is for somebody who watches: not without a terminal, on a dumb one, or when quiet", () =>
    Effect.gen(function* () {
      for (const terminal of [
        fakeTerminal({ tty: false, env }),
        fakeTerminal({ tty: true, env: { ...env, TERM: "dumb" } }),
        fakeTerminal({ tty: true, env: {} })
      ]) {
        assert.strictEqual((yield* shownOn(terminal)).stderr, "")
      }
      assert.strictEqual((yield* shownOn(fakeTerminal({ tty: true, env }), { quiet: true })).stderr, "")
      assert.notStrictEqual((yield* shownOn(fakeTerminal({ tty: true, env }), { json: true })).stderr, "")
    })
  )
})

describe("a progress bar on a real terminal", () => {
  let root = ""
  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "zipper-test-"))
    await esbuild.build({
      entryPoints: [new URL("../support/barChild.ts", import.meta.url).pathname],
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

  /** Everything that a terminal so wide would get to see, by a pseudo-terminal of Python's. */
  const seen = (columns: number, ...args: ReadonlyArray<string>) => {
    const script = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, ${columns}, 0, 0))
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    sys.stdout.buffer.write(data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`
    return new Promise<string>((resolve, reject) => {
      execFile(
        "python3",
        ["-c", script, process.execPath, join(root, "child.mjs"), ...args],
        { env: { PATH: "/usr/bin:/bin", TERM: "xterm", LANG: "C" } },
        (error, stdout) => (error === null ? resolve(stdout) : reject(error))
      )
    })
  }

  it("is drawn in place, as wide as there is room, and leaves nothing but the log", async () => {
    const [wide, narrow, quiet] = await Promise.all([seen(80), seen(30), seen(80, "quiet")])
    for (const [columns, text] of [
      [80, wide],
      [30, narrow]
    ] as const) {
      const states = text.split(/\r\x1b\[K|\r\n/)
      assert.include(states, "* a line of the log")
      assert.isTrue(
        states.some((state) => state.startsWith("tank/data  50%")),
        JSON.stringify(states)
      )
      assert.isTrue(
        states.some((state) => state.includes("left")),
        JSON.stringify(states)
      )
      for (const state of states) assert.isBelow(state.length, columns, state)
      assert.isTrue(text.endsWith("\r\x1b[K* done\r\n"), JSON.stringify(text.slice(-80)))
    }
    assert.strictEqual(quiet, "")
  })
})
