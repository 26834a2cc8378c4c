import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { reportErrors } from "../../src/cli/command.ts"
import { Stop } from "../../src/cli/exit.ts"
import { fatal, Output, type OutputOptions, reportCause, withoutColours } from "../../src/cli/output.ts"
import { ConfigError } from "../../src/config/ConfigFile.ts"
import { NotifyError } from "../../src/notify/Notifier.ts"
import { withoutControls } from "../../src/text/Text.ts"
import { fakeTerminal } from "../support/program/log.ts"

const plain: OutputOptions = { quiet: false, debug: false, ascii: false, json: false }

const says = Effect.gen(function* () {
  yield* Effect.logDebug("looked at 3 folders")
  yield* Effect.logInfo("archived 12 files").pipe(Effect.annotateLogs({ folder: "ABCD", run: "ab12cd" }))
  yield* Effect.logWarning("the log cannot be written")
  yield* Effect.logError("no space left")
})

const shown = (
  options: Partial<OutputOptions>,
  terminal: Parameters<typeof fakeTerminal>[0] = {},
  body: Effect.Effect<unknown, never, Output> = says
) => {
  const place = fakeTerminal(terminal)
  return body.pipe(Effect.provide(Output.layer({ ...plain, ...options }, place)), Effect.as(place.written))
}

describe("Output", () => {
  it.effect("has three tiers, errors and warnings on standard error", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* shown({}), {
        stdout: "* ABCD: archived 12 files\n",
        stderr: "* warning: the log cannot be written\n🚨 no space left\n"
      })
      assert.deepStrictEqual(yield* shown({ debug: true }), {
        stdout: "ℹ️ looked at 3 folders\n* ABCD: archived 12 files\n",
        stderr: "* warning: the log cannot be written\n🚨 no space left\n"
      })
    })
  )

  it.effect("begins the lines of a dataset with its name, as those of a folder", () =>
    Effect.gen(function* () {
      const { stdout } = yield* shown({}, {}, Effect.annotateLogs(Effect.logInfo("sent"), "dataset", "tank/0"))
      assert.strictEqual(stdout, "* tank/0: sent\n")
    })
  )

  it.effect("is quiet but for errors, whatever else was asked for", () =>
    Effect.gen(function* () {
      for (const options of [{ quiet: true }, { quiet: true, debug: true }, { quiet: true, json: true }]) {
        assert.deepStrictEqual(yield* shown(options), { stdout: "", stderr: "🚨 no space left\n" })
      }
    })
  )

  it.effect("is plain where the locale is not UTF-8, or when asked for", () =>
    Effect.gen(function* () {
      const expected = {
        stdout: "debug: looked at 3 folders\n* ABCD: archived 12 files\n",
        stderr: "* warning: the log cannot be written\nerror: no space left\n"
      }
      assert.deepStrictEqual(yield* shown({ debug: true, ascii: true }), expected)
      for (const env of [
        {},
        { LANG: "C" },
        { LC_ALL: "POSIX", LANG: "en_US.UTF-8" },
        { LC_CTYPE: "de_DE", LANG: "C.UTF-8" }
      ]) {
        assert.deepStrictEqual(yield* shown({ debug: true }, { env }), expected)
      }
      for (const env of [{ LANG: "en_US.utf8" }, { LC_ALL: "", LC_CTYPE: "UTF-8" }, { LC_ALL: "C.UTF-8", LANG: "C" }]) {
        assert.include((yield* shown({}, { env })).stderr, "🚨")
      }
    })
  )

  it.effect("has colours on a terminal that wants them, and only there", () =>
    Effect.gen(function* () {
      const env = { LANG: "C.UTF-8", TERM: "xterm" }
      const { stdout, stderr } = yield* shown({ debug: true }, { tty: true, env })
      assert.include(stderr, "\x1b[31m🚨 no space left\x1b[39m\n")
      assert.include(stdout, "\n* ABCD")
      assert.strictEqual(withoutColours(stderr), "* warning: the log cannot be written\n🚨 no space left\n")
      for (const terminal of [
        { tty: false, env },
        { tty: true, env: { ...env, NO_COLOR: "1" } },
        { tty: true, env: { ...env, TERM: "dumb" } },
        { tty: true, env: { LANG: "C.UTF-8" } }
      ]) {
        const written = yield* shown({ debug: true }, terminal)
        assert.notInclude(written.stdout + written.stderr, "\x1b")
      }
    })
  )

  it.effect("keeps standard output for the document with --json", () =>
    Effect.gen(function* () {
      const body = Effect.gen(function* () {
        yield* says
        const output = yield* Output
        yield* output.print("a table")
        yield* output.json({ ok: true })
      }).pipe(Effect.orDie)
      const { stdout, stderr } = yield* shown({ json: true, debug: true }, {}, body)
      assert.deepStrictEqual(JSON.parse(stdout), { ok: true })
      assert.include(stderr, "* ABCD: archived 12 files\n")
      assert.strictEqual(
        (yield* shown(
          { quiet: true },
          {},
          Effect.flatMap(Output, ({ print }) => Effect.orDie(print("a table")))
        )).stdout,
        "a table\n"
      )
    })
  )

  it.effect("lets no message steer the terminal or pretend to be another", () =>
    Effect.gen(function* () {
      const { stdout } = yield* shown({}, {}, Effect.logInfo("a\x1b]0;x\x07b\r\u202egnp\n🚨 all is lost"))
      assert.strictEqual(stdout, "* a\\x1b]0;x\\x07b\\x0d\\u202egnp\n  🚨 all is lost\n")
      assert.strictEqual(withoutControls("é ü 日本 🚨 \u00ad"), "é ü 日本 🚨 \u00ad")
    })
  )

  it.effect("tells of failures in their own words, without a stack", () =>
    Effect.gen(function* () {
      const notify = new NotifyError({ reason: "Timeout", message: "Gotify did not answer", transient: true })
      const config = new ConfigError({ path: "c.json", issues: ["nice: 50 is too nice", "x: unknown key"] })
      const report = (cause: Cause.Cause<unknown>, debug = false) =>
        Effect.map(shown({ debug }, {}, reportCause(cause)), ({ stderr }) => stderr)
      assert.strictEqual(yield* report(Cause.fail(notify)), "🚨 Gotify did not answer\n")
      assert.strictEqual(
        yield* report(Cause.parallel(Cause.fail(notify), Cause.fail(config))),
        "🚨 Gotify did not answer\n🚨 c.json: 2 mistakes\n  - nice: 50 is too nice\n  - x: unknown key\n"
      )
      assert.strictEqual(yield* report(Cause.fail(new Stop({ status: 1 }))), "")
      assert.strictEqual(yield* report(Cause.empty), "")
      assert.strictEqual(yield* report(Cause.fail({ _tag: "Odd", message: "" })), "🚨 Odd\n")
      const bug = Cause.die(new TypeError("x is not a function"))
      assert.strictEqual(yield* report(bug), "🚨 internal error: x is not a function (please report)\n")
      assert.match(yield* report(bug, true), /please report\)\n {2}TypeError: x is not a function\n {6}at /)
    })
  )

  it.effect("can tell of an error before any option is understood", () =>
    Effect.gen(function* () {
      const place = fakeTerminal({ env: {} })
      yield* fatal("unknown option --dryrun", { json: false }, place)
      assert.deepStrictEqual(place.written, { stdout: "", stderr: "error: unknown option --dryrun\n" })
      yield* fatal("a\nb", { json: true }, place)
      assert.deepStrictEqual(JSON.parse(place.written.stdout), { version: 1, errors: ["a\nb"] })
    })
  )
})

describe("reportErrors", () => {
  it.effect("tells a mistake of ours once, however often it is asked", () =>
    Effect.gen(function* () {
      const { stderr } = yield* shown({}, {}, Effect.ignore(reportErrors(reportErrors(Effect.die(new Error("oops"))))))
      assert.strictEqual(stderr.split("oops").length, 2, stderr)
      const stop = yield* Effect.flip(reportErrors(Effect.die("oops"))).pipe(
        Effect.provide(Output.layer(plain, fakeTerminal({})))
      )
      assert.strictEqual(stop.status, 1)
    })
  )
})
