import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as TestClock from "effect/TestClock"
import * as Log from "../../src/system/Log.ts"
import { type Invocation, Process } from "../../src/system/Process.ts"
import { type Completed, ProcessError } from "../../src/system/supervise.ts"
import { capturedLog, temporaryFolder } from "../support/program/log.ts"

/** A `logger` that is played by `run`. */
const played = (run: (invocation: Invocation) => Effect.Effect<Completed, ProcessError>) => Layer.mock(Process, { run })

const well: Completed = { exitCode: 0, stdout: "", stderr: "" }

/** How the `logger` of FreeBSD answers a question that it does not know. */
const usage: Completed = { exitCode: 1, stdout: "", stderr: "usage: logger [-46Ais] [-f file] [-h host]\n" }

const syslog = (
  run: (invocation: Invocation) => Effect.Effect<Completed, ProcessError>,
  help: Effect.Effect<Completed, ProcessError> = Effect.succeed(usage)
) =>
  Log.layerSyslog({ tag: "zipper", runId: "ab12cd" }).pipe(
    Layer.provide(played((invocation) => (invocation.args[0] === "--help" ? help : run(invocation))))
  )

const failing = (reason: ProcessError["reason"]) =>
  new ProcessError({ reason, program: "logger", message: "cannot start logger", transient: false })

describe("Log to syslog", () => {
  it.effect("gets every line, with its severity, before the scope closes", () =>
    Effect.gen(function* () {
      const calls: Array<Invocation> = []
      const log = capturedLog()
      yield* Effect.gen(function* () {
        yield* Effect.logDebug("d")
        yield* Effect.logInfo("one\ntwo").pipe(Effect.annotateLogs("folder", "ABCD"))
        yield* Effect.logInfo("three")
        yield* Effect.logWarning("w")
        yield* Effect.logError("e")
        yield* Effect.logFatal("f")
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            log.layer,
            Logger.minimumLogLevel(LogLevel.Debug),
            syslog((invocation) =>
              Effect.as(
                Effect.sync(() => calls.push(invocation)),
                well
              )
            )
          )
        )
      )
      assert.isTrue(calls.every(({ program, args }) => program === "logger" && args[3] === `zipper[${process.pid}]`))
      const seen = calls.flatMap(({ args, stdin }) =>
        (stdin ?? "")
          .split("\n")
          .slice(0, -1)
          .map((line) => `${args.slice(0, 3).join(" ")} ${line}`)
      )
      assert.deepStrictEqual(seen, [
        '-p daemon.debug -t run=ab12cd msg="d"',
        '-p daemon.info -t run=ab12cd folder=ABCD msg="one\\ntwo"',
        '-p daemon.info -t run=ab12cd msg="three"',
        '-p daemon.warning -t run=ab12cd msg="w"',
        '-p daemon.err -t run=ab12cd msg="e"',
        '-p daemon.crit -t run=ab12cd msg="f"'
      ])
      assert.strictEqual(log.lines.length, 6)
    })
  )

  it.effect("sends lines in batches while the program goes on", () =>
    Effect.gen(function* () {
      const gate = yield* Effect.makeLatch(false)
      const calls: Array<Invocation> = []
      yield* Effect.gen(function* () {
        yield* Effect.forEach(
          Array.from({ length: 1000 }, (_, n) => n),
          (n) => Effect.logInfo(`line ${n}`)
        )
        // Only when the end has been waited for some time: the last batch then holds lines and the end.
        yield* Effect.forkDaemon(Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 100), gate.open))
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            capturedLog().layer,
            syslog((invocation) =>
              Effect.as(
                Effect.zipRight(
                  gate.await,
                  Effect.sync(() => calls.push(invocation))
                ),
                well
              )
            )
          )
        )
      )
      const lines = calls.flatMap(({ stdin }) => (stdin ?? "").trim().split("\n"))
      assert.strictEqual(lines.length, 1000)
      assert.isTrue(lines.every((line, n) => line.endsWith(`msg="line ${n}"`)))
      assert.isBelow(calls.length, 20)
    })
  )

  it.effect("gets long lines whole where its logger can be told to, and is asked once", () =>
    Effect.gen(function* () {
      const utilLinux = { ...well, stdout: " -S, --size <size>        maximum size for a single message\n" }
      for (const [help, expected] of [
        [Effect.succeed(utilLinux), "--size 65536"],
        [Effect.succeed(usage), ""],
        [Effect.fail(failing("Other")), ""]
      ] as const) {
        const calls: Array<Invocation> = []
        let asked = 0
        const run = (invocation: Invocation) =>
          Effect.as(
            Effect.sync(() => calls.push(invocation)),
            well
          )
        const question = Effect.zipRight(
          Effect.sync(() => asked++),
          help
        )
        yield* Effect.zipRight(Effect.logInfo("x".repeat(5000)), Effect.logWarning("w")).pipe(
          Effect.provide(Layer.mergeAll(capturedLog().layer, syslog(run, question)))
        )
        assert.deepStrictEqual(
          calls.map(({ args }) => args.slice(4).join(" ")),
          [expected, expected]
        )
        assert.strictEqual(asked, 1)
      }
    })
  )

  it.effect("that is not there when it is asked is one warning too", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      yield* Effect.logInfo("line").pipe(
        Effect.provide(
          Layer.mergeAll(
            log.layer,
            syslog(() => Effect.die("it is not there"), Effect.fail(failing("NotFound")))
          )
        )
      )
      assert.deepStrictEqual(log.lines, ["Info: line", "Warning: syslog gets no lines: cannot start logger"])
    })
  )

  it.effect("that is not there is one warning and no failure", () =>
    Effect.gen(function* () {
      for (const [result, expected, tried] of [
        [Effect.fail(failing("NotFound")), "cannot start logger", 1],
        [
          Effect.succeed({ ...well, exitCode: 1, stderr: "no /dev/log\n" }),
          "logger ended with status 1: no /dev/log",
          3
        ]
      ] as const) {
        const log = capturedLog()
        let calls = 0
        yield* Effect.forEach([1, 2, 3], (n) =>
          Effect.zipLeft(Effect.logInfo(`line ${n}`), Effect.yieldNow().pipe(Effect.repeatN(20)))
        ).pipe(
          Effect.provide(
            Layer.mergeAll(
              log.layer,
              syslog(() =>
                Effect.zipRight(
                  Effect.sync(() => calls++),
                  result
                )
              )
            )
          )
        )
        assert.deepStrictEqual(
          log.lines.filter((line) => line.startsWith("Warning")),
          [`Warning: syslog gets no lines: ${expected}`]
        )
        assert.strictEqual(calls, tried)
      }
    })
  )

  it.effect("that hangs holds up the end for five seconds, no longer, and is ended", () =>
    Effect.gen(function* () {
      let ended = false
      const fiber = yield* Effect.logInfo("line").pipe(
        Effect.provide(
          Layer.mergeAll(
            capturedLog().layer,
            syslog(() => Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => (ended = true)))))
          )
        ),
        Effect.fork
      )
      yield* TestClock.adjust("4999 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.isTrue(ended)
    })
  )

  it.effect("is no failure of the run when sending has a bug", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const fiber = yield* Effect.logInfo("line").pipe(
        Effect.provide(syslog(() => Effect.die(new Error("a bug")))),
        Effect.provide(log.layer),
        Effect.fork
      )
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(log.lines, ["Info: line", "Warning: syslog lacks lines"])
    })
  )

  it.effect("does not log about its own logging", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const talks = () => Effect.as(Effect.logInfo("started logger"), well)
      yield* Effect.logInfo("line").pipe(Effect.provide(syslog(talks)), Effect.provide(log.layer))
      assert.deepStrictEqual(log.lines, ["Info: line"])
    })
  )

  it.scoped("and a file that are both broken leave one warning each on the console", () =>
    Effect.gen(function* () {
      const log = capturedLog()
      const path = join(yield* temporaryFolder, "none", "log")
      yield* Effect.logInfo("line").pipe(
        Effect.provide(
          Layer.mergeAll(
            log.layer,
            Log.layerFile({ path, maxBytes: 1000, keep: 1 }),
            syslog(() => Effect.fail(failing("NotFound")))
          )
        )
      )
      assert.deepStrictEqual(log.lines.map((line) => line.slice(0, 22)).sort(), [
        "Info: line",
        `Warning: log file ${path}`.slice(0, 22),
        "Warning: syslog gets n"
      ])
    })
  )
})
