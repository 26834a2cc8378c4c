import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { parseFolderName } from "../../src/source/FolderName.ts"
import type { Mount } from "../../src/system/MountTable.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { encodeMark, type MarkedSnapshot } from "../../src/zfs/SnapshotPrune.ts"
import { groupByName, placesIn } from "../../src/zfs/TargetSnapshots.ts"
import type { ListedFileSystem } from "../../src/zfs/ZfsList.ts"

const raw = RawPath.fromLatin1
const mount = (device: string, mountpoint: string, type = "zfs", root = "/"): Mount => ({
  device,
  mountpoint: raw(mountpoint),
  type,
  root: raw(root)
})
const listed = (name: string, mountpoint: string, more: Partial<ListedFileSystem> = {}): ListedFileSystem => ({
  name,
  mountpoint: raw(mountpoint),
  canmount: "on",
  keystatus: "-",
  ...more
})

const mark = (job: string, archives = "abc") =>
  encodeMark({ host: "nas", pid: 1, start: "", run: "r", job, layout: archives })
const marked = (name: string, more: Partial<MarkedSnapshot> = {}): MarkedSnapshot => ({
  name,
  guid: name,
  createtxg: 5n,
  creation: 1000,
  holds: 0,
  clones: [],
  mark: mark("ours"),
  ...more
})

describe("placesIn", () => {
  const target = raw("/mnt/safe/out")
  const find = (mounts: ReadonlyArray<Mount>, datasets: ReadonlyArray<ListedFileSystem> = []) =>
    placesIn("safe/out", target, mounts, datasets)
  const at = (found: ReturnType<typeof find>, name: string) => {
    const folder = parseFolderName(name)
    return folder && found.get(folder)
  }

  it("finds datasets of any name that are mounted at a folder, and nothing deeper", () => {
    const found = find([
      mount("safe/out", "/mnt/safe/out"),
      mount("safe/out/docs", "/mnt/safe/out/DOCS"),
      mount("safe/elsewhere", "/mnt/safe/out/MAIL"),
      mount("safe/out/deep", "/mnt/safe/out/DOCS/deep"),
      mount("safe/out/docs@x", "/mnt/safe/out/DOCS/.zfs/snapshot/x")
    ])
    assert.deepStrictEqual(
      [...found].map(([folder, { dataset, problem }]) => [folder, dataset, problem]),
      [
        ["DOCS", "safe/out/docs", undefined],
        ["MAIL", "safe/elsewhere", undefined]
      ]
    )
  })

  it("says what no snapshot together with the target's can hold, and what is not mounted", () => {
    assert.match(at(find([mount("other/docs", "/mnt/safe/out/DOCS")]), "DOCS")?.problem ?? "", /of another pool/)
    assert.match(at(find([mount("none", "/mnt/safe/out/DOCS", "tmpfs")]), "DOCS")?.problem ?? "", /a mount of tmpfs/)
    assert.match(at(find([mount("safe/x", "/mnt/safe/out/DOCS", "zfs", "/sub")]), "DOCS")?.problem ?? "", /bind mount/)
    const away = at(find([], [listed("safe/out/docs", "/mnt/safe/out/DOCS")]), "DOCS")
    assert.deepStrictEqual([away?.mounted, away?.dataset], [false, "safe/out/docs"])
    assert.match(away?.problem ?? "", /is not mounted: zfs mount/)
    assert.strictEqual(find([], [listed("safe/out/docs", "/mnt/safe/out/DOCS", { canmount: "off" })]).size, 0)
  })
})

describe("groupByName", () => {
  const name = "auto-zip-target-20261128100000"
  const ours = new Set(["ours"])

  it("takes those of one name for one snapshot, held or cloned when one of them is", () => {
    const found = groupByName(
      [marked(`a@${name}`), marked(`a/b@${name}`, { holds: 1 }), marked(`a/c@${name}`, { clones: ["x/y"] })],
      ours
    )
    assert.strictEqual(found.length, 1)
    assert.strictEqual(found[0]?.holds, 1)
    assert.deepStrictEqual(found[0]?.clones, ["x/y"])
    assert.deepStrictEqual(
      found[0]?.members.map((member) => member.name),
      [`a@${name}`, `a/b@${name}`, `a/c@${name}`]
    )
  })

  it("never takes another's: by mark, by job and by the form of its name", () => {
    const others = [
      marked(`a@${name}`, { mark: undefined }),
      marked(`a@${name}`, { mark: "not one of ours" }),
      marked(`a@${name}`, { mark: mark("theirs") }),
      marked("a@auto-zip-20261128100000"),
      marked("a@auto-zip-target-20261128"),
      marked("a@daily")
    ]
    assert.deepStrictEqual(groupByName(others, ours), [])
    // To read from, those of another job of ours will do.
    assert.strictEqual(groupByName(others, undefined).length, 1)
  })

  it.prop(
    "loses no member and puts none into two",
    [FastCheck.array(FastCheck.tuple(FastCheck.nat(3), FastCheck.nat(3), FastCheck.bigInt(1n, 9n)))],
    ([made]) => {
      const all = made.map(([dataset, second, createtxg]) =>
        marked(`d${dataset}@auto-zip-target-2026112810000${second}`, { createtxg })
      )
      const found = groupByName(all, ours)
      assert.strictEqual(found.flatMap(({ members }) => members).length, all.length)
      assert.deepStrictEqual(new Set(found.map(({ name: one }) => one)).size, found.length)
      const order = found.map(({ createtxg }) => createtxg)
      assert.deepStrictEqual(
        order,
        order.toSorted((a, b) => Number(a - b))
      )
    }
  )
})
