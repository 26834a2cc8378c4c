import { assert, describe, it } from "@effect/vitest"
import { plan } from "../../src/replication/Plan.ts"
import type { Snapshot } from "../../src/zfs/Dataset.ts"
import {
  allowed,
  plain,
  reason,
  s1,
  s2,
  s3,
  snapshot,
  source,
  t4,
  t5,
  target
} from "../support/replication/planEnds.ts"

describe("plan", () => {
  it("sends the earliest in full and the rest from there", () => {
    assert.deepStrictEqual(plan(source([s1, s2, s3]), undefined, plain), {
      _tag: "Full",
      streams: [
        { _tag: "Full", to: s1, force: false },
        { _tag: "Incremental", from: s1, to: s3 }
      ]
    })
    assert.deepStrictEqual(plan(source([s1]), target([], { placeholder: true, mode: undefined }), plain), {
      _tag: "Full",
      streams: [{ _tag: "Full", to: s1, force: true }]
    })
  })

  it("goes on from the latest common snapshot, by guid", () => {
    // The target's names are those of other snapshots, and its createtxg are its own.
    const mine = [snapshot("1", "s2", { createtxg: 70n }), snapshot("2", "0", { createtxg: 71n })]
    assert.deepStrictEqual(plan(source([s1, s2, s3]), target(mine), plain), {
      _tag: "Incremental",
      rollback: undefined,
      streams: [{ _tag: "Incremental", from: s2, to: s3 }]
    })
  })

  it("goes on from a bookmark with one snapshot, then with the rest", () => {
    const bookmarks = [{ name: "b", guid: "1", createtxg: 1n }]
    assert.deepStrictEqual(plan(source([s2, s3], { bookmarks }), target([s1]), plain), {
      _tag: "Incremental",
      rollback: undefined,
      streams: [
        { _tag: "FromBookmark", from: { name: "b", guid: "1" }, to: s2 },
        { _tag: "Incremental", from: s2, to: s3 }
      ]
    })
    const only = plan(source([s2], { bookmarks }), target([s1]), plain)
    assert.strictEqual(only._tag === "Incremental" ? only.streams.length : 0, 1)
    const withSnapshot = plan(source([s1, s2], { bookmarks }), target([s1]), plain)
    assert.deepStrictEqual(withSnapshot._tag === "Incremental" ? withSnapshot.streams.map(({ _tag }) => _tag) : [], [
      "Incremental"
    ])
    assert.strictEqual(
      plan(
        source([snapshot("1", "x")], { bookmarks: [{ name: "b", guid: "2", createtxg: 2n }] }),
        target([s1, s2]),
        plain
      )._tag,
      "UpToDate"
    )
  })

  it("is up to date when the target has the newest, whatever else is there", () => {
    for (const there of [target([s1, s2]), target([s1, s2], { written: 5 }), target([s1, s2, t4])]) {
      assert.deepStrictEqual(plan(source([s1, s2]), there, plain), { _tag: "UpToDate", at: "s2" })
      assert.deepStrictEqual(plan(source([s1, s2]), there, allowed), { _tag: "UpToDate", at: "s2" })
    }
  })

  it("does not go over what the target has of its own, unless told to", () => {
    const both = plan(source([s1, s2]), target([s1, t4, t5], { written: 2048 }), plain)
    assert.strictEqual(
      reason(both, "Diverged"),
      "backup/a has changed since @s1, the latest snapshot in common, and would lose 2 snapshots (@s4, @s5) and 2.0 KiB written since its newest snapshot; to give that up, run again with --rollback; to keep it, move it out of the way (there: zfs rename 'backup/a' 'backup/a-old' && zfs inherit -r zipper:send 'backup/a-old') and the next run starts anew"
    )
    assert.deepStrictEqual(plan(source([s1, s2]), target([s1, t4, t5], { written: 2048 }), allowed), {
      _tag: "Incremental",
      rollback: { to: s1, destroys: [t4, t5], written: 2048 },
      streams: [{ _tag: "Incremental", from: s1, to: s2 }]
    })
    assert.match(reason(plan(source([s1, s2]), target([s1], { written: 1 }), plain), "Diverged"), /lose 1 B written/)
    assert.deepStrictEqual(plan(source([s1, s2]), target([s1], { written: 1 }), allowed), {
      _tag: "Incremental",
      rollback: { to: s1, destroys: [], written: 1 },
      streams: [{ _tag: "Incremental", from: s1, to: s2 }]
    })
  })

  it("goes past snapshots of the target's own in which nothing changed", () => {
    const own = [
      snapshot("4", "auto", { written: 0, holds: 1 }),
      snapshot("5", "b", { written: 0, clones: ["backup/c"] })
    ]
    for (const options of [plain, allowed, { mode: "raw", rollback: false } as const]) {
      const there = target([s1, ...own], { mode: options.mode })
      const streams = [{ _tag: "Incremental", from: s1, to: s2 } as const]
      assert.deepStrictEqual(plan(source([s1, s2]), there, options), {
        _tag: "Incremental",
        rollback: undefined,
        streams
      })
    }
    // What was written after them is lost, or a snapshot after them; they are not.
    for (const [more, snapshots] of [
      [{ written: 9 }, [s1, ...own]],
      [{}, [s1, ...own, snapshot("6", "changed", { written: 9 })]],
      [{}, [s1, ...own, snapshot("6", "changed")]]
    ] as const) {
      const there = target(snapshots, more)
      assert.match(reason(plan(source([s1, s2]), there, plain), "Diverged"), /has changed since @b and would lose/)
      const back = plan(source([s1, s2]), there, allowed)
      assert.strictEqual(back._tag === "Incremental" && back.rollback?.to, own[1])
      assert.deepStrictEqual(back._tag === "Incremental" && back.rollback?.destroys, snapshots.slice(3))
    }
  })

  it("goes past no snapshot of the target's own with a raw stream of what is encrypted", () => {
    const auto = snapshot("4", "auto", { written: 0 })
    const secret = source([s1, s2], {
      encrypted: true,
      key: { root: "tank/a", salt: "7", rootSalt: "7", loaded: true }
    })
    const key = { root: "backup/a", salt: "7", rootSalt: "7", loaded: true, dependents: [] }
    assert.match(
      reason(plan(secret, target([s1, auto], { mode: "raw", key }), { mode: "raw", rollback: false }), "Diverged"),
      /has snapshots of its own since @s1, the latest snapshot in common, which no raw stream goes past, and would lose 1 snapshot \(@auto\); .* --rollback/
    )
  })

  it("goes past no snapshot of the target's own by the name of one to come", () => {
    const [before, same] = [snapshot("4", "auto", { written: 0 }), snapshot("5", "s2", { written: 0 })]
    const there = target([s1, before, same])
    assert.match(
      reason(plan(source([s1, s2]), there, plain), "Diverged"),
      /has snapshots of its own since @auto by the names of some to come and would lose 1 snapshot \(@s2\); .*rename what is there \(there: zfs rename 'backup\/a@s2' 'backup\/a@s2-old'\)/
    )
    assert.deepStrictEqual(plan(source([s1, s2]), there, allowed), {
      _tag: "Incremental",
      rollback: { to: before, destroys: [same], written: 0 },
      streams: [{ _tag: "Incremental", from: s1, to: s2 }]
    })
  })

  it("throws away half of a stream that a later snapshot of the target keeps from going on", () => {
    const resumeToken = "1-a"
    const half = (one: Snapshot) => ({ ...one, clones: ["backup/a/%recv"] })
    const [old, auto, later] = [
      snapshot("1", "s1", { written: 9 }),
      snapshot("4", "auto", { written: 0 }),
      snapshot("5", "s5", { written: 0 })
    ]
    const resume = { _tag: "Resume", token: resumeToken, force: false } as const
    // It goes on from a snapshot of the target's own after s1.
    assert.deepStrictEqual(plan(source([s1, s2]), target([old, half(auto)], { resumeToken }), plain), resume)
    assert.deepStrictEqual(plan(source([s1, s2]), target([half(old), later], { resumeToken }), plain), {
      ...resume,
      dead: "zfs does not go past @s5 of its own"
    })
    // The source lost s2, and the half goes on from what had nothing new since then.
    const lost = target([old, snapshot("2", "s2", { written: 9 }), half(auto)], { resumeToken })
    assert.deepStrictEqual(plan(source([s1, s3]), lost, plain), resume)
  })

  it("lists a hundred snapshots and counts the rest", () => {
    const many = Array.from({ length: 1212 }, (_, n) => snapshot(String(n + 10)))
    const said = reason(plan(source([s1, s2]), target([s1, ...many]), plain), "Diverged")
    assert.include(said, "1,212 snapshots (@s10, @s11, @s12,")
    assert.include(said, ", @s108, @s109 and 1,112 more)")
  })

  it("does not try a rollback that zfs would refuse", () => {
    const held = [snapshot("4", "mine", { holds: 1 }), snapshot("5", "yours", { clones: ["backup/c"] })]
    assert.strictEqual(
      reason(plan(source([s1, s2]), target([s1, ...held]), allowed), "Blocked"),
      "backup/a cannot be taken back to @s1 as long as @mine is held (there: zfs holds 'backup/a@mine' tells by whom) and @yours has clones (backup/c)"
    )
    assert.match(
      reason(plan(source([s1, s2]), target([s1, ...held]), plain), "Diverged"),
      /--rollback cannot go back as long as @mine is held .*; to keep it, move it/
    )
    // A run would refuse to take bookmarks along that nobody was told of.
    const bookmarks = [snapshot("1", "old"), snapshot("4", "kept"), snapshot("5", "k5")]
    const marked = target([s1, t4], { bookmarks })
    assert.strictEqual(
      reason(plan(source([s1, s2]), marked, allowed), "Blocked"),
      "backup/a cannot be taken back to @s1 as long as it has newer bookmarks: #kept, #k5 (there: zfs destroy 'backup/a#kept')"
    )
    assert.match(
      reason(plan(source([s1, s2]), marked, plain), "Diverged"),
      /--rollback cannot go back as long as it has newer bookmarks/
    )
    assert.strictEqual(plan(source([s1, s2]), target([s1], { bookmarks }), plain)._tag, "Incremental")
    // A hold on what stays is in nobody's way.
    const staying = snapshot("1", "s1", { holds: 1, clones: ["backup/c"] })
    assert.strictEqual(plan(source([s1, s2]), target([staying, t4]), allowed)._tag, "Incremental")
  })

  it("finds no way back without a common snapshot, with rollback either", () => {
    for (const options of [plain, allowed]) {
      assert.match(
        reason(plan(source([s2, s3]), target([s1, t4]), options), "Diverged"),
        /no snapshot in common; .* 2 snapshots \(@s1, @s4\); move it out of the way/
      )
      assert.match(
        reason(plan(source([s1]), target([], { written: 24576, mode: undefined }), options), "Diverged"),
        /backup\/a is no replica: it has no snapshot, and 24\.0 KiB in it would be overwritten/
      )
    }
  })

  it("names the snapshots that another program took of a parent that we made", () => {
    const parent = (mode: "plain" | undefined) => target([t4], { made: true, mode })
    const said = reason(plan(source([s1]), parent(undefined), plain), "Diverged")
    assert.match(
      said,
      /^backup\/a is an empty parent that zipper made.*zfs destroy 'backup\/a@s4'\) and the next run goes on/
    )
    assert.match(reason(plan(source([s1]), parent("plain"), plain), "Diverged"), /no snapshot in common/)
  })

  it("names the way back when a clone of the replica was promoted, and took its snapshots", () => {
    for (const snapshots of [[], [t4]]) {
      const promoted = target(snapshots, { origin: "backup/look@s1", written: 5 })
      assert.strictEqual(
        reason(plan(source([s1, s2]), promoted, allowed), "Diverged"),
        "the snapshots of backup/a went to backup/look, a clone of it that was promoted; take them back (there: zfs promote 'backup/a') and run again"
      )
    }
    // With a snapshot in common it can go on; a clone that is no replica is the user's own.
    assert.strictEqual(plan(source([s1, s2]), target([s1], { origin: "backup/look@s0" }), plain)._tag, "Incremental")
    const clone = target([], { origin: "backup/look@s1", mode: undefined })
    assert.match(reason(plan(source([s1]), clone, plain), "Diverged"), /is no replica/)
  })

  it("tells nobody to rename or destroy a pool", () => {
    for (const there of [target([], { name: "pool" }), target([t4], { name: "pool" })]) {
      const said = reason(plan(source([s1]), there, plain), "Diverged")
      assert.match(said, /pool.*; give a destination below that pool$/)
      assert.notMatch(said, /zfs rename|by hand/)
    }
  })

  it("has nothing to send when neither end has a snapshot, and says when the source lost its own", () => {
    assert.deepStrictEqual(plan(source([]), undefined, plain), { _tag: "NothingToSend" })
    assert.deepStrictEqual(plan(source([]), target([]), plain), { _tag: "NothingToSend" })
    // Snapshots of a whole backup pool cover the parents that we made there, too.
    assert.deepStrictEqual(plan(source([]), target([s1], { mode: undefined }), plain), {
      _tag: "NothingToSend"
    })
    for (const there of [target([s1]), target([], { resumeToken: "1-a" })]) {
      assert.match(reason(plan(source([]), there, allowed), "Blocked"), /no snapshot any more/)
    }
  })

  it("refuses another kind, another mode, and the source itself", () => {
    assert.match(
      reason(plan(source([s1], { kind: "volume" }), target([], { placeholder: true }), plain), "Blocked"),
      /backup\/a is a file system and its source is a volume; move it out of the way/
    )
    assert.match(
      reason(plan(source([s1, s2]), target([s1], { mode: "raw" }), plain), "Blocked"),
      /received raw .* would now be sent plain .*; send it raw again \(pull with --raw/
    )
    assert.match(
      reason(plan(source([s1, s2]), target([s1]), { mode: "raw", rollback: true }), "Blocked"),
      /send it plain again \(pull without --raw, push with --no-raw\), or start over/
    )
    assert.strictEqual(plan(source([s1, s2]), target([s1], { mode: undefined }), plain)._tag, "Incremental")
    assert.match(
      reason(plan(source([s1, s2]), target([s1, s2], { guid: "100" }), plain), "Blocked"),
      /is the source itself/
    )
  })

  it("refuses to send a snapshot whose name another one has at the target", () => {
    const renamed = [snapshot("1", "old"), snapshot("2", "daily")]
    assert.strictEqual(
      reason(plan(source(renamed), target([snapshot("1", "daily")]), plain), "Blocked"),
      "backup/a has other snapshots by the names of some to come: @daily; rename what is there (there: zfs rename 'backup/a@daily' 'backup/a@old')"
    )
    // One that a rollback takes away is in nobody's way.
    const later = [s1, snapshot("4", "daily")]
    const coming = [s1, snapshot("2", "daily")]
    assert.strictEqual(plan(source(coming), target(later), allowed)._tag, "Incremental")
    assert.strictEqual(plan(source(coming), target(later), plain)._tag, "Diverged")
  })

  it("resumes first, but not what zfs would refuse at its end", () => {
    const resumeToken = "1-a"
    const resume = { _tag: "Resume", token: resumeToken, force: false } as const
    assert.deepStrictEqual(plan(source([s1, s2]), target([s1], { resumeToken }), plain), resume)
    assert.deepStrictEqual(plan(source([s1]), target([s1], { resumeToken }), plain), resume)
    // What was received of a first stream counts as written.
    assert.deepStrictEqual(plan(source([s1]), target([], { resumeToken, written: 9 }), plain), resume)
    // Onto a placeholder, the rest needs -F as the beginning did.
    assert.deepStrictEqual(plan(source([s1]), target([], { resumeToken, placeholder: true }), plain), {
      ...resume,
      force: true
    })
    const touched = target([s1], { resumeToken, written: 9 })
    assert.strictEqual(plan(source([s1, s2]), touched, plain)._tag, "Diverged")
    assert.deepStrictEqual(plan(source([s1, s2]), touched, allowed), {
      _tag: "Incremental",
      rollback: { to: s1, destroys: [], written: 9 },
      streams: []
    })
    assert.strictEqual(plan(source([s1, s2]), target([s1, t4], { resumeToken }), plain)._tag, "Diverged")
    assert.deepStrictEqual(plan(source([s1, s2]), target([s1, t4], { resumeToken }), allowed), {
      _tag: "Incremental",
      rollback: { to: s1, destroys: [t4], written: 0 },
      streams: []
    })
    // What the half stream goes on from is gone at the source: it can only be thrown away, and has to be.
    const base = snapshot("2", "s2", { clones: ["backup/a/%recv"] })
    for (const options of [plain, allowed]) {
      assert.deepStrictEqual(plan(source([s1, s3]), target([s1, base], { resumeToken }), options), resume)
    }
  })
})
