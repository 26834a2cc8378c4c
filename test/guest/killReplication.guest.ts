import * as assert from "node:assert/strict"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { calls, chosenOf, killed, zipperWith } from "./killSupport.ts"
import { expectReplica, guidsOf, type Hosts, makeHosts, processesWith, valueOf } from "./replicationSupport.ts"
import { put, snapshotsOf, until, zfs } from "./support.ts"

// A pull as it is installed, between real pools, killed by SIGKILL: ZIPPER_KILLS=all for every call of zfs and ssh.

let hosts: Hosts
let source: string
let target: string
before(() => {
  hosts = makeHosts()
  source = `${hosts.source.name}/data`
  target = `${hosts.target.name}/r/localhost/${source}`
  zfs("create", source)
  zfs("create", `${source}/child`)
})
after(() => hosts.destroy())

let rounds = 0
/** New snapshots of the source and its child. */
const change = () => {
  rounds++
  for (const name of ["data", "data/child"]) put(path.join(hosts.source.mountpoint, name, `file ${rounds}`))
  zfs("snapshot", "-r", `${source}@${rounds}`)
}

const pull = (env: Readonly<Record<string, string>> = {}) =>
  zipperWith(
    env,
    ...["pull", "--host", "localhost", "--destination", `${hosts.target.name}/r`],
    ...["--lock", path.join(hosts.source.folder, "zipper.lock"), source]
  )

const below = (dataset: string, type: string): ReadonlyArray<string> =>
  zfs("list", "-H", "-r", "-o", "name", "-t", type, dataset)
    .split("\n")
    .filter((name) => name !== "")

/** The next run completes what was begun, and nothing of it stays behind on either end. */
const completes = async (what: string) => {
  console.log(what)
  const before_ = [source, `${source}/child`].map(snapshotsOf)
  const first = pull()
  if (first.status !== 0) {
    // What the killed run had started goes on without it, and only then there is room for another stream.
    assert.match(first.stderr, /busy|partial/, `${what}: ${first.stderr}`)
    await until("the end of what was left at work", () => processesWith(`receive`).length === 0)
    const { status, stderr } = pull()
    assert.equal(status, 0, `${what}: ${stderr}`)
  }
  for (const end of ["", "/child"]) {
    expectReplica(`${source}${end}`, `${target}${end}`)
    assert.equal(valueOf("receive_resume_token", `${target}${end}`), "-", what)
  }
  assert.deepEqual([source, `${source}/child`].map(snapshotsOf), before_, what)
  assert.deepEqual(below(target, "filesystem,volume"), [target, `${target}/child`], what)
  // Of each dataset one, of the newest.
  const marks = below(hosts.source.name, "bookmark").map((name) => valueOf("guid", name))
  const newest = [source, `${source}/child`].map((dataset) => guidsOf(dataset).at(-1))
  assert.deepEqual(marks.toSorted(), newest.toSorted(), what)
  assert.deepEqual(below(hosts.target.name, "bookmark"), [], what)
  for (const pool of [hosts.source.name, hosts.target.name]) {
    for (const snapshot of below(pool, "snapshot")) assert.equal(valueOf("userrefs", snapshot), "0", what)
  }
}

describe("a pull that is killed by SIGKILL", () => {
  for (const kind of chosenOf(["first", "later"], 1)) {
    it(`before or after a call of zfs or ssh is completed by the next one (${kind} time)`, async () => {
      const programs = calls("zfs", "ssh")
      const forget = () => kind === "later" || zfs("destroy", "-r", `${hosts.target.name}/r`)
      change()
      if (kind === "later") {
        const { status, stderr } = pull()
        assert.equal(status, 0, stderr)
        change()
      }
      const { status, stderr } = pull(programs.counting())
      assert.equal(status, 0, stderr)
      const names = programs.counted()
      const moments = chosenOf(
        (["before", "after"] as const).flatMap((when) => names.map((name, index) => ({ name, when, at: index + 1 }))),
        1
      )
      for (const { at, name, when } of moments) {
        forget()
        change()
        const what = `killed ${when} call ${at}, ${name}`
        assert.equal(pull(programs.killAt(when, at)).status, killed, what)
        await completes(what)
      }
    })
  }
})
