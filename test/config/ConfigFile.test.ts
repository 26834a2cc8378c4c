import { execFileSync } from "node:child_process"
import { chmodSync, closeSync, constants, mkdirSync, openSync, writeFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import { example } from "../../src/config/ConfigExample.ts"
import { ConfigFile } from "../../src/config/ConfigFile.ts"
import { temporaryFolder } from "../support/program/log.ts"

const good = {
  source_path: "/tank/source",
  target_path: "/tank/target",
  gotify: { url: "https://gotify.example.com/message", token: "InTheFile" }
}

const load = (path: string, env: Readonly<Record<string, string>> = {}) =>
  Effect.flatMap(ConfigFile, (file) => file.load(path)).pipe(
    Effect.provide(ConfigFile.layer),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env))))
  )

const written = Effect.fnUntraced(function* (content: string | Uint8Array, mode = 0o600, name = "config.json") {
  const path = join(yield* temporaryFolder, name)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
})

const tokenOf = (env: Readonly<Record<string, string>>, gotify: object) =>
  Effect.gen(function* () {
    const path = yield* written(JSON.stringify({ ...good, gotify: { ...good.gotify, ...gotify } }))
    const { config } = yield* load(path, env)
    return config.gotify === undefined ? undefined : Redacted.value(config.gotify.token)
  })

describe("ConfigFile", () => {
  it.scoped("loads a file, with a byte order mark too", () =>
    Effect.gen(function* () {
      const { config, warnings } = yield* load(yield* written(`\ufeff${JSON.stringify(good)}`))
      assert.strictEqual(config.source_path, "/tank/source")
      assert.strictEqual(String(config.gotify?.token), "<redacted>")
      assert.deepStrictEqual(warnings, [])
    })
  )

  it.scoped("takes the token from the environment, else from its file, else from the configuration", () =>
    Effect.gen(function* () {
      const token_file = yield* written("FromItsFile\n", 0o600, "token")
      const env = { ZIPPER_GOTIFY_TOKEN: "FromTheEnvironment" }
      assert.strictEqual(yield* tokenOf(env, { token_file }), "FromTheEnvironment")
      assert.strictEqual(yield* tokenOf({}, { token_file }), "FromItsFile")
      assert.strictEqual(yield* tokenOf({ ZIPPER_GOTIFY_TOKEN: "" }, {}), "InTheFile")
      assert.strictEqual(yield* tokenOf(env, { token_file: "/nowhere/token" }), "FromTheEnvironment")
    })
  )

  it.scoped("loads the example once there is a token", () =>
    Effect.gen(function* () {
      const path = yield* written(example)
      const { issues } = yield* Effect.flip(load(path))
      assert.deepStrictEqual(issues, [
        "gotify.token: is still REPLACE_WITH_TOKEN; put the token of your Gotify application there"
      ])
      const { config } = yield* load(path, { ZIPPER_GOTIFY_TOKEN: "Abc" })
      assert.strictEqual(config.tmp_dir, "/mnt/tank/tmp")
    })
  )

  it.scoped("does without Gotify", () =>
    Effect.gen(function* () {
      const { gotify: _, ...rest } = good
      const { config } = yield* load(yield* written(JSON.stringify(rest)), {
        ZIPPER_GOTIFY_TOKEN: "not a token"
      })
      assert.notProperty(config, "gotify")
    })
  )

  it.scoped("says what is wrong with a token from elsewhere, without showing it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const fail = (env: Readonly<Record<string, string>>, gotify: object) =>
        tokenOf(env, gotify).pipe(
          Effect.flip,
          Effect.map(({ issues }) => issues.join("\n"))
        )
      assert.match(yield* fail({ ZIPPER_GOTIFY_TOKEN: "two words" }, {}), /^ZIPPER_GOTIFY_TOKEN: holds no token/)
      assert.match(yield* fail({ ZIPPER_GOTIFY_TOKEN: "REPLACE_WITH_TOKEN" }, {}), /is still REPLACE_WITH_TOKEN/)
      assert.strictEqual(
        yield* fail({}, { token_file: "/nowhere/token" }),
        "gotify.token_file: /nowhere/token: does not exist"
      )
      assert.match(yield* fail({}, { token_file: folder }), /is a folder; expected a file$/)
      const two = yield* written("hush\nhush", 0o600, "token")
      const message = yield* fail({}, { token_file: two })
      assert.match(message, /holds no token/)
      assert.notInclude(message, "hush")
    })
  )

  it.scoped("warns of files with secrets that others can read", () =>
    Effect.gen(function* () {
      const open = yield* written(JSON.stringify(good), 0o644)
      assert.deepStrictEqual((yield* load(open)).warnings, [
        `${open} can be read by others (mode 0644) and holds a secret: chmod 600`
      ])
      const token_file = yield* written("Abc", 0o640, "token")
      const without = yield* written(JSON.stringify({ ...good, gotify: { url: good.gotify.url, token_file } }), 0o644)
      assert.deepStrictEqual((yield* load(without)).warnings, [
        `${token_file} can be read by others (mode 0640) and holds a secret: chmod 600`
      ])
      const closed = yield* written(JSON.stringify(good), 0o600)
      assert.deepStrictEqual((yield* load(closed)).warnings, [])
      assert.deepStrictEqual((yield* load(yield* written(example, 0o644), { ZIPPER_GOTIFY_TOKEN: "a" })).warnings, [])
    })
  )

  it.scopedLive("reads a pipe whose writer comes later, and can be stopped while none comes", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "fifo")
      execFileSync("mkfifo", [path])
      const first = yield* Effect.fork(load(path))
      yield* Effect.sleep(100)
      yield* Effect.promise(() => writeFile(path, JSON.stringify(good)))
      assert.strictEqual((yield* Fiber.join(first)).config.source_path, "/tank/source")
      const second = yield* Effect.fork(load(path))
      yield* Effect.sleep(100)
      yield* Fiber.interrupt(second)
    })
  )

  it.scopedLive("waits for no writer that cannot come, and not long for one that may", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "fifo")
      execFileSync("mkfifo", [path])
      const refused = (of: string) => Effect.timed(Effect.flip(load(of)))
      const [waited, named] = yield* refused(path)
      assert.strictEqual(named.message, `${path}: is a fifo that no process writes to`)
      assert.isBelow(Duration.toSeconds(waited), 8)
      // Both ends of it are this process: as a pipe whose writer ended without a word.
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const [atOnce, inherited] = yield* refused(`/dev/fd/${fd}`)
      closeSync(fd)
      assert.include(inherited.message, "is empty")
      assert.isBelow(Duration.toSeconds(atOnce), 2)
    })
  )

  it.scoped("says why a file cannot be read", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const issue = (path: string) =>
        load(path).pipe(
          Effect.flip,
          Effect.map(({ issues }) => issues.join("\n"))
        )
      assert.match(yield* issue(join(folder, "none.json")), /^does not exist$/)
      mkdirSync(join(folder, "sub"))
      assert.strictEqual(yield* issue(join(folder, "sub")), "is a folder; expected a file")
      assert.strictEqual(yield* issue(yield* written(new Uint8Array([0x7b, 0xff, 0x7d]))), "is not UTF-8 text")
      const text = JSON.stringify(good)
      const utf16 = Buffer.from(text, "utf16le")
      const utf32 = Buffer.concat(Array.from(text, (letter) => Buffer.from([...Buffer.from(letter), 0, 0, 0])))
      for (const [encoding, content] of [
        ["UTF-16", utf16],
        ["UTF-16", Buffer.from(`\ufeff${text}`, "utf16le")],
        ["UTF-16", Buffer.from(utf16).swap16()],
        ["UTF-16", Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
        ["UTF-32", utf32],
        ["UTF-32", Buffer.concat([Buffer.from([0xff, 0xfe, 0, 0]), utf32])],
        ["UTF-32", Buffer.from(utf32).swap32()]
      ] as const) {
        assert.strictEqual(yield* issue(yield* written(content)), `is written in ${encoding}; save it as UTF-8`)
      }
      assert.match(yield* issue("/dev/zero"), /larger than 1 MiB/)
      assert.match(yield* issue(yield* written("")), /^is empty; zipper config init/)
    })
  )

  it.scoped("shows line, column and text of a syntax error, but no line with a secret", () =>
    Effect.gen(function* () {
      const issue = (text: string) =>
        Effect.flatMap(written(text), load).pipe(
          Effect.flip,
          Effect.map(({ issues }) => issues.join("\n"))
        )
      assert.strictEqual(
        yield* issue('{\n  "nice": 10\n  "retries": 3\n}'),
        'not valid JSON, line 3, column 3: a comma or } should be here: "retries": 3'
      )
      assert.strictEqual(
        yield* issue('{ "gotify": { "token": "hush" "priority": 5 } }'),
        "not valid JSON, line 1, column 31: a comma or } should be here"
      )
      assert.notInclude(yield* issue('{ "token":\n  "hush" x }'), "hush")
      assert.notInclude(yield* issue('{ "ping_url": 5hush'), "hush")
      assert.match(yield* issue('{ "nice": 1,\n "nice": 2 }'), /line 2, column 2: the key "nice" is here a second time/)
    })
  )

  it.scoped("puts all mistakes into one message", () =>
    Effect.gen(function* () {
      const path = yield* written(JSON.stringify({ ...good, nice: 50, retires: 3 }))
      const error = yield* Effect.flip(load(path))
      assert.strictEqual(
        error.message,
        `${path}: 2 mistakes\n- nice: 50 is not a whole number from -20 to 19\n- retires: unknown key; did you mean retries?`
      )
      const one = yield* Effect.flip(load("/nowhere.json"))
      assert.strictEqual(one.message, "/nowhere.json: does not exist")
    })
  )
})
