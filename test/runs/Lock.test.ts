import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Lock, withLockOption } from "../../src/runs/Lock.ts"
import { Process } from "../../src/system/Process.ts"
import { ProcessError } from "../../src/system/supervise.ts"
import { utcSeconds } from "../../src/text/Time.ts"
import { memoryLock } from "../doubles/Lock.ts"
import { processFake } from "../support/program/processFake.ts"

let folder: string
let file: string
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-lock-"))
  file = path.join(folder, "zipper.lock")
})
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

const real = Lock.layer.pipe(Layer.provide(Process.layer))
const acquire = (at: string) => Effect.flatMap(Lock, (lock) => lock.acquire(at))
const refusal = (at: string) => Effect.flip(Effect.scoped(acquire(at)))
const content = () => fs.readFileSync(file, "utf8")

/** Another process that takes the lock the way we do, and holds it until it is killed. */
const otherHolder = (text: string) =>
  Effect.promise(async () => {
    const child = spawn(
      "/bin/sh",
      [
        "-c",
        `exec 3<>"$0"; flock -n 3 || exit 1; printf '%s' "$1" > "$0"; echo ready; exec sleep 600 >/dev/null`,
        file,
        text
      ],
      {
        stdio: ["ignore", "pipe", "inherit"]
      }
    )
    await new Promise((resolve) => child.stdout.once("data", resolve))
    return async () => {
      const gone = new Promise((resolve) => child.once("exit", resolve))
      child.kill("SIGKILL")
      await gone
    }
  })

describe("Lock", () => {
  it.live("holds the lock until the scope closes; the file names us meanwhile and stays, empty", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* acquire(file)
          assert.match(
            content(),
            new RegExp(`^pid ${process.pid}, since \\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ\\n$`)
          )
          const error = yield* refusal(file)
          assert.strictEqual(error.reason, "Held")
          assert.strictEqual(error.message, `another run holds ${file}: ${content().trim()}`)
          assert.include(content(), `pid ${process.pid},`)
        })
      )
      assert.strictEqual(content(), "")
      yield* Effect.scoped(acquire(file))
    }).pipe(Effect.provide(real))
  )

  it.live("is refused while another process holds it, and free at once after kill -9", () =>
    Effect.gen(function* () {
      const kill = yield* otherHolder("pid 1234, since 2025-01-01T12:00:00Z\n")
      const error = yield* refusal(file)
      assert.strictEqual(error.message, `another run holds ${file}: pid 1234, since 2025-01-01T12:00:00Z`)
      assert.strictEqual(content(), "pid 1234, since 2025-01-01T12:00:00Z\n")
      yield* Effect.promise(kill)
      yield* Effect.scoped(acquire(file))
    }).pipe(Effect.provide(real))
  )

  it.live("does not repeat what a lock file says that is not in its form", () =>
    Effect.gen(function* () {
      const kill = yield* otherHolder("\u001b[31mpid 1\n")
      assert.include((yield* refusal(file)).message, `another run holds ${file}: pid unknown`)
      yield* Effect.promise(kill)
    }).pipe(Effect.provide(real))
  )

  it.live("is not inherited by programs that are started meanwhile", () =>
    Effect.gen(function* () {
      const process = yield* Process
      const sleeper = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* acquire(file)
          return yield* process.run({
            program: "/bin/sh",
            args: ["-c", "sleep 600 >/dev/null 2>&1 & echo $!"]
          })
        })
      )
      yield* Effect.scoped(acquire(file))
      globalThis.process.kill(Number(sleeper.stdout))
    }).pipe(Effect.provide(Layer.merge(real, Process.layer)))
  )

  it.live("empties no file that is not a lock", () =>
    Effect.gen(function* () {
      const other = path.join(folder, "zipper.json")
      for (const text of ['{ "retries": 3 }\n', `${"\0".repeat(40_000)}data`, "\0".repeat(64), "1\n2\n3\n"]) {
        fs.writeFileSync(other, text)
        const { message, reason } = yield* refusal(other)
        assert.strictEqual(reason, "Unusable")
        assert.match(
          message,
          /zipper\.json: it is not a lock of zipper, and was left as it is \(an old lock of another program may be removed\); set lockfile_path to another/
        )
        const probed = yield* Effect.flip(Effect.flatMap(Lock, ({ probe }) => probe(other)))
        assert.strictEqual(probed.message, message)
        assert.strictEqual(fs.readFileSync(other, "utf8"), text)
      }
      for (const text of ["", "\0".repeat(44), "4711\n", "pid 4711, since 2025-01-01T12:00:00Z\n"]) {
        fs.writeFileSync(file, text)
        yield* Effect.flatMap(Lock, ({ probe }) => probe(file))
        yield* Effect.scoped(acquire(file))
        assert.strictEqual(content(), "")
      }
    }).pipe(Effect.provide(real))
  )

  it.live("says what is wrong with a path that cannot serve", () =>
    Effect.gen(function* () {
      fs.writeFileSync(path.join(folder, "precious"), "content")
      fs.symlinkSync(path.join(folder, "precious"), path.join(folder, "link"))
      const link = yield* refusal(path.join(folder, "link"))
      assert.strictEqual(link.reason, "Unusable")
      assert.match(link.message, /symbolic link/)
      assert.strictEqual(fs.readFileSync(path.join(folder, "precious"), "utf8"), "content")
      assert.match((yield* refusal(folder)).message, /it is a folder/)
      assert.match((yield* refusal(path.join(folder, "no/where"))).message, /its folder does not exist/)
      // The system says of /proc what it says of a folder that is not there.
      assert.match((yield* refusal("/proc/zipper.lock")).message, /no file can be made in its folder; set lock/)
      const none = yield* refusal(path.join(folder, "no/where"))
      assert.match(withLockOption(none).message, /create it, or give --lock a file elsewhere$/)
      yield* Effect.flatMap(Process, (process) => process.run({ program: "mkfifo", args: [path.join(folder, "fifo")] }))
      assert.match((yield* refusal(path.join(folder, "fifo"))).message, /not a regular file/)
    }).pipe(Effect.provide(Layer.merge(real, Process.layer)))
  )

  it.effect("says what flock complains of", () =>
    Effect.gen(function* () {
      const broken = processFake(() => ({ exitCode: 1, stderr: "flock: 3: Bad file descriptor\n" }))
      const other = yield* refusal(file).pipe(Effect.provide(Lock.layer.pipe(Layer.provide(broken.layer))))
      assert.strictEqual(other.reason, "Unusable")
      assert.match(other.message, /Bad file descriptor/)
    })
  )

  it.live("of a target: nothing without its folder, once for this process, and refused to others", () =>
    Effect.gen(function* () {
      const lock = yield* Lock
      const state = path.join(folder, ".zipper")
      yield* lock.acquireIn(state)
      assert.isFalse(fs.existsSync(state))
      fs.mkdirSync(state)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* lock.acquireIn(state)
          yield* lock.acquireIn(state)
          const error = yield* refusal(path.join(state, "lock"))
          assert.strictEqual(error.reason, "Held")
          assert.match(error.holder ?? "", new RegExp(`^pid ${process.pid}, since `))
        })
      )
      yield* Effect.scoped(acquire(path.join(state, "lock")))
      fs.rmSync(state, { recursive: true })
      fs.mkdirSync(path.join(state, "lock"), { recursive: true })
      const error = yield* Effect.flip(lock.acquireIn(state))
      assert.match(error.message, /^cannot use the lock of the target, .*\/lock: is a directory/)
    }).pipe(Effect.scoped, Effect.provide(real))
  )

  it.effect("of a target whose file system has no locks: says so once, and goes on", () =>
    Effect.gen(function* () {
      for (const words of ["No locks available", "Operation not supported", "Function not implemented"]) {
        const said: Array<string> = []
        const lockless = processFake(() => ({ exitCode: 71, stderr: `flock: 3: ${words}\n` }))
        const layers = Layer.merge(
          Layer.provide(Lock.layer, lockless.layer),
          Logger.replace(
            Logger.defaultLogger,
            Logger.make(({ message }) => said.push(String(message)))
          )
        )
        yield* Effect.gen(function* () {
          const lock = yield* Lock
          yield* lock.acquireIn(folder)
          yield* lock.acquireIn(folder)
          assert.strictEqual((yield* refusal(file)).reason, "Unusable", "the lock file has to work")
        }).pipe(Effect.scoped, Effect.provide(layers))
        assert.strictEqual(said.length, 1)
        assert.match(said[0] ?? "", /is on a file system without locks: only lockfile_path/)
      }
    })
  )

  it.effect("writes nothing in a dry run, and says when a run is at work", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const dry = Layer.merge(
        Layer.provide(Lock.layerDryRun, Process.layer),
        Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => said.push(String(message)))
        )
      )
      const look = Effect.scoped(acquire(file)).pipe(Effect.provide(dry))
      yield* look
      assert.isFalse(fs.existsSync(file))
      // Nobody: there is no such process, and 0 is none.
      for (const pid of [999999999, 0]) {
        fs.writeFileSync(file, `pid ${pid}, since 2025-01-01T12:00:00Z\n`)
        yield* look
      }
      assert.deepStrictEqual(said, [])
      // Nor is one from before the machine was started: somebody else has that pid now.
      fs.writeFileSync(file, `pid ${process.pid}, since 1999-01-01T12:00:00Z\n`)
      yield* look
      assert.deepStrictEqual(said, [])
      const since = utcSeconds(Date.now())
      fs.writeFileSync(file, `pid ${process.pid}, since ${since}\n`)
      // The locks of one run have one holder, which is named once.
      const twice = Effect.zipRight(acquire(file), acquire(file))
      yield* Effect.scoped(twice).pipe(Effect.provide(dry))
      assert.deepStrictEqual(said, [`another run is at work: pid ${process.pid}, since ${since}`])
    })
  )

  const holder = (last?: { readonly pid: number; readonly since: string }) =>
    Effect.flatMap(Lock, (lock) => lock.holder(file, last))

  it.live("names a holder that is alive, and nobody else", () =>
    Effect.gen(function* () {
      const now = utcSeconds(Date.now())
      const us = { pid: process.pid, since: now }
      assert.isUndefined(yield* holder(us), "no lock file")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* acquire(file)
          assert.strictEqual((yield* holder())?.pid, process.pid)
        })
      )
      assert.isUndefined(yield* holder(us), "free")
      fs.writeFileSync(file, `pid 999999999, since ${now}\n`)
      assert.isUndefined(yield* holder())
      fs.writeFileSync(file, `pid ${process.pid}, since 1999-01-01T12:00:00Z\n`)
      assert.isUndefined(yield* holder(), "from before the machine was started")
      fs.writeFileSync(file, `pid ${process.pid}, since 2099-02-30T12:00:00Z\n`)
      assert.isUndefined(yield* holder(), "no such day")
      fs.rmSync(file)
      fs.mkdirSync(file)
      assert.deepStrictEqual(yield* holder(us), us, "what cannot be read is no killed run")
      fs.rmdirSync(file)
    }).pipe(Effect.provide(real))
  )

  it.runIf(process.getuid?.() === 0)("goes by who had it last where the file may not be read", () =>
    Effect.gen(function* () {
      const us = { pid: process.pid, since: utcSeconds(Date.now()) }
      fs.writeFileSync(file, `pid 999999999, since ${us.since}\n`, { mode: 0o600 })
      fs.chmodSync(folder, 0o755)
      yield* Effect.acquireRelease(
        Effect.sync(() => process.seteuid?.(65534)),
        () => Effect.sync(() => process.seteuid?.(0))
      )
      assert.isUndefined(yield* holder())
      assert.deepStrictEqual(yield* holder(us), us)
      assert.isUndefined(yield* holder({ ...us, since: "1999-01-01T12:00:00Z" }))
    }).pipe(Effect.scoped, Effect.provide(real), Effect.runPromise)
  )

  describe.runIf(process.platform === "linux")("without the program flock", () => {
    const missing = processFake(
      () => new ProcessError({ reason: "NotFound", program: "flock", message: "flock: not found", transient: false })
    )
    const bare = Lock.layer.pipe(Layer.provide(missing.layer))
    const probe = Effect.flatMap(Lock, (lock) => lock.probe(file))

    /** Another process that has the socket of the lock file, and names itself or `text` in it. */
    const socketHolder = (text?: string) =>
      Effect.promise(async () => {
        const script = `
          const fs = require("node:fs")
          const [file, text] = process.argv.slice(1)
          fs.writeFileSync(file, text || "pid " + process.pid + ", since " + new Date().toISOString().slice(0, 19) + "Z\\n")
          const { dev, ino } = fs.statSync(file)
          const name = "\\0zipper-lock-" + dev + "-" + ino + "-".repeat(200)
          require("node:net").createServer().listen(name.slice(0, 108), () => console.log("ready"))`
        const child = spawn(process.execPath, ["-e", script, file, text ?? ""], {
          stdio: ["ignore", "pipe", "inherit"]
        })
        await new Promise((resolve) => child.stdout.once("data", resolve))
        return async () => {
          const gone = new Promise((resolve) => child.once("exit", resolve))
          child.kill("SIGKILL")
          await gone
        }
      })

    it.live("holds the lock until the scope closes, and is refused meanwhile", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* acquire(file)
            assert.include(content(), `pid ${process.pid}, since `)
            assert.strictEqual((yield* refusal(file)).message, `another run holds ${file}: ${content().trim()}`)
            assert.strictEqual((yield* Effect.flip(probe)).reason, "Held")
            // Another file is another lock.
            yield* Effect.scoped(acquire(path.join(folder, "other.lock")))
          })
        )
        assert.strictEqual(content(), "")
        yield* probe
        yield* Effect.scoped(acquire(file))
      }).pipe(Effect.provide(bare))
    )

    it.live("is refused while another process holds it, and free at once after kill -9", () =>
      Effect.gen(function* () {
        const kill = yield* socketHolder("pid 1234, since 2025-01-01T12:00:00Z\n")
        const error = yield* refusal(file)
        assert.strictEqual(error.message, `another run holds ${file}: pid 1234, since 2025-01-01T12:00:00Z`)
        yield* Effect.promise(kill)
        yield* Effect.scoped(acquire(file))
      }).pipe(Effect.provide(bare))
    )

    it.live("lets one of several in that come at the same instant", () =>
      Effect.gen(function* () {
        const come = Effect.scoped(Effect.zipRight(acquire(file), Effect.sleep("2 seconds")))
        const ends = yield* Effect.all(
          Array.from({ length: 8 }, () => Effect.either(come)),
          { concurrency: 8 }
        )
        assert.strictEqual(ends.filter(({ _tag }) => _tag === "Right").length, 1)
      }).pipe(Effect.provide(bare))
    )

    it.live("is refused by a process that has flock, and the other way round", () =>
      Effect.gen(function* () {
        const killSocket = yield* socketHolder()
        assert.strictEqual(
          (yield* refusal(file).pipe(Effect.provide(real))).message,
          `another run holds ${file}: ${content().trim()}`
        )
        yield* Effect.promise(killSocket)
        yield* Effect.scoped(acquire(file)).pipe(Effect.provide(real))
        const killFlock = yield* otherHolder("pid 1234, since 2025-01-01T12:00:00Z\n")
        assert.strictEqual((yield* refusal(file).pipe(Effect.provide(bare))).reason, "Held")
        yield* Effect.promise(killFlock)
        yield* Effect.scoped(acquire(file)).pipe(Effect.provide(bare))
      })
    )

    it.live("keeps no run out that has flock when only the name of the socket is taken", () =>
      Effect.gen(function* () {
        // As another user can, who may not write the file.
        const kill = yield* socketHolder("\n")
        yield* Effect.scoped(acquire(file)).pipe(Effect.provide(real))
        assert.include((yield* refusal(file).pipe(Effect.provide(bare))).message, "pid unknown")
        yield* Effect.promise(kill)
      })
    )
  })

  it.effect("behaves the same in memory", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(Effect.zipRight(acquire("a"), Effect.flip(Effect.scoped(acquire("a")))))
      yield* Effect.scoped(acquire("a"))
      assert.strictEqual((yield* refusal("b")).reason, "Held")
    }).pipe(Effect.provide(memoryLock(["b"])))
  )
})
