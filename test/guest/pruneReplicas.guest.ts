import * as assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { expectStatus, type Hosts, makeHosts, pictureOf, push } from "./replicationSupport.ts"
import { type Ran, snapshotsOf, zfs, zipper } from "./support.ts"

let hosts: Hosts
let source: string
let target: string
before(() => {
  hosts = makeHosts()
  source = `${hosts.source.name}/data`
  target = `${hosts.target.name}/data`
  zfs("create", source)
  for (let index = 1; index <= 6; index += 1) zfs("snapshot", `${source}@s${index}`)
  expectStatus(push(hosts, "--strip-prefix", hosts.source.name, "--destination", hosts.target.name, source), 0)
})
after(() => hosts.destroy())

const prune = (...args: ReadonlyArray<string>): Ran =>
  zipper(
    ...["prune", "--direction", "push", "--host", "localhost", "--strip-prefix", hosts.source.name],
    ...["--destination", hosts.target.name, "--lock", `${hosts.source.folder}/zipper.lock`, ...args, source]
  )
const names = () => snapshotsOf(target).map((name) => name.split("@")[1])

describe("prune", () => {
  it("without any count is refused, and so is an empty one", () => {
    const before = pictureOf(target)
    expectStatus(prune(), 2)
    expectStatus(prune("--hourly", "0"), 2)
    assert.equal(pictureOf(target), before)
  })

  it("changes nothing in a dry run", () => {
    const before = pictureOf(target)
    const ran = expectStatus(prune("--dry-run", "--hourly", "1"), 0)
    assert.match(ran.stdout, /would destroy .*@s1/)
    assert.equal(pictureOf(target), before)
  })

  it("destroys nothing when the source cannot be asked", () => {
    const before = pictureOf(target)
    expectStatus(prune("--host", "nobody@localhost", "--hourly", "1"), 3)
    assert.equal(pictureOf(target), before)
  })

  it("keeps what is held, cloned, the newest, and the newest that the source still has", () => {
    zfs("hold", "keep", `${target}@s1`)
    zfs("clone", `${target}@s2`, `${target}-clone`)
    for (const gone of ["s5", "s6"]) zfs("destroy", `${source}@${gone}`)
    expectStatus(prune("--hourly", "1"), 0)
    assert.deepEqual(names(), ["s1", "s2", "s4", "s6"])
    zfs("release", "keep", `${target}@s1`)
    zfs("destroy", `${target}-clone`)
    expectStatus(prune("--hourly", "1"), 0)
    assert.deepEqual(names(), ["s4", "s6"])
  })
})
