import { EventEmitter } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { PassThrough } from "node:stream"
import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type Invocation, Process } from "../../src/system/Process.ts"
import { ProcessError, supervise } from "../../src/system/supervise.ts"
import { isAlive, waitFor } from "../support/program/processes.ts"

let folder: string
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-process-"))
})
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const run = (invocation: Invocation) =>
  Effect.flatMap(Process, (process) => process.run(invocation)).pipe(Effect.provide(Process.layer))

const sh = (script: string, more: Partial<Invocation> = {}) =>
  run({ program: "/bin/sh", args: ["-c", script], ...more })

const exists = (name: string) => fs.existsSync(path.join(folder, name))
const pidIn = (name: string) => Number(fs.readFileSync(path.join(folder, name), "utf8"))

describe("Process", () => {
  it.live("gives exit status, bytes of stdout and text of stderr", () =>
    Effect.gen(function* () {
      const done = yield* sh("printf 'a\\377\\nb'; printf 'ü' >&2; exit 7")
      assert.deepStrictEqual(done, { exitCode: 7, stdout: "a\xff\nb", stderr: "ü" })
    })
  )

  it.live("tells a signal by 128 + N", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* sh("kill -9 $$")).exitCode, 137)
    })
  )

  it.live("keeps our secrets out of a program's environment", () =>
    Effect.gen(function* () {
      const secrets = { ZIPPER_GOTIFY_TOKEN: "hush", MQTT_PASSWORD: "hush", ZIPPER_OTHER: "said" }
      Object.assign(process.env, secrets)
      const { stdout } = yield* sh("env")
      for (const name of Object.keys(secrets)) delete process.env[name]
      assert.notInclude(stdout, "hush")
      assert.include(stdout, "ZIPPER_OTHER=said")
    })
  )

  it.live("hands arguments over byte for byte, without a shell", () =>
    Effect.gen(function* () {
      const args = ["a b", "$HOME", "'\"", "", "-n", "a\nb", "*"]
      const done = yield* run({ program: "printf", args: ["%s\\0", ...args] })
      assert.deepStrictEqual(done.stdout, args.map((arg) => `${arg}\0`).join(""))
    })
  )

  it.live("sets LC_ALL=C, keeps the rest of the environment, and adds the system's folders to PATH", () =>
    Effect.gen(function* () {
      const done = yield* sh('echo "$LC_ALL|$X|$HOME|$PATH"', {
        env: { X: "1", PATH: "/usr/bin:/bin" }
      })
      assert.strictEqual(
        done.stdout,
        `C|1|${process.env["HOME"] ?? ""}|/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin\n`
      )
    })
  )

  it.live("gives it /dev/null, or the text that it is to read", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* run({ program: "cat", args: [] })).stdout, "")
      assert.strictEqual((yield* run({ program: "cat", args: [], stdin: "über" })).stdout, "Ã¼ber")
    })
  )

  it.live("does not mind a program that reads none of its input", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* sh("exit 3", { stdin: "x".repeat(1_000_000) })).exitCode, 3)
    })
  )

  it.live("lets it inherit a descriptor as number 3", () =>
    Effect.gen(function* () {
      const file = path.join(folder, "inherited")
      const fd = fs.openSync(file, "w")
      yield* sh("echo here >&3", { inherit: [fd] })
      fs.closeSync(fd)
      assert.strictEqual(fs.readFileSync(file, "utf8"), "here\n")
    })
  )

  it.live("collects megabytes, and keeps the end of a long stderr", () =>
    Effect.gen(function* () {
      const done = yield* sh("head -c 3000000 /dev/zero; head -c 300000 /dev/zero | tr '\\0' x >&2; echo end >&2")
      assert.strictEqual(done.stdout.length, 3_000_000)
      assert.strictEqual(done.stderr.length, 32_768)
      assert.isTrue(done.stderr.endsWith("xxend\n"))
    })
  )

  it.live("keeps the first and the last lines of a long stderr, each whole", () =>
    Effect.gen(function* () {
      const { stderr } = yield* sh("seq -f 'line %g' 1 20000 >&2")
      const lines = stderr.trimEnd().split("\n")
      assert.strictEqual(lines[0], "line 1")
      assert.strictEqual(lines.at(-1), "line 20000")
      assert.isTrue(lines.every((line) => /^line [0-9]+$/.test(line)))
      assert.isAbove(stderr.length, 65_000)
      assert.isAtMost(stderr.length, 65_536)
      const short = yield* sh("head -c 65536 /dev/zero | tr '\\0' x >&2")
      assert.strictEqual(short.stderr, "x".repeat(65_536))
    })
  )

  it.live("says what is missing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(run({ program: "no-such-program", args: [] }))
      assert.strictEqual(error.reason, "NotFound")
      assert.match(error.message, /^no-such-program: program not found in PATH \(.*\/usr\/sbin.*\): is it installed\?$/)
      const plain = path.join(folder, "plain")
      fs.writeFileSync(plain, "")
      assert.strictEqual((yield* Effect.flip(run({ program: plain, args: [] }))).reason, "PermissionDenied")
      const lost = yield* Effect.flip(sh("true", { cwd: path.join(folder, "nowhere") }))
      assert.match(lost.message, /cannot be started in .*nowhere: no such folder/)
      const nul = yield* Effect.flip(run({ program: "true", args: ["a\0b"] }))
      assert.strictEqual(nul.reason, "Other")
    })
  )

  it.live("ends it, and what it started, when it takes too long", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(sh(`sleep 600 & echo $! > ${folder}/timeout; wait`, { timeoutMillis: 300 }))
      assert.strictEqual(error.reason, "Timeout")
      assert.isTrue(error.transient)
      assert.isFalse(isAlive(pidIn("timeout")))
    })
  )

  it.live("ends it, and what it started, when the caller is interrupted, and waits for that", () =>
    Effect.gen(function* () {
      const script = `trap 'sleep 0.1; echo cleaned > ${folder}/cleaned; exit' TERM; sleep 600 & echo $! > ${folder}/child.tmp; mv ${folder}/child.tmp ${folder}/child; wait`
      const fiber = yield* Effect.fork(sh(script))
      yield* waitFor(() => exists("child"))
      yield* Fiber.interrupt(fiber)
      assert.isTrue(exists("cleaned"))
      assert.isFalse(isAlive(pidIn("child")))
    })
  )

  it.live("uses SIGKILL on what does not mind SIGTERM, also when its parent has gone", () =>
    Effect.gen(function* () {
      const stubborn = `sh -c 'trap "" TERM; echo $$ > ${folder}/s.tmp; mv ${folder}/s.tmp ${folder}/stubborn; while :; do sleep 1; done' > /dev/null 2>&1 & wait`
      const fiber = yield* Effect.fork(sh(stubborn))
      yield* waitFor(() => exists("stubborn"))
      yield* Fiber.interrupt(fiber)
      yield* waitFor(() => !isAlive(pidIn("stubborn")))
    })
  )

  it.live("does not wait for ever for a process that was left behind with our pipe", () =>
    Effect.gen(function* () {
      const done = yield* sh(`sleep 600 & echo $! > ${folder}/left; echo out`)
      assert.strictEqual(done.stdout, "out\n")
      process.kill(pidIn("left"))
    })
  )

  it.scopedLive("was in time when it ended in time, also where a process that it started prints on to our pipe", () =>
    Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })),
        () => Effect.sync(() => vi.useRealTimers())
      )
      const stdout = new PassThrough()
      const [pid, exitCode, signalCode] = [undefined, 0, null]
      const child = Object.assign(new EventEmitter(), { pid, exitCode, signalCode, stdout, stderr: null, unref() {} })
      const sink = { write: () => undefined, end: () => "done" }
      const startFailure = () => new ProcessError({ reason: "Other", program: "a", message: "", transient: false })
      const { completed } = supervise(child, { program: "a", stdout: sink, timeoutMillis: 1000, startFailure })
      child.emit("exit")
      // Its pipe is read on for two seconds, also while something comes.
      const second = Effect.promise(() => {
        vi.advanceTimersByTime(1000)
        stdout.write("more")
        return new Promise((resolve) => setImmediate(resolve))
      })
      yield* second
      yield* second
      assert.isFalse(stdout.destroyed)
      yield* second
      assert.isTrue(stdout.destroyed)
      child.emit("close")
      assert.deepStrictEqual(yield* completed, { exitCode: 0, stdout: "done", stderr: "" })
    })
  )

  it.live("gives lines as they come, whole, in bytes, in little memory", () =>
    Effect.gen(function* () {
      const service = yield* Process
      const first: Array<string> = []
      const done = yield* service.lines(
        { program: "/bin/sh", args: ["-c", "printf 'a\\n\\n\\374b\\r\\nlast'; exit 4"] },
        (line) => first.push(line)
      )
      assert.deepStrictEqual(first, ["a", "", "\xfcb\r", "last"])
      assert.deepStrictEqual(done, { exitCode: 4, stdout: "", stderr: "" })
      let count = 0
      let length = 0
      yield* service.lines({ program: "seq", args: ["1", "2000000"] }, (line) => {
        count++
        length += line.length
      })
      assert.deepStrictEqual([count, length], [2_000_000, 12_888_896])
    }).pipe(Effect.provide(Process.layer))
  )

  it.live("ends the program when the reader of its lines breaks", () =>
    Effect.gen(function* () {
      const service = yield* Process
      const exit = yield* Effect.exit(
        service.lines({ program: "yes", args: [] }, () => {
          throw new Error("broken reader")
        })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("broken reader"))
    }).pipe(Effect.provide(Process.layer))
  )
})
