import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { buildSync } from "esbuild"
import * as Log from "../../src/system/Log.ts"
import { RotatingFile } from "../../src/system/RotatingFile.ts"
import { ProcessError } from "../../src/system/supervise.ts"
import { failingCloseSyncs } from "../support/program/fileHandles.ts"
import { capturedLog, temporaryFolder } from "../support/program/log.ts"

const read = (path: string) => fs.readFileSync(path, "utf8")

const linesOf = (path: string) => (fs.existsSync(path) ? read(path).split("\n").slice(0, -1) : [])

const file = (path: string, more: { readonly maxBytes?: number; readonly keep?: number } = {}) =>
  Log.layerFile({ path, maxBytes: 1_000_000, keep: 3, runId: "ab12cd", ...more })

describe("Log file", () => {
  it.scoped("has a logfmt line for each record, on disk at once", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      yield* TestClock.setTime(Date.UTC(2025, 0, 1, 12, 0, 0, 123))
      yield* Effect.gen(function* () {
        yield* Effect.logInfo("archived", 3, { files: [1] }).pipe(
          Effect.annotateLogs({
            folder: "ABCD",
            dataset: "tank/a",
            bytes: 12,
            why: 'said "so"',
            "odd key=": "x",
            token: Redacted.make("hush")
          })
        )
        assert.deepStrictEqual(linesOf(path), [
          'time=2025-01-01T12:00:00.123Z level=info run=ab12cd folder=ABCD dataset=tank/a msg="archived 3 {\\"files\\":[1]}" bytes=12 odd_key_=x token="<redacted>" why="said \\"so\\""'
        ])
        yield* Effect.logWarning("two\nlines\r\n\ttab \x1b[31m \u2028 \x85 é 🚨").pipe(
          Effect.annotateLogs("run", "other")
        )
        yield* Effect.logError("failed", new Error("no space"))
        yield* Effect.logDebug("not asked for")
      }).pipe(Effect.provide(file(path)))
      assert.deepStrictEqual(linesOf(path).slice(1), [
        'time=2025-01-01T12:00:00.123Z level=warning run=other msg="two\\nlines\\r\\n\\ttab \\u001b[31m \\u2028 \\u0085 é 🚨"',
        'time=2025-01-01T12:00:00.123Z level=error run=ab12cd msg="failed no space"'
      ])
    })
  )

  it.scoped("is one line a record, whatever the record says", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      const texts = FastCheck.sample(FastCheck.tuple(FastCheck.fullUnicodeString(), FastCheck.string()), 200)
      yield* Effect.forEach(texts, ([message, value]) =>
        Effect.logInfo(message).pipe(Effect.annotateLogs("key", value))
      ).pipe(Effect.provide(file(path)))
      const lines = linesOf(path)
      assert.strictEqual(lines.length, texts.length)
      for (const [n, line] of lines.entries()) {
        assert.match(line, /^time=\S+ level=info run=ab12cd msg="(?:[^"\\]|\\.)*" key=(?:[^" ]+|"(?:[^"\\]|\\.)*")$/u)
        const quoted = /msg=("(?:[^"\\]|\\.)*")/u.exec(line)?.[1] ?? ""
        assert.strictEqual(JSON.parse(quoted), texts[n]?.[0])
      }
    })
  )

  it.scoped("tells of a cause: a failure's message, a defect's stack", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      yield* Effect.gen(function* () {
        yield* Effect.fail(
          new ProcessError({ reason: "Other", program: "zfs", message: "zfs broke", transient: false })
        ).pipe(Effect.catchAllCause((cause) => Effect.logError("step failed", cause)))
        yield* Effect.die(new Error("bug")).pipe(Effect.catchAllCause((cause) => Effect.logError(cause)))
      }).pipe(Effect.provide(file(path)))
      const [failure, defect] = linesOf(path)
      assert.match(failure ?? "", /msg="step failed" error="zfs broke"$/)
      assert.match(defect ?? "", /error="Error: bug\\n {4}at /)
    })
  )

  it.scoped("is made with mode 0640 less the umask", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const made = (mask: number, name: string) => {
        const before = process.umask(mask)
        const log = new RotatingFile({ path: join(folder, name), maxBytes: 1000, keep: 1 })
        log.append("x")
        log.close()
        process.umask(before)
        return fs.statSync(join(folder, name)).mode & 0o777
      }
      assert.strictEqual(made(0o000, "a"), 0o640)
      assert.strictEqual(made(0o077, "b"), 0o600)
    }).pipe(Effect.provide(Layer.empty))
  )

  it.scoped("never grows past its limit, and keeps the newest lines in order", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const lengths = FastCheck.array(FastCheck.integer({ min: 1, max: 120 }), {
        minLength: 1,
        maxLength: 80
      })
      let n = 0
      FastCheck.assert(
        FastCheck.property(
          lengths,
          FastCheck.integer({ min: 50, max: 400 }),
          FastCheck.nat(4),
          (sizes, maxBytes, keep) => {
            const path = join(folder, `log-${n++}`)
            const log = new RotatingFile({ path, maxBytes, keep })
            const all = sizes.map((size, index) => `${index} ${"x".repeat(size)}`)
            for (const line of all) log.append(line)
            log.close()
            const names = [...Array(keep)].map((_, index) => `${path}.${keep - index}`).concat(path)
            for (const name of names.filter((it) => fs.existsSync(it))) {
              assert.isTrue(fs.statSync(name).size <= maxBytes || linesOf(name).length === 1)
            }
            const kept = names.flatMap(linesOf)
            assert.deepStrictEqual(kept, all.slice(all.length - kept.length))
            assert.isFalse(fs.existsSync(`${path}.${keep + 1}`) || fs.existsSync(`${path}.0`))
            // Not one more is lost than must be: with room for another file, everything is there.
            if (keep > 0 && !fs.existsSync(`${path}.${keep}`)) assert.strictEqual(kept.length, all.length)
          }
        ),
        { numRuns: 60 }
      )
    })
  )

  it.scoped("shares the file with another process, and follows a rotation by somebody else", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      const settings = { path, maxBytes: 300, keep: 99 }
      const [one, two] = [new RotatingFile(settings), new RotatingFile(settings)]
      for (let n = 0; n < 200; n++) (n % 3 === 0 ? one : two).append(`time=${n}`)
      fs.renameSync(path, `${path}.elsewhere`)
      one.append("after")
      assert.deepStrictEqual(linesOf(path), ["after"])
      const all = fs.readdirSync(join(path, "..")).flatMap((name) => linesOf(join(path, "..", name)))
      assert.strictEqual(new Set(all).size, 201)
      assert.strictEqual(all.length, 201)
      one.close()
      two.close()
    })
  )

  it.scoped("loses no line to another process that rotates at the same time", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const program = join(folder, "writer.mjs")
      const path = join(folder, "logs", "log")
      fs.mkdirSync(join(folder, "logs"))
      buildSync({
        stdin: {
          contents: `import { RotatingFile } from "./src/system/RotatingFile.ts"
            const log = new RotatingFile({ path: ${JSON.stringify(path)}, maxBytes: 2000, keep: 99 })
            for (let n = 0; n < 400; n++) log.append("time=" + process.argv[2] + " " + n + " " + "x".repeat(40))`,
          resolveDir: process.cwd()
        },
        bundle: true,
        platform: "node",
        format: "esm",
        outfile: program
      })
      const writers = ["a", "b", "c", "d"].map((who) => spawn(process.execPath, [program, who]))
      yield* Effect.forEach(
        writers,
        (writer) =>
          Effect.async<void>((resume) => {
            if (writer.exitCode !== null) resume(Effect.void)
            writer.on("close", () => resume(Effect.void))
          }),
        { concurrency: "unbounded" }
      )
      const all = fs.readdirSync(join(folder, "logs")).flatMap((name) => linesOf(join(folder, "logs", name)))
      assert.strictEqual(all.length, 1600)
      // What was put aside was full: none was taken for another that had just been put aside.
      const aside = fs.readdirSync(join(folder, "logs")).filter((name) => name !== "log")
      for (const name of aside) assert.isAbove(fs.statSync(join(folder, "logs", name)).size, 1900, name)
      assert.strictEqual(new Set(all).size, 1600)
    })
  )

  it.scoped("waits for no other process to rotate, and for a dead one not at all", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      const log = new RotatingFile({ path, maxBytes: 10, keep: 1 })
      fs.writeFileSync(`${path}.rotating`, "")
      log.append("12345678")
      log.append("more")
      assert.deepStrictEqual(linesOf(path), ["12345678", "more"])
      fs.utimesSync(`${path}.rotating`, 0, 0)
      log.append("new")
      log.close()
      assert.deepStrictEqual(linesOf(path), ["new"])
      assert.isFalse(fs.existsSync(`${path}.rotating`))
    })
  )

  it.scoped("goes on after a crash in the middle of a rotation", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      fs.writeFileSync(`${path}.0`, "put aside\n")
      fs.writeFileSync(`${path}.1`, "older\n")
      const log = new RotatingFile({ path, maxBytes: 10, keep: 3 })
      log.append("12345678")
      log.append("new")
      log.close()
      assert.deepStrictEqual(
        [path, `${path}.1`, `${path}.2`, `${path}.3`].map((name) => linesOf(name).join()),
        ["new", "12345678", "put aside", "older"]
      )
    })
  )

  it.scoped("that cannot be closed is a warning and no failure", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      const log = capturedLog()
      yield* failingCloseSyncs
      yield* Effect.logInfo("line").pipe(Effect.provide(file(path)), Effect.provide(log.layer))
      assert.match(log.lines.join("\n"), /^Info: line\nWarning: log file .* may lack its last lines: .*EIO/)
      assert.strictEqual(linesOf(path).length, 1)
    })
  )

  it.scoped("once closed, is not opened again for a late line", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      const log = new RotatingFile({ path, maxBytes: 1000, keep: 1 })
      log.append("in time")
      log.close()
      log.append("late")
      log.close()
      assert.deepStrictEqual(linesOf(path), ["in time"])
    })
  )

  it.scoped("loses no line when it cannot be rotated, and says so once", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "zipper.log")
      fs.mkdirSync(`${path}.1`)
      const log = capturedLog()
      yield* Effect.forEach([1, 2, 3, 4], (n) => Effect.logInfo(`line ${n}`)).pipe(
        Effect.provide(Layer.mergeAll(log.layer, file(path, { maxBytes: 100, keep: 1 })))
      )
      assert.strictEqual([...linesOf(`${path}.0`), ...linesOf(path)].length, 4)
      assert.deepStrictEqual(
        log.lines.filter((line) => line.startsWith("Warning")),
        [`Warning: log file ${path} cannot be rotated and goes on growing: is a directory (EISDIR)`]
      )
    })
  )

  it.scoped("that cannot be written is one warning and no failure", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      fs.writeFileSync(join(folder, "victim"), "precious\n")
      fs.symlinkSync(join(folder, "victim"), join(folder, "link"))
      execFileSync("mkfifo", [join(folder, "fifo")])
      const cases = [
        [join(folder, "link"), /is a symbolic link, or too many of them \(ELOOP\)$/],
        [join(folder, "fifo"), /ENXIO/],
        [folder, /is a directory \(EISDIR\)$/],
        [join(folder, "victim", "log"), /not a directory \(ENOTDIR\)$/],
        [join(folder, "none", "log"), /no such file or directory \(ENOENT\)$/],
        ["/dev/full", /no space left on the device \(ENOSPC\)$/]
      ] as const
      for (const [path, expected] of cases) {
        const log = capturedLog()
        yield* Effect.forEach([1, 2, 3], (n) =>
          Effect.logInfo(`line ${n}`).pipe(Effect.annotateLogs("folder", "ABCD"))
        ).pipe(Effect.provide(Layer.mergeAll(log.layer, file(path))))
        const warnings = log.lines.filter((line) => line.startsWith("Warning"))
        assert.strictEqual(warnings.length, 1, path)
        assert.include(warnings[0], `log file ${path} cannot be written, lines are missing from it: `)
        assert.match(warnings[0] ?? "", expected)
        assert.strictEqual(log.lines.length, 4)
      }
      assert.strictEqual(read(join(folder, "victim")), "precious\n")
    })
  )

  it.scoped("leaves a file that is no log as it is, and goes on with one of another program", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const logTo = Effect.fnUntraced(function* (name: string, before: string) {
        const path = join(folder, name)
        fs.writeFileSync(path, before)
        const log = capturedLog()
        // Rotation would rename it, and remove it in the end.
        yield* Effect.logInfo("line").pipe(Effect.provide(Layer.mergeAll(log.layer, file(path, { maxBytes: 10 }))))
        return { names: fs.readdirSync(folder).filter((each) => each.startsWith(name)), log: log.lines, path }
      })
      for (const [name, text] of [
        ["zipper.json", '{\n  "source_path": "/mnt/tank/data" }\n'],
        ["fstab", "UUID=0a3c / ext4 defaults 0 1\n"],
        ["settings.json", '\n{ "source_path": "/mnt/tank/data" }\n'],
        ["history.jsonl", '{"version":1,"started_at_utc":"2025-01-01T12:00:00Z"}\n'],
        ["script", "t\n#!/bin/sh\n"],
        ["rules.v4", "# Generated by iptables-save v1.8.9 on Sun Nov 29 19:14:02 2026\n"],
        ["leases", "1795236482 02:42:ac:11:00:02 192.168.1.7 nas *\n"],
        ["ethers", "02:42:10:11:00:02 nas\n"],
        ["mail", "From root@nas Sun Nov 29 19:14:02 2026\n"],
        ["one line", '{"debug":true}\n'],
        ["note", "# Information for admins\n"],
        ["ini", "[info]\nname=x\ntime=12\n"],
        ["words", "criteria;weight\n"],
        ["disk.img", "\0".repeat(70_000)],
        ["ABCD.zip", "PK\x03\x04\0\0"]
      ] as const) {
        const { log, names, path } = yield* logTo(name, text)
        assert.deepStrictEqual(names, [name])
        assert.strictEqual(read(path), text)
        assert.include(log.join("\n"), `${path} cannot be written, lines are missing from it: its first line is not`)
      }
      for (const [name, text] of [
        ["empty", ""],
        ["torn", "tim"],
        ["ours", "time=2025-01-01T12:00:00.123Z level=info\n"],
        ["python", "2025-01-01 12:00:00,123 INFO zip ABCD\n"],
        ["cron", "error: c.json: source_path: is missing\n"],
        ["redirected", "* ABCD: archived 1 file\ntime=2025-01-01T12:00:00Z level=info\n"],
        ["redirected, UTF-8", "🚨 ABCD: failed\n"],
        ["clock", "12:00:00 archived ABCD\n"],
        ["iso", "2025-01-01T12:00:00Z archived ABCD\n"],
        ["access", '192.168.1.7 - - [29/Nov/2026:19:14:02 +0000] "GET / HTTP/1.1" 200\n'],
        ["cut", "ded ABCD\ntime=2025-01-01T12:00:00.123Z level=info\n"],
        ["root", "INFO:root:archived ABCD\n"],
        ["banner", "zipper on nas\ntime=2025-01-01T12:00:00.123Z level=info\n"],
        ["power cut", `${"\0".repeat(4096)}time=2025-01-01T12:00:00.123Z level=info\n`],
        ["zeros", "\0".repeat(4096)],
        ["newsyslog", "Jan  1 12:00:00 nas newsyslog[12]: logfile turned over\n"]
      ] as const) {
        const { log, names } = yield* logTo(name, text)
        assert.deepStrictEqual(log, ["Info: line"], name)
        assert.deepStrictEqual(names, text === "" ? [name] : [name, `${name}.1`])
      }
    })
  )

  it.scoped("is written again as soon as that is possible", () =>
    Effect.gen(function* () {
      const folder = join(yield* temporaryFolder, "later")
      const log = capturedLog()
      yield* Effect.gen(function* () {
        yield* Effect.logInfo("one")
        fs.mkdirSync(folder)
        yield* Effect.logInfo("two")
      }).pipe(Effect.provide(Layer.mergeAll(log.layer, file(join(folder, "log")))))
      assert.match(linesOf(join(folder, "log")).join(), /msg="two"$/)
    })
  )
})
