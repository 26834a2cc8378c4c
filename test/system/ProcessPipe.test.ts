import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type PipeStage, Process } from "../../src/system/Process.ts"
import { isAlive, waitFor } from "../support/program/processes.ts"

let folder: string
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-pipe-"))
})
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const pipe = (...[first, second, ...more]: readonly [PipeStage, PipeStage, ...ReadonlyArray<PipeStage>]) =>
  Effect.flatMap(Process, (process) => process.pipe([first, second, ...more])).pipe(Effect.provide(Process.layer))

const sh = (script: string, more: Partial<PipeStage> = {}): PipeStage => ({
  program: "/bin/sh",
  args: ["-c", script],
  ...more
})

/** Writes its pid to a file, so that the test can see whether it still runs. */
const noting = (name: string, script: string): PipeStage =>
  sh(`echo $$ > ${folder}/${name}.tmp; mv ${folder}/${name}.tmp ${folder}/${name}; ${script}`)
const file = (name: string) => path.join(folder, name)
const pidIn = (name: string) => Number(fs.readFileSync(file(name), "utf8"))

const pending = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length
const descriptors = () => fs.readdirSync("/proc/self/fd").length

describe("Process.pipe joins programs", () => {
  const kindOfInput = "if [ -p /dev/stdin ]; then echo pipe; else echo socket; fi"
  const kind = Effect.map(pipe(sh("echo x"), sh(kindOfInput)), ([, last]) => last?.stdout)

  it.live("by a pipe of the kernel", () => Effect.map(kind, (found) => assert.strictEqual(found, "pipe\n")))

  it.live("by sockets where no pipe can be made", () =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const before = process.env["TMPDIR"]
        process.env["TMPDIR"] = file("missing")
        return before
      }),
      () => Effect.map(kind, (found) => assert.strictEqual(found, "socket\n")),
      (before) =>
        Effect.sync(() => {
          if (before === undefined) delete process.env["TMPDIR"]
          else process.env["TMPDIR"] = before
        })
    )
  )
})

describe.concurrent("Process.pipe", () => {
  it.live("gives every exit status and every stderr, and what the last one prints", () =>
    Effect.gen(function* () {
      const ended = yield* pipe(
        sh("echo data; echo first >&2; exit 3"),
        sh("tr a-z A-Z; echo second >&2"),
        sh("cat; echo third >&2; exit 5")
      )
      assert.deepStrictEqual(ended, [
        { exitCode: 3, stdout: "", stderr: "first\n", ended: false },
        { exitCode: 0, stdout: "", stderr: "second\n", ended: false },
        { exitCode: 5, stdout: "DATA\n", stderr: "third\n", ended: false }
      ])
    })
  )

  it.live("sees that a sender failed though the receiver is content", () =>
    Effect.gen(function* () {
      const ended = yield* pipe(sh("echo x; exit 3"), sh("cat > /dev/null"))
      assert.deepStrictEqual(
        ended.map(({ exitCode }) => exitCode),
        [3, 0]
      )
    })
  )

  it.live("moves 2 GB without touching them", () =>
    Effect.gen(function* () {
      const before = { cpu: process.cpuUsage(), rss: process.memoryUsage().rss }
      const [, received] = yield* pipe(
        { program: "head", args: ["-c", String(2 ** 31), "/dev/zero"] },
        { program: "wc", args: ["-c"] }
      )
      assert.strictEqual(received?.stdout.trim(), String(2 ** 31))
      const { system, user } = process.cpuUsage(before.cpu)
      // Through JavaScript it takes more than four seconds of CPU; other tests of this file run meanwhile.
      assert.isBelow((system + user) / 1e6, 1.5)
      assert.isBelow(process.memoryUsage().rss - before.rss, 100 * 2 ** 20)
    })
  )

  it.live("an endless sender ends by itself when its receiver has died", () =>
    Effect.gen(function* () {
      const [sender, receiver] = yield* pipe({ program: "yes", args: [] }, sh("head -c 10 > /dev/null; exit 9"))
      assert.deepInclude(receiver, { exitCode: 9, ended: false })
      // By SIGPIPE, or, where node's pipes are sockets, by an error that it reports.
      assert.isFalse(sender?.ended)
      assert.notStrictEqual(sender?.exitCode, 0)
    })
  )

  it.live("ends a silent sender, and what it started, when its receiver has died", () =>
    Effect.gen(function* () {
      const [sender, between, receiver] = yield* pipe(
        sh(`sleep 1000 & echo $! > ${file("silent")}; wait`),
        { program: "cat", args: [] },
        sh("exit 9")
      )
      assert.deepInclude(sender, { exitCode: 143, ended: true })
      assert.isTrue(between?.ended)
      assert.deepInclude(receiver, { exitCode: 9, ended: false })
      assert.isFalse(isAlive(pidIn("silent")))
    })
  )

  it.live("gives a sender whose receiver has ended a moment to say goodbye", () =>
    Effect.gen(function* () {
      const [sender] = yield* pipe(sh("sleep 0.5; echo bye >&2; exit 7"), sh("exit 0"))
      assert.deepStrictEqual(sender, { exitCode: 7, stdout: "", stderr: "bye\n", ended: false })
    })
  )

  it.live("lets the receiver finish in its own time", () =>
    Effect.gen(function* () {
      // Longer than the moment that a sender has.
      const [, receiver] = yield* pipe(sh("echo x"), sh("cat; sleep 2.5; echo done"))
      assert.deepInclude(receiver, { exitCode: 0, stdout: "x\ndone\n", ended: false })
    })
  )

  it.live("takes megabytes of stderr on all sides, and gives its lines as they come", () =>
    Effect.gen(function* () {
      const shout = "i=0; while [ $i -lt 20 ]; do head -c 100000 /dev/zero | tr '\\0' x >&2; i=$((i+1)); done"
      const lines: Array<string> = []
      const [sender, receiver] = yield* pipe(
        sh(`printf 'über\\n12:00:00\\t5\\n' >&2; ${shout}; echo >&2; printf last >&2`, {
          onStderr: (line) => lines.push(line)
        }),
        sh(`cat; ${shout}; echo end >&2`)
      )
      assert.deepStrictEqual(lines.slice(0, 2), ["über", "12:00:00\t5"])
      assert.strictEqual(lines.at(-1), "last")
      assert.strictEqual(lines.slice(2, -1).join(""), "x".repeat(2_000_000))
      assert.strictEqual(sender?.stderr, "über\n12:00:00\t5\nlast")
      assert.isTrue(receiver?.stderr.endsWith("xxend\n"))
    })
  )

  it.live("says which program is missing, and ends the others at once", () =>
    Effect.gen(function* () {
      const missing: PipeStage = { program: "no-such-program", args: [] }
      for (const [name, error] of [
        ["receiver", yield* Effect.flip(pipe(noting("alone", "exec sleep 1000"), missing))],
        ["sender", yield* Effect.flip(pipe(missing, noting("never", "cat")))],
        ["between", yield* Effect.flip(pipe(noting("first", "exec sleep 1000"), missing, sh("cat")))]
      ] as const) {
        assert.strictEqual(error.reason, "NotFound", name)
        assert.match(error.message, /^no-such-program: program not found in PATH/, name)
      }
      assert.isFalse(fs.existsSync(file("never")))
      for (const name of ["alone", "first"]) {
        if (fs.existsSync(file(name))) assert.isFalse(isAlive(pidIn(name)), name)
      }
      const nul = yield* Effect.flip(pipe(sh("exec sleep 1000"), { program: "true", args: ["a\0b"] }))
      assert.strictEqual(nul.reason, "Other")
    })
  )

  it.live("leaves no process when the caller is interrupted", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        pipe(
          noting("sending", `sleep 1000 & echo $! > ${file("child")}; wait`),
          noting("between", "cat"),
          noting("receiving", "cat; sleep 1000")
        )
      )
      const all = ["sending", "child", "between", "receiving"]
      yield* waitFor(() => all.every((name) => fs.existsSync(file(name))))
      yield* waitFor(() => all.every((name) => pidIn(name) > 0))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(
        all.filter((name) => isAlive(pidIn(name))),
        []
      )
    })
  )

  it.live("ends all when the reader of a stderr breaks", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        pipe(
          sh("echo x >&2; exec sleep 1000", {
            onStderr: () => {
              throw new Error("broken reader")
            }
          }),
          sh("cat")
        )
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("broken reader"))
    })
  )
})

describe("Process.pipe, one after the other", () => {
  it.live("gives back every file descriptor and timer", () =>
    Effect.gen(function* () {
      yield* pipe(sh("echo x"), sh("cat"))
      const before = descriptors()
      const timers = pending()
      for (let i = 0; i < 10; i++) {
        yield* pipe(sh("echo x"), { program: "cat", args: [] }, sh("cat"))
        yield* Effect.flip(pipe(sh("exec sleep 1000"), { program: "no-such-program", args: [] }))
      }
      yield* waitFor(() => descriptors() <= before)
      assert.isAtMost(pending(), timers)
    })
  )
})
