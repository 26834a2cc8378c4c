import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { makePlace, type Place, start } from "../support/program/built.ts"
import { checkContent, checkTarget, checkTidy } from "../support/zip/independent.ts"

// The program as it is installed, on a real file system, killed at each operation with which it changes the target. Where that is:
// ZIPPER_KILL_IN, so that it can be on ZFS.
let place: Place
beforeAll(async () => {
  place = makePlace()
  for (const content of ["one", "two", "three"]) {
    for (const folder of ["ABCD", "EFGH"]) place.put(`${folder}/file`, `${folder} ${content}`)
    if (content !== "three") assert.strictEqual((await runIn(place.target)).status, 0)
  }
  cpSync(place.target, template(), { recursive: true, preserveTimestamps: true })
})
afterAll(() => {
  place.remove()
  if (process.env["ZIPPER_KILL_IN"] !== undefined) rmSync(where(), { recursive: true, force: true })
})

/** Which operations: some, others every time, or all of them, which takes minutes. */
const stride = process.env["ZIPPER_KILLS"] === "all" ? 1 : 12
const offset = Math.floor(Math.random() * stride)

const killer = fileURLToPath(new URL("../support/program/killAt.mjs", import.meta.url))
const where = () => join(process.env["ZIPPER_KILL_IN"] ?? place.root, "kill")
const template = () => join(place.root, "template")

/** A run with that target. `env`: what is to happen in it. */
const runIn = (target: string, env: Record<string, string> = {}) => {
  const config = `${target}.json`
  mkdirSync(target, { recursive: true })
  const keys = {
    source_path: place.source,
    target_path: target,
    snapshots: "live",
    lockfile_path: `${target}.lock`,
    log_file: `${target}.log`,
    syslog: false,
    nice: 0,
    retries: 0
  }
  writeFileSync(config, JSON.stringify(keys), { mode: 0o600 })
  return start(["run", "--config", config, "--quiet"], {
    env: { NODE_OPTIONS: `--import=${killer}`, KILL_BELOW: target, ...env }
  }).ended
}

const copy = (from: string, name: string): string => {
  const target = join(where(), name)
  for (const end of ["", ".json", ".lock", ".log"]) rmSync(`${target}${end}`, { recursive: true, force: true })
  cpSync(from, target, { recursive: true, preserveTimestamps: true })
  return target
}

/** Names of the operations of a run that is not disturbed. */
const operations = async (from: string): Promise<ReadonlyArray<string>> => {
  const target = copy(from, "counted")
  const list = join(where(), "operations")
  assert.strictEqual((await runIn(target, { KILL_COUNT: list })).status, 0)
  return readFileSync(list, "utf8").split("\n")
}

/** After a kill: archives whole; after the next run: everything as if nothing had happened. */
const recovers = async (target: string, what: string) => {
  checkTarget(target, what)
  for (const folder of ["ABCD", "EFGH"]) assert.isTrue(existsSync(join(target, folder, `${folder}.zip`)), what)
  const { status, stderr } = await runIn(target)
  assert.strictEqual(status, 0, `${what}: ${stderr}`)
  checkTarget(target, `${what}, after the next run`)
  checkTidy(target, what)
  checkContent(place.source, target, what)
}

describe("a run that is killed by SIGKILL", () => {
  it("at each operation in the target costs nothing", async () => {
    const names = await operations(template())
    assert.isAbove(names.length, 80)
    const killed = async (first: number) => {
      for (let at = first + offset; at <= names.length; at += 2 * stride) {
        const target = copy(template(), `at-${first}`)
        const what = `killed at operation ${at}, ${names[at - 1]}`
        // Two folders are at work beside each other: which operation is the Nth varies a little.
        const { status } = await runIn(target, { KILL_AT: String(at) })
        assert.notStrictEqual(status, 1, what)
        await recovers(target, what)
      }
    }
    await Promise.all([killed(1), killed(1 + stride)])
  }, 1_200_000)

  it("at each operation of the recovery from a kill in the middle of a publication costs nothing", async () => {
    const names = await operations(template())
    const committed = names.findIndex((name) => name.startsWith("rename") && name.endsWith("/commit"))
    assert.isAbove(committed, 0)
    const broken = copy(template(), "broken")
    assert.isNull((await runIn(broken, { KILL_AT: String(committed + 4) })).status)
    assert.isTrue(existsSync(join(broken, "ABCD/.publish/commit")) || existsSync(join(broken, "EFGH/.publish/commit")))
    const recovery = await operations(broken)
    const until = recovery.findLastIndex((name) => name.includes("/.publish"))
    for (let at = 1 + offset; at <= until + 1; at += stride) {
      const target = copy(broken, "again")
      const what = `killed at operation ${at} of recovery, ${recovery[at - 1]}`
      await runIn(target, { KILL_AT: String(at) })
      // And once more, a little later.
      await runIn(target, { KILL_AT: String(at + 3) })
      await recovers(target, what)
    }
  }, 1_200_000)
})
