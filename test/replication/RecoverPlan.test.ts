import { describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { assert } from "vitest"
import {
  chooseSnapshots,
  keyProblem,
  keysOf,
  planRecovery,
  type RecoveryPlan,
  replicaOf,
  settingsFor,
  unlocking
} from "../../src/replication/RecoverPlan.ts"
import type { Snapshot, SourceDataset } from "../../src/zfs/Dataset.ts"
import { job } from "../support/replication/replication.ts"
import { snapshot } from "../support/replication/replicationEnds.ts"

const dataset = (
  name: string,
  snapshots: ReadonlyArray<Snapshot>,
  more: Partial<SourceDataset> = {}
): SourceDataset => ({
  name,
  kind: "filesystem",
  guid: `guid of ${name}`,
  encrypted: false,
  key: undefined,
  snapshots,
  bookmarks: [],
  ...more
})

/** Snapshots in order of their transactions; clocks may have been turned back, and names come back on other datasets. */
const snapshots = (owner: string) =>
  FastCheck.array(FastCheck.integer({ min: 0, max: 50 }), { maxLength: 6 }).map((times) =>
    times.map((creation, index) => snapshot(`s${index}`, BigInt(index + 1), { creation, guid: `${owner}-${index}` }))
  )

const names = ["r", "r/a", "r/a/b", "r/c"]
const replicas = FastCheck.tuple(...names.map(snapshots)).map((each) =>
  names.map((name, index) => dataset(name, each[index] ?? []))
)

const now = 100_000
const planned = (given: ReadonlyArray<SourceDataset>, more: Partial<Parameters<typeof planRecovery>[0]> = {}) =>
  planRecovery({
    replicas: given,
    at: undefined,
    now,
    target: "new/t",
    modeOf: () => "plain",
    existing: new Map(),
    ...more
  })

type Existing = Parameters<typeof planRecovery>[0]["existing"]

describe("what is recovered", () => {
  it("is, at a time, the last of each dataset that is not younger; what is left out has none", () => {
    FastCheck.assert(
      FastCheck.property(replicas, FastCheck.integer({ min: 1, max: 60 }), (given, seconds) => {
        const at = `${100 - seconds}s`
        const found = chooseSnapshots({ replicas: given, at, now })
        const first = given.find((each) => each.snapshots.length > 0)
        const isOld = ({ creation }: Snapshot) => creation <= seconds
        if (Either.isLeft(found)) {
          assert.isFalse(first?.snapshots.some(isOld) ?? false)
          return
        }
        for (const { name, snapshots: own } of given) assert.strictEqual(found.right.get(name), own.findLast(isOld))
      })
    )
  })

  it("is, at a snapshot's name, that one of each dataset that has it, else the last before it", () => {
    const root = dataset("r", [snapshot("x", 1n, { creation: 10 }), snapshot("y", 2n, { creation: 20 })])
    const same = dataset("r/a", [snapshot("y", 1n, { creation: 21 }), snapshot("z", 2n, { creation: 22 })])
    const other = dataset("r/b", [snapshot("p", 1n, { creation: 19 }), snapshot("q", 2n, { creation: 30 })])
    const later = dataset("r/c", [snapshot("q", 1n, { creation: 30 })])
    const found = Either.getOrThrow(planned([root, same, other, later], { at: "y" }))
    assert.deepStrictEqual(
      found.items.map(({ target, to }) => `${target}@${to?.name}`),
      ["new/t@y", "new/t/a@y", "new/t/b@p"]
    )
    assert.deepStrictEqual(found.leftOut, [{ dataset: "r/c", reason: "its first snapshot is q, which is later" }])
    const none = planned([root], { at: "yy" })
    assert.match(Either.isLeft(none) ? none.left.message : "", /--at: r has no snapshot "yy".*nearest are y, x/)
  })

  it("has every snapshot that was asked for, and parents without one only above others", () => {
    FastCheck.assert(
      FastCheck.property(replicas, (given) => {
        const plan = planned(given)
        if (Either.isLeft(plan)) {
          assert.isTrue(given.every((each) => each.snapshots.length === 0))
          assert.match(plan.left.message, /is no replica/)
          return
        }
        const { items, leftOut } = plan.right
        assert.strictEqual(items.length + leftOut.length, given.length)
        for (const { source, target, to } of items) {
          assert.strictEqual(to, source.snapshots.at(-1))
          assert.strictEqual(target, `new/t${source.name.slice(1)}`)
          if (to === undefined) {
            assert.isTrue(items.some((other) => other.target.startsWith(`${target}/`) && other.to !== undefined))
          }
        }
      })
    )
  })
})

describe("what exists", () => {
  type There = Map<string, { mark: "recover" | "placeholder" | undefined; guids: Set<string> }>
  const mark = FastCheck.constantFrom<"recover" | "placeholder" | undefined>("recover", "placeholder", undefined)
  const existing = FastCheck.array(
    FastCheck.tuple(
      FastCheck.constantFrom("new/t", "new/t/a", "new/t/a/b", "new/t/c", "new/t/strange"),
      mark,
      FastCheck.constantFrom(undefined, "r-0", "r/a-0", "r/a-1", "another")
    )
  ).map((all): Existing => new Map(all.map(([name, is, guid = ""]) => [name, { mark: is, guids: new Set([guid]) }])))

  it("is never written to, unless a recovery that is not finished made it, or finished it before", () => {
    FastCheck.assert(
      FastCheck.property(replicas, existing, (given, there) => {
        const plan = planned(given, { existing: there })
        if (Either.isLeft(plan)) return
        const root = there.get("new/t")
        assert.isTrue(root === undefined || root.mark !== undefined)
        for (const { received, target, to } of plan.right.items) {
          const found = there.get(target)
          const isMarked = found?.mark === "recover" || (found?.mark === "placeholder" && to === undefined)
          if (found === undefined) assert.isFalse(received)
          else if (!isMarked) assert.isTrue(received && (to === undefined || found.guids.has(to.guid)), target)
        }
        if (root?.mark === "placeholder") assert.isFalse(there.has("new/t/strange"))
      }),
      { numRuns: 2000 }
    )
  })

  it("is gone on with wherever an earlier call ended, and refused when that call was done", () => {
    FastCheck.assert(
      FastCheck.property(replicas, FastCheck.nat(20), (given, cut) => {
        const plan = planned(given)
        if (Either.isLeft(plan)) return
        const there: There = new Map()
        for (const step of stepsOf(plan.right).slice(0, cut)) step(there)
        const again = planned(given, { existing: there })
        const isDone = there.has("new/t") && there.get("new/t")?.mark === undefined
        if (Either.isLeft(again)) {
          assert.strictEqual(again.left.reason, "Exists")
          assert.isTrue(isDone)
        } else {
          assert.isFalse(isDone)
        }
      })
    )
  })

  /** What a call does, in its order: receives parents first, takes the marks off children first. */
  const stepsOf = ({ items }: RecoveryPlan) => [
    ...items.map(({ target, to }) => (there: There) => {
      there.set(target, { mark: to === undefined ? "placeholder" : "recover", guids: new Set([to?.guid ?? ""]) })
    }),
    ...items.toReversed().map(({ target, to }) => (there: There) => {
      there.set(target, { mark: undefined, guids: new Set([to?.guid ?? ""]) })
    })
  ]
})

describe("what follows the streams", () => {
  const key = (root: string, salt: string) => ({ root, salt, rootSalt: salt, loaded: true })
  const item = (name: string, more: Partial<SourceDataset>) => ({
    source: dataset(`r${name}`, [snapshot("1")], more),
    target: `t${name}`,
    mode: "raw" as const,
    to: snapshot("1"),
    received: false
  })

  it("gives the properties that came to the replica with streams; canmount else as it is without one", () => {
    const received = new Map(
      Object.entries({ compression: "zstd", "zipper:send": "raw", keylocation: "prompt", quota: "1" })
    )
    assert.deepStrictEqual(settingsFor(item("", {}), received), [
      ["set", "compression=zstd", "quota=1", "t"],
      ["inherit", "-S", "canmount", "t"]
    ])
    const mounted = new Map(Object.entries({ canmount: "noauto", mountpoint: "/srv/data" }))
    assert.deepStrictEqual(settingsFor(item("", {}), mounted), [
      ["set", "mountpoint=/srv/data", "t"],
      ["set", "canmount=noauto", "t"]
    ])
    assert.deepStrictEqual(settingsFor(item("", { kind: "volume" }), new Map()), [])
  })

  it("joins a child to the key of its parent only where one passphrase opened both", () => {
    const keys = keysOf([
      item("", { key: key("r", "7") }),
      item("/a", { key: key("r/a", "7") }),
      item("/b", { key: key("r/b", "8") }),
      item("/c", {}),
      item("/c/d", { key: key("r/c/d", "7") }),
      item("/raw", { key: key("r/raw", "0") }),
      item("/raw/a", { key: key("r/raw/a", "0") })
    ])
    assert.deepStrictEqual(
      keys.map(({ joins, target }) => `${target} ${joins}`),
      ["t false", "t/a true", "t/b false", "t/c/d false", "t/raw false", "t/raw/a false"]
    )
    assert.deepStrictEqual(keys.slice(0, 2).flatMap(unlocking), [
      ["load-key", "t"],
      ["load-key", "t/a"],
      ["change-key", "-i", "t/a"]
    ])
  })
})

describe("--key", () => {
  it("is refused when it would show a password", () => {
    for (const good of ["prompt", "file:///root/key", "https://host/a@b"]) assert.isUndefined(keyProblem(good))
    for (const bad of ["key", "file://root/key", "https:///key"]) assert.match(keyProblem(bad) ?? "", /expected file:/)
    assert.match(keyProblem("https://host/key?token=secret") ?? "", /a query would be shown in logs/)
    const shown = keyProblem("https://user:secret@host/key") ?? ""
    assert.match(shown, /would be shown in logs/)
    assert.notInclude(shown, "secret@")
  })
})

describe("the replica of a dataset", () => {
  const named = (name: string, given: Partial<typeof job> = {}) => {
    const found = replicaOf({ ...job, ...given }, name)
    return Either.isRight(found) ? `${found.right.dataset} in ${found.right.replica}` : found.left
  }

  it("is found by its own name and by that of its source", () => {
    assert.strictEqual(named("tank/a"), "tank/a in backup/nas/tank/a")
    assert.strictEqual(named("backup/nas/tank/a"), "tank/a in backup/nas/tank/a")
  })

  it("is none for another dataset, nor where a name means two", () => {
    assert.match(named("tanks"), /tanks is no dataset of the job pull-nas: tank/)
    const both = { destination: "tank/backup" }
    assert.match(named("tank/backup/nas/tank/a", both), /and the replica of tank\/a: give that name/)
  })
})
