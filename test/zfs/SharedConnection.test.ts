import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { isRunning, Process } from "../../src/system/Process.ts"
import { type Remote, sharedConnection } from "../../src/zfs/Endpoint.ts"

const nas: Remote = { _tag: "Remote", host: "nas", options: ["Compression=yes"] }

let folder: string
const path = process.env["PATH"]

/** Puts a program called ssh before all others. It has its pid and arguments written down. */
const fakeSsh = (script: string): void => {
  const file = join(folder, "ssh")
  writeFileSync(file, `#!/bin/sh\necho $$ > "${folder}/pid"; echo "$*" > "${folder}/args"\n${script}\n`)
  chmodSync(file, 0o755)
}
const pid = (): number => Number(readFileSync(join(folder, "pid"), "utf8"))

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zipper-test-"))
  process.env["PATH"] = `${folder}:${path}`
})
afterEach(() => {
  process.env["PATH"] = path
  rmSync(folder, { recursive: true, force: true })
})

const socketOf = ({ options }: Remote): string | undefined =>
  options.find((option) => option.startsWith("ControlPath="))?.slice("ControlPath=".length)

describe("sharedConnection", () => {
  it.live("lets all commands use one connection, and ends it with the scope", () =>
    Effect.gen(function* () {
      fakeSsh('echo "welcome to nas"; echo "zipper: connected"; exec cat')
      const scope = yield* Scope.make()
      const shared = yield* sharedConnection(nas).pipe(Scope.extend(scope))
      const socket = socketOf(shared) ?? ""
      assert.include(readFileSync(join(folder, "args"), "utf8"), `-o ControlPath=${socket} `)
      assert.include(readFileSync(join(folder, "args"), "utf8"), "-o ControlMaster=yes ")
      assert.deepStrictEqual(shared.options.slice(0, -1), nas.options)
      assert.isTrue(existsSync(dirname(socket)))
      assert.isTrue(isRunning(pid()))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(isRunning(pid()))
      assert.isFalse(existsSync(dirname(socket)))
    }).pipe(Effect.provide(Process.layer))
  )

  it.live("leaves it to each command to connect, and to say what is wrong, where there is none", () =>
    Effect.gen(function* () {
      fakeSsh("echo 'ssh: connect to host nas port 22: Connection refused' >&2; exit 255")
      assert.deepStrictEqual(yield* Effect.scoped(sharedConnection(nas)), nas)
      rmSync(join(folder, "ssh"))
      process.env["PATH"] = folder
      assert.deepStrictEqual(yield* Effect.scoped(sharedConnection(nas)), nas)
    }).pipe(Effect.provide(Process.layer))
  )

  it.effect("takes no notice of what a login prints, with a newline or without", () =>
    Effect.gen(function* () {
      fakeSsh("printf '\\033]0;nas\\007'; echo 'zipper: connected'; exec cat")
      assert.isDefined(socketOf(yield* Effect.scoped(sharedConnection(nas))))
    }).pipe(Effect.provide(Process.layer))
  )

  it.effect("does not wait for ever for a login that runs something else", () =>
    Effect.gen(function* () {
      fakeSsh("exec sleep 1000")
      const waiting = yield* Effect.fork(Effect.scoped(sharedConnection(nas)))
      while (!existsSync(join(folder, "args"))) yield* Effect.promise(() => setTimeout(5))
      yield* TestClock.adjust("29 seconds")
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* Fiber.join(waiting), nas)
      assert.isFalse(isRunning(pid()))
    }).pipe(Effect.provide(Process.layer))
  )
})
