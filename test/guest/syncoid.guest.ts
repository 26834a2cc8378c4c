import * as assert from "node:assert/strict"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { expectStatus, guidsOf, type Hosts, makeHosts, push } from "./replicationSupport.ts"
import { put, type Ran, sh, snapshotsOf, zfs } from "./support.ts"

/** The same source to two targets, one by syncoid and one by zipper: the same state, or a better refusal. */
let hosts: Hosts
before(() => {
  hosts = makeHosts()
})
after(() => hosts.destroy())

let count = 0
const sides = () => {
  const name = `n${++count}`
  const source = `${hosts.source.name}/${name}`
  zfs("create", source)
  const theirs = `${hosts.target.name}/theirs-${name}`
  const ours = `${hosts.target.name}/ours/${name}`
  const next = (snapshot: string) => {
    put(path.join(hosts.source.mountpoint, name, snapshot))
    zfs("snapshot", `${source}@${snapshot}`)
  }
  const syncoid = () => sh("sh", "-c", 'syncoid --no-sync-snap --quiet "$0" "root@localhost:$1" 2>&1', source, theirs)
  const zipper = (...args: ReadonlyArray<string>): Ran =>
    push(
      hosts,
      "--no-raw",
      "--strip-prefix",
      hosts.source.name,
      "--destination",
      `${hosts.target.name}/ours`,
      ...args,
      source
    )
  const same = () => assert.deepEqual(guidsOf(ours), guidsOf(theirs))
  return { source, ours, theirs, next, syncoid, zipper, same }
}

describe("the same as syncoid", () => {
  it("first, again, and with new snapshots", () => {
    const { next, same, syncoid, zipper } = sides()
    for (const snapshot of ["a", "b", "c"]) next(snapshot)
    for (let round = 0; round < 2; round += 1) {
      syncoid()
      expectStatus(zipper(), 0)
      same()
    }
    next("d")
    next("e")
    syncoid()
    expectStatus(zipper(), 0)
    same()
  })

  it("goes on with a replica that syncoid began", () => {
    const { next, ours, source, syncoid, theirs, zipper } = sides()
    next("a")
    syncoid()
    zfs("create", "-p", "-o", "canmount=off", path.dirname(ours))
    zfs("rename", theirs, ours)
    next("b")
    expectStatus(zipper(), 0)
    assert.deepEqual(guidsOf(ours), guidsOf(source))
    zfs("rename", ours, theirs)
    next("c")
    syncoid()
    assert.deepEqual(guidsOf(theirs), guidsOf(source))
  })

  it("where the source was rolled back, ours refuses and theirs destroys what only the target has", () => {
    const { next, ours, source, syncoid, theirs, zipper } = sides()
    next("a")
    next("b")
    syncoid()
    expectStatus(zipper(), 0)
    zfs("rollback", "-r", `${source}@a`)
    next("c")
    syncoid()
    assert.deepEqual(
      snapshotsOf(theirs).map((name) => name.split("@")[1]),
      ["a", "c"]
    )
    const refused = expectStatus(zipper(), 4)
    assert.match(refused.stderr, /@b|\bb\b/)
    assert.deepEqual(
      snapshotsOf(ours).map((name) => name.split("@")[1]),
      ["a", "b"]
    )
    expectStatus(zipper("--rollback"), 0)
    assert.deepEqual(guidsOf(ours), guidsOf(theirs))
  })
})
