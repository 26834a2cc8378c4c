import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Job } from "../../src/config/ReplicationJob.ts"
import {
  applyDelegations,
  checkDelegations,
  commandsOf,
  type Delegation,
  delegationsOf,
  prepare
} from "../../src/replication/Delegate.ts"
import { allowTable } from "../doubles/replication/end.ts"
import { addDataset, makeReplicationMemory } from "../doubles/replication/world.ts"
import { job, makeKit, servicesOf } from "../support/replication/replication.ts"

const send: Delegation & { readonly user: string } = {
  end: "sender",
  roles: ["send"],
  user: "bob",
  dataset: "tank"
}

describe("delegate", () => {
  it("prints commands without asking anybody", () => {
    assert.deepStrictEqual(commandsOf([send, { ...send, end: "receiver", roles: ["prune"], dataset: "backup" }]), [
      { end: "sender", command: "zfs allow -u bob send,hold 'tank'" },
      { end: "receiver", command: "zfs allow -u bob destroy,mount 'backup'" }
    ])
  })

  it("knows what a job needs", () => {
    const retention = { hourly: 0, daily: 1, weekly: 0, monthly: 0 }
    assert.deepStrictEqual(delegationsOf({ ...job, datasets: ["tank", "tank/a"], retention }), [
      { end: "sender", roles: ["send", "bookmark"], user: undefined, dataset: "tank" },
      { end: "receiver", roles: ["receive", "prune"], user: undefined, dataset: "backup" }
    ])
    const rolesAtSource = (more: Partial<Job>) => delegationsOf({ ...job, ...more })[0]?.roles
    assert.deepStrictEqual(rolesAtSource({ bookmark: false }), ["send"])
    assert.deepStrictEqual(rolesAtSource({ snapshot: true }), ["send", "bookmark", "snapshot"])
    assert.deepStrictEqual(rolesAtSource({ snapshot: true, sourceRetention: retention, bookmark: false }), [
      "send",
      "snapshot",
      "prune"
    ])
    const push = { ...job, direction: "push", destination: undefined, stripPrefix: "tank" } as const
    assert.deepStrictEqual(
      delegationsOf({ ...push, datasets: ["tank/vault/a", "tank/vault/b"] }, "bob").map(({ dataset }) => dataset),
      ["tank/vault/a", "tank/vault/b", "vault"]
    )
  })

  it.effect("finds what is missing, grants just that, and finds nothing any more", () =>
    Effect.gen(function* () {
      const memory = makeReplicationMemory()
      addDataset(memory, "source", "tank")
      addDataset(memory, "target", "backup")
      memory.source.allow.set("tank", allowTable("tank", "bob", ["send"]))
      const wanted: ReadonlyArray<Delegation> = [
        send,
        { end: "receiver", roles: ["receive"], user: "bob", dataset: "backup/new/one" }
      ]
      yield* Effect.gen(function* () {
        const found = yield* checkDelegations(wanted)
        assert.deepStrictEqual(
          found.map(({ command, label }) => `${label}: ${command}`),
          [
            "nas: zfs allow -u bob hold 'tank'",
            "this host: zfs allow -u bob receive,create,mount,canmount,userprop 'backup'"
          ]
        )
        assert.lengthOf(yield* applyDelegations(wanted), 2)
        assert.deepStrictEqual(yield* checkDelegations(wanted), [])
        assert.deepStrictEqual(yield* applyDelegations(wanted), [])
      }).pipe(Effect.provide(servicesOf(memory)))
    })
  )

  it.effect("grants nothing above a dataset that is not there, but what it takes to make it", () =>
    Effect.gen(function* () {
      const memory = makeReplicationMemory()
      addDataset(memory, "source", "tank")
      addDataset(memory, "target", "backup")
      const astray: ReadonlyArray<Delegation> = [
        { ...send, dataset: "tank/dta" },
        { end: "receiver", roles: ["prune"], user: "bob", dataset: "backup/typo" },
        { end: "receiver", roles: ["receive", "prune"], user: "bob", dataset: "backup/new" }
      ]
      for (const one of astray) {
        const error = yield* Effect.flip(applyDelegations([send, one])).pipe(Effect.provide(servicesOf(memory)))
        assert.match(String(error.message), new RegExp(`there is no dataset ${one.dataset}, and what`))
      }
      assert.strictEqual(memory.source.allow.size + memory.target.allow.size, 0)
    })
  )

  it.effect("a dataset whose pool is not there is an error", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(checkDelegations([send]))
      assert.include(error.message, "on nas: there is no dataset tank")
    }).pipe(Effect.provide(servicesOf(makeReplicationMemory())))
  )
})

describe("prepare", () => {
  it.effect("makes the dataset, sets what differs, and then has nothing to do", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const run = prepare("backup/replicas").pipe(Effect.provide([servicesOf(kit.memory), kit.around]))
      assert.isTrue((yield* run).created)
      const made = kit.memory.target.datasets.get("backup/replicas")
      assert.deepStrictEqual([...(made?.properties ?? [])].sort(), [
        ["acltype", "posix"],
        ["canmount", "off"],
        ["xattr", "sa"]
      ])
      made?.properties.set("xattr", "on")
      assert.deepStrictEqual((yield* run).changed, ["xattr"])
      assert.deepStrictEqual(yield* run, { created: false, parents: [], changed: [] })
      assert.include(kit.lines, "INFO backup/replicas on this host: set xattr=sa")
    })
  )

  it.effect("a dry run says what the real one then does, and changes nothing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const run = (dry: boolean) =>
        Effect.forEach(["backup/a/b/c", "backup/a/b/d", "backup"], prepare).pipe(
          Effect.provide([servicesOf(kit.memory, dry), kit.around])
        )
      const dryRun = yield* run(true)
      assert.deepStrictEqual([...kit.memory.target.datasets.keys()], ["backup"])
      assert.strictEqual(kit.memory.target.datasets.get("backup")?.properties.get("canmount"), "on")
      assert.deepStrictEqual(kit.lines, [
        "INFO backup/a/b/c on this host: would be made, with canmount=off, acltype=posix, xattr=sa, and before it backup/a, backup/a/b (canmount=off)",
        "INFO backup/a/b/d on this host: would be made, with canmount=off, acltype=posix, xattr=sa",
        "INFO backup on this host: would set canmount=off, acltype=posix, xattr=sa",
        "WARN canmount=off would unmount backup: its own files are not visible then; if it is in use, prepare another dataset, and on this host: zfs set 'canmount=on' backup && zfs mount backup"
      ])
      assert.deepStrictEqual(yield* run(false), dryRun)
      assert.include(kit.lines, "INFO backup on this host: set canmount=off, acltype=posix, xattr=sa")
    })
  )

  it.effect("says which permission is missing", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.memory.target.account = { user: "bob", groups: [], root: false }
      const error = yield* prepare("backup/replicas").pipe(Effect.provide(servicesOf(kit.memory)), Effect.flip)
      assert.include(error.message, "zfs allow -u bob create,mount,canmount,acltype,xattr 'backup'")
    })
  )
})
