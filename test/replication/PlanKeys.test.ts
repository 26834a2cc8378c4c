import { assert, describe, it } from "@effect/vitest"
import { plan } from "../../src/replication/Plan.ts"
import type { Snapshot, TargetDataset } from "../../src/zfs/Dataset.ts"
import { plain, reason, s1, s2, source, target } from "../support/replication/planEnds.ts"

describe("the plan of an encrypted dataset that is sent raw", () => {
  const raw = { mode: "raw", rollback: false } as const
  const secret = (salt: string | undefined, snapshots = [s1, s2]) =>
    source(snapshots, { encrypted: true, key: { root: "tank/a", salt, rootSalt: salt, loaded: true } })
  const replica = (key: TargetDataset["key"], more: Partial<TargetDataset> = {}) =>
    target([s1], { mode: "raw", key, ...more })
  const own = { root: "backup/a", salt: "7", rootSalt: "7", loaded: true, dependents: [] }
  const joined = { root: "backup", salt: "7", rootSalt: "7", loaded: true, dependents: [] }

  it("goes on where the replica is opened by a key of its own, whichever that is by now", () => {
    for (const salt of ["7", "8", "0", undefined]) {
      assert.strictEqual(plan(secret(salt), replica(own), raw)._tag, "Incremental")
    }
    assert.strictEqual(plan(secret("7", [s1]), undefined, raw)._tag, "Full")
    // What is not encrypted brings no key.
    assert.strictEqual(plan(source([s1, s2]), replica(undefined), raw)._tag, "Incremental")
  })

  it("does not put a key into a replica that is opened by another one, whatever it is told", () => {
    for (const key of [joined, { ...joined, salt: "0", rootSalt: "0" }, { ...joined, rootSalt: undefined }]) {
      for (const options of [raw, { ...raw, rollback: true }]) {
        for (const more of [{}, { resumeToken: "1-a" }, { written: 9 }]) {
          const refused = plan(secret("7"), replica(key, more), options)
          assert.match(
            reason(refused, "Diverged"),
            key.salt === key.rootSalt && key.salt !== "0"
              ? /^backup\/a is opened by the key of backup .*zfs load-key 'backup'; zfs change-key -o keyformat=passphrase -o keylocation=prompt 'backup\/a'\), or move it out of the way/
              : /^backup\/a is opened by .* might open it any more; move it out of the way/
          )
          assert.deepStrictEqual(refused._tag === "Diverged" ? refused.loss.snapshots : [], [s1])
        }
      }
    }
    const half = target([], { mode: "raw", key: joined, resumeToken: "1-a" })
    assert.match(reason(plan(secret("7"), half, raw), "Diverged"), /is opened by the key of backup/)
    assert.strictEqual(plan(secret("7", [s1]), replica(joined), raw)._tag, "UpToDate")
  })

  it("does not take the key from what else is opened by it", () => {
    const shared = {
      ...own,
      dependents: ["b", "c"].map((name) => ({ name: `backup/a/${name}`, salt: "7" }))
    }
    assert.strictEqual(plan(secret("7"), replica(shared), raw)._tag, "Incremental")
    const refused = plan(secret("8"), replica(shared), raw)
    assert.match(
      reason(refused, "Diverged"),
      /^a raw stream would give backup\/a another key, and backup\/a\/b, backup\/a\/c are opened by .* 'backup\/a\/b'\), or/
    )
    assert.deepStrictEqual(refused._tag === "Diverged" && refused.loss.snapshots, [])
    // Keys that are no passphrases have no salt that would tell one from the other.
    const unsalted = { ...own, salt: "0", rootSalt: "0", dependents: [{ name: "backup/a/b", salt: "0" }] }
    assert.match(reason(plan(secret("0"), replica(unsalted), raw), "Diverged"), /zfs does not tell/)
    assert.strictEqual(plan(secret("8", [s1]), replica(shared), raw)._tag, "UpToDate")
  })

  it("does not count what is locked out already, and does not have zfs panic over it", () => {
    const beside = [
      { name: "backup/a/b", salt: "5" },
      { name: "backup/a/c", salt: "7" }
    ]
    const [lost] = beside
    assert.isDefined(lost)
    assert.strictEqual(plan(secret("8"), replica({ ...own, dependents: [lost] }), raw)._tag, "Incremental")
    const said = reason(plan(secret("8"), replica({ ...own, dependents: beside }), raw), "Diverged")
    assert.match(said, /and backup\/a\/c is opened by/)
    assert.notMatch(said, /change-key -o/)
  })

  it("sends nothing raw that no key opens at the source", () => {
    const lost = (snapshots: ReadonlyArray<Snapshot>) =>
      source(snapshots, { encrypted: true, key: { root: "tank", salt: "7", rootSalt: "8", loaded: true } })
    for (const there of [undefined, replica(own), target([], { placeholder: true, mode: undefined })]) {
      assert.match(reason(plan(lost([s1, s2]), there, raw), "Blocked"), /^no key opens its source tank\/a/)
    }
    // While it is mounted, plain streams are a way out; and what was sent before it came to that is good.
    assert.strictEqual(plan(lost([s1, s2]), undefined, plain)._tag, "Full")
    assert.strictEqual(plan(lost([s1]), replica(own), raw)._tag, "UpToDate")
  })

  it("mends a replica that no key opens where the source has the key that zfs asks for", () => {
    const lost = replica({ ...joined, rootSalt: "9" })
    assert.strictEqual(plan(secret("9"), lost, raw)._tag, "Incremental")
    assert.match(reason(plan(secret("9", [s1]), lost, raw), "Blocked"), /the next snapshot brings the right/)
  })

  it("is never content with a replica that no key opens", () => {
    const lost = { ...joined, rootSalt: "9" }
    for (const snapshots of [[s1], [s1, s2]]) {
      assert.match(
        reason(plan(secret("7", snapshots), replica(lost), raw), "Blocked"),
        /^no key opens backup\/a when .* zfs asks for that of backup.*; move it out of the way/
      )
    }
  })

  it("lets plain replicas be opened by the key of what they lie in", () => {
    const inside = target([s1], { key: joined })
    assert.strictEqual(plan(secret("8"), inside, plain)._tag, "Incremental")
    assert.strictEqual(plan(source([s1, s2]), inside, plain)._tag, "Incremental")
  })
})
