import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import {
  decodeMark,
  encodeMark,
  type MarkedSnapshot,
  type PruneRules,
  type SnapshotMark,
  select
} from "../../src/zfs/SnapshotPrune.ts"

const text = FastCheck.string({ maxLength: 12 })
const mark: FastCheck.Arbitrary<SnapshotMark> = FastCheck.record(
  {
    host: FastCheck.constantFrom("nas", "other"),
    pid: FastCheck.integer({ min: 1, max: 5 }),
    start: text,
    run: text,
    job: FastCheck.constantFrom("ours", "formerly ours", "another"),
    layout: text,
    target: text
  },
  { requiredKeys: ["host", "pid", "start", "run", "job", "layout"] }
)
const snapshot: FastCheck.Arbitrary<MarkedSnapshot> = FastCheck.record({
  name: FastCheck.constantFrom(
    "auto-zip-20250101120000",
    "auto-zip-20250101130000",
    "auto-zip-1",
    "weekly",
    "auto-zip-20250101120000x"
  ).map((name) => `tank/data@${name}`),
  guid: FastCheck.integer({ min: 1, max: 20 }).map(String),
  createtxg: FastCheck.bigInt({ min: 1n, max: 2n ** 64n }),
  creation: FastCheck.nat(),
  holds: FastCheck.constantFrom(0, 0, 0, 1),
  clones: FastCheck.constantFrom([], [], [], ["tank/clone"]),
  mark: FastCheck.option(
    FastCheck.oneof({ weight: 4, arbitrary: mark.map(encodeMark) }, { weight: 1, arbitrary: text }),
    { nil: undefined }
  )
})
const rules: PruneRules = {
  prefix: "auto-zip",
  jobs: new Set(["ours", "formerly ours"]),
  keep: new Set(["1", "2", "3"]),
  alive: ({ pid }) => pid < 3
}

/** The rule in other words: everything that must be true of a snapshot before it may be destroyed. */
const mayGo = (each: MarkedSnapshot) => {
  const of = each.mark === undefined ? undefined : decodeMark(each.mark)
  return (
    (of?.job === "ours" || of?.job === "formerly ours") &&
    of.pid >= 3 &&
    !["1", "2", "3"].includes(each.guid) &&
    /@auto-zip-20250101\d{6}$/.test(each.name)
  )
}

describe("SnapshotMark", () => {
  it.prop("reads back what it wrote", [mark], ([given]) => assert.deepStrictEqual(decodeMark(encodeMark(given)), given))

  it("reads one of a version that did not say where archives go, and leaves out a path that is too long", () => {
    const given = { host: "nas", pid: 1, start: "s", run: "r", job: "j", layout: "l" }
    assert.deepStrictEqual(decodeMark("host=nas,pid=1,start=s,run=r,job=j,layout=l"), given)
    assert.deepStrictEqual(decodeMark(encodeMark({ ...given, target: `/${"ä".repeat(2000)}` })), given)
  })

  it.prop("fits in a property: one line, no tab", [mark], ([given]) => /^[!-~]*$/.test(encodeMark(given)))

  it.prop("understands nothing else, and breaks on nothing", [text], ([given]) => decodeMark(given) === undefined)

  it("does not take a broken value for a mark", () => {
    for (const value of [
      "-",
      "",
      "host=a,pid=1",
      "host=%E0,pid=1,start=,run=,job=,layout=",
      "host=a,pid=1,start=s,run=r,job=j,layout=l,x=y"
    ]) {
      assert.isUndefined(decodeMark(value), value)
    }
  })
})

describe("SnapshotPrune", () => {
  it.prop(
    "destroys only what is ours, of this job, dead, not kept, held or cloned: all of that, oldest first",
    [FastCheck.array(snapshot)],
    ([all]) => {
      const { destroy, spare } = select(all, rules)
      const expected = all.filter(mayGo)
      assert.sameMembers(
        destroy.concat(),
        expected.filter(({ clones, holds }) => holds === 0 && clones.length === 0)
      )
      assert.strictEqual(destroy.length + spare.length, expected.length)
      for (let i = 1; i < destroy.length; i++) {
        assert.isTrue((destroy[i - 1]?.createtxg ?? 0n) <= (destroy[i]?.createtxg ?? 0n))
      }
    }
  )

  it("says why one is spared", () => {
    const base: MarkedSnapshot = {
      name: "tank/data@auto-zip-20250101120000",
      guid: "9",
      createtxg: 1n,
      creation: 0,
      holds: 0,
      clones: [],
      mark: encodeMark({ host: "nas", pid: 4, start: "", run: "r", job: "ours", layout: "" })
    }
    const { spare } = select(
      [
        { ...base, holds: 2 },
        { ...base, clones: ["tank/a", "tank/b"] }
      ],
      rules
    )
    assert.match(spare[0]?.reason ?? "", /held; zfs holds 'tank\/data@auto-zip-20250101120000'/)
    assert.match(spare[1]?.reason ?? "", /clones: tank\/a, tank\/b/)
    assert.strictEqual(select([base], rules).destroy.length, 1)
  })
})
