import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { checkContent, checkTarget, checkTidy } from "../support/zip/independent.ts"
import { calls, chosenOf, everyMoment, fileOperations, killed, zipperWith } from "./killSupport.ts"
import { makeConfig, makePool, type Pool, put, snapshotsOf, zfs } from "./support.ts"

// The archive job as it is installed, on real OpenZFS, killed by SIGKILL: ZIPPER_KILLS=all for every moment there is.

let pool: Pool
let source: string
let target: string
let config: string
const folders = ["ABCD", "EFGH"]
let rounds = 0
const change = () => {
  rounds++
  for (const folder of folders) put(path.join(source, folder, "file"), `${folder} ${rounds}`)
}

const run = (env: Readonly<Record<string, string>> = {}) => zipperWith(env, "run", "--config", config, "--quiet")

/** A change, and a run that comes to its end. */
const undisturbed = (what: string, env: Readonly<Record<string, string>> = {}) => {
  change()
  const { status, stderr } = run(env)
  assert.equal(status, 0, `${what}: ${stderr}`)
}

before(() => {
  pool = makePool()
  for (const name of ["source", "target"]) zfs("create", `${pool.name}/${name}`)
  source = path.join(pool.mountpoint, "source")
  target = path.join(pool.mountpoint, "target")
  config = makeConfig(pool.folder, {
    source_path: source,
    target_path: target,
    max_workers: 2,
    syslog: false,
    retries: 0
  })
  undisturbed("the first round")
})
after(() => pool.destroy())

/** After a kill archives are whole; after the next run all is as if nothing had happened. */
const recovers = (what: string) => {
  console.log(what)
  checkTarget(target, what)
  for (const folder of folders) assert.ok(fs.existsSync(path.join(target, folder, `${folder}.zip`)), what)
  const { status, stderr } = run()
  assert.equal(status, 0, `${what}: ${stderr}`)
  checkTarget(target, what)
  checkTidy(target, what)
  checkContent(source, target, what)
  // The base of the next comparison, and snapshot_keep more.
  assert.equal(snapshotsOf(`${pool.name}/source`).length, 2, what)
}

const numbered = (names: ReadonlyArray<string>) => names.map((name, index) => ({ name, at: index + 1 }))

/** In the guest each kill takes half a minute: one of the two without `ZIPPER_KILLS=all`. */
const ofFiles = chosenOf(["publication", "recovery"], 1)

describe("a run on OpenZFS that is killed by SIGKILL", () => {
  let operations: ReturnType<typeof fileOperations>
  let names: ReadonlyArray<string>
  before(() => {
    operations = fileOperations(target)
    undisturbed("counting", operations.counting)
    names = operations.counted()
    assert.ok(names.length > 80, `${names.length} operations`)
  })

  it("at an operation in the target costs nothing", { skip: !ofFiles.includes("publication") }, () => {
    for (const { at, name } of chosenOf(numbered(names), 1)) {
      change()
      // Two folders are at work beside each other: which operation is the Nth varies a little.
      assert.notEqual(run(operations.killAt(at)).status, 1)
      recovers(`killed at operation ${at}, ${name}`)
    }
  })

  const ofRecovery = "at an operation of the recovery from a kill in the middle of a publication costs nothing"
  it(ofRecovery, { skip: !ofFiles.includes("recovery") }, () => {
    const committed = names.findIndex((name) => /^rename .*\/commit$/.test(name))
    assert.ok(committed > 0)
    const breakOff = () => {
      change()
      assert.equal(run(operations.killAt(committed + 4)).status, killed)
    }
    breakOff()
    assert.equal(run(operations.counting).status, 0)
    const recovery = operations.counted()
    const until = recovery.findLastIndex((name) => name.includes("/.publish")) + 1
    for (const { at, name } of chosenOf(numbered(recovery.slice(0, until)), 1)) {
      breakOff()
      run(operations.killAt(at))
      // And once more, a little later.
      run(operations.killAt(at + 3))
      recovers(`killed at operation ${at} of recovery, ${name}`)
    }
  })

  it("before or after a call of zfs leaves no snapshot behind and forgets no change", () => {
    const zfsCalls = calls("zfs")
    undisturbed("counting", zfsCalls.counting())
    const list = zfsCalls.counted()
    for (const command of ["list", "snapshot", "diff", "destroy"])
      assert.ok(
        list.some((name) => name.startsWith(`zfs ${command}`)),
        list.join("\n")
      )
    const changing = numbered(list).filter(({ name }) => /^zfs (snapshot|destroy)/.test(name))
    const moments = (["before", "after"] as const).flatMap((when) =>
      (everyMoment || when === "before" ? numbered(list) : changing).map((call) => ({ ...call, when }))
    )
    for (const { at, name, when } of chosenOf(moments, 1)) {
      change()
      const what = `killed ${when} call ${at}, ${name}`
      assert.equal(run(zfsCalls.killAt(when, at)).status, killed, what)
      recovers(what)
    }
  })
})
