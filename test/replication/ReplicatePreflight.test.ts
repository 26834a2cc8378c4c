import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { allowTable } from "../doubles/replication/end.ts"
import { addDataset, addSnapshot, zfsError } from "../doubles/replication/world.ts"
import { makeKit, short } from "../support/replication/replication.ts"

const bob = { user: "bob", groups: ["bob"], root: false }

type Kit = Effect.Effect.Success<ReturnType<typeof makeKit>>

/** Why the run did not start; and nothing was changed by it. */
const refusal = (kit: Kit, options?: Parameters<Kit["run"]>[0]) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(kit.run(options))
    assert.strictEqual(error._tag, "PreflightError")
    assert.deepStrictEqual(
      kit.memory.calls.filter((call) => /^(send|createParent|abort|rollback) /.test(call)),
      []
    )
    return error.message
  })

describe("before anything is sent", () => {
  it.effect("an end that does not answer ends the run, after some tries, and is told", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      const down = () => zfsError("Unreachable", "on backup@nas: Connection refused", true)
      kit.memory.failures.set("account sender", [down(), down()])
      assert.strictEqual((yield* kit.run()).sent, 1)
      kit.memory.failures.set("account sender", Array.from({ length: 4 }, down))
      assert.strictEqual((yield* Effect.flip(kit.run())).message, "on backup@nas: Connection refused")
      assert.lengthOf(kit.memory.failures.get("account sender") ?? [], 0)
      const [message] = yield* Ref.get(kit.sent)
      assert.strictEqual(message?.title, "zipper: pull-nas: nothing was replicated on backup")
    })
  )

  it.effect("a program that the streams would pass through and that is missing ends the run, a dry one too", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      const missing = zfsError("NotInstalled", "--compress zstd needs the program zstd on nas")
      kit.memory.failures.set("tools", [missing, missing])
      assert.strictEqual(yield* refusal(kit), missing.message)
      assert.strictEqual(yield* refusal(kit, { dryRun: true }), missing.message)
    })
  )

  it.effect("a lock that is held is left to its holder", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({}, ["/l"])
      const error = yield* Effect.flip(kit.run({ lockfile: "/l" }))
      assert.strictEqual(error._tag, "LockError")
      assert.deepStrictEqual(kit.memory.calls, [])
      assert.deepStrictEqual(yield* Ref.get(kit.state.history), [])
      assert.deepStrictEqual(yield* Ref.get(kit.state.pings), [])
    })
  )

  it.effect("every missing permission on both ends is a line with the command that grants it", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ destination: "backup/replicas" })
      addDataset(kit.memory, "target", "backup/replicas")
      kit.source("tank", ["1"])
      kit.source("tank/a", ["1"])
      kit.memory.source.account = bob
      kit.memory.target.account = bob
      kit.memory.source.allow.set("tank", allowTable("tank", "bob", ["send"]))
      kit.memory.target.allow.set("backup", allowTable("backup", "bob", ["receive", "create", "mount"]))
      assert.deepStrictEqual((yield* refusal(kit)).split("\n"), [
        "bob may not hold on tank; as root on nas: zfs allow -u bob hold 'tank'",
        "bob may not canmount, userprop on backup/replicas; as root on this host: zfs allow -u bob canmount,userprop 'backup/replicas'"
      ])
      // What the lines say is enough.
      kit.memory.source.allow.set("tank", allowTable("tank", "bob", ["send", "hold"]))
      kit.memory.target.allow.set("backup/replicas", allowTable("backup/replicas", "bob", ["canmount", "userprop"]))
      assert.strictEqual((yield* kit.run()).sent, 2)
      const looks = kit.memory.calls.filter((call) => call.startsWith("allowed"))
      // The last looks are for bookmarks, which no run fails for.
      const each = ["allowed sender tank", "allowed receiver backup/replicas"]
      assert.deepStrictEqual(looks.slice(-4), [...each, "allowed sender tank", "allowed sender tank"])
      const gap = kit.lines.filter((line) => line.includes("no bookmark is kept"))
      assert.deepStrictEqual(gap, [
        "INFO no bookmark is kept at the source: bob may not bookmark, destroy on tank; as root on nas: zfs allow -u bob bookmark,destroy 'tank'"
      ])
    })
  )

  it.effect("--rollback needs more of the receiver", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.memory.target.account = bob
      const receive = ["receive", "create", "mount", "canmount", "userprop"]
      kit.memory.target.allow.set("backup", allowTable("backup", "bob", receive))
      assert.include(yield* refusal(kit, { rollback: true }), "bob may not rollback, destroy on backup")
      assert.strictEqual((yield* kit.run()).sent, 1)
    })
  )

  it.effect("permissions on the datasets themselves are enough, and unknown ones are no obstacle", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ datasets: ["tank"], exclude: ["b"] })
      for (const name of ["tank", "tank/a", "tank/b"]) kit.source(name, ["1"])
      kit.memory.source.account = bob
      const local = (dataset: string) =>
        allowTable(dataset, "bob", ["send", "hold"]).replace("Local+Descendent", "Local")
      kit.memory.source.allow.set("tank", local("tank"))
      assert.include(yield* refusal(kit), "may not send, hold on tank;")
      kit.memory.source.allow.set("tank/a", local("tank/a"))
      assert.strictEqual((yield* kit.run()).sent, 2)

      kit.memory.source.allow.clear()
      for (const name of ["tank", "tank/a"]) {
        kit.memory.failures.set(`allowed sender ${name}`, [zfsError("Other", "no"), zfsError("Other", "no")])
      }
      assert.strictEqual((yield* kit.run()).up_to_date, 2)
    })
  )

  it.effect("a dataset that the prefix does not fit is refused, with all the others", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({
        direction: "push",
        stripPrefix: "tank",
        destination: undefined,
        datasets: ["tank/a", "other/a"]
      })
      kit.source("tank/a", ["1"])
      kit.source("other/a", ["1"])
      assert.include(yield* refusal(kit), "other/a: it does not lie in tank")
    })
  )

  it.effect("a copy that comes back into what it was made from is told, and may be left out", () =>
    Effect.gen(function* () {
      const [told, spared] = [yield* makeKit(), yield* makeKit({ exclude: ["copies"] })]
      for (const kit of [told, spared]) {
        const whole = kit.memory.target.datasets.get("backup")
        assert.isDefined(whole)
        addSnapshot(kit.memory, whole, "1")
        kit.source("tank", ["1"])
        kit.source("tank/copies", [])
        // The other host has fetched all that is here.
        kit.source("tank/copies/backup", []).snapshots = whole.snapshots
        yield* kit.run()
      }
      const echoes = (lines: ReadonlyArray<string>) => lines.filter((line) => /one level deeper/.test(line))
      assert.lengthOf(echoes(told.lines), 1)
      assert.match(echoes(told.lines)[0] ?? "", /^WARN tank\/copies\/backup on nas is a copy of backup on this host/)
      assert.lengthOf(echoes(spared.lines), 0)
    })
  )

  it.effect("a replica of this job that comes back into its source is told", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const tank = kit.source("tank", ["1"])
      yield* kit.run()
      kit.source("tank/copies", [])
      kit.source("tank/copies/tank", []).snapshots = tank.snapshots
      yield* kit.run()
      assert.include(kit.lines.join("\n"), "tank/copies/tank on nas is a copy of backup/nas/tank on this host")
    })
  )

  it.effect("a destination inside of what is sent is refused", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ destination: "tank/backup" })
      kit.source("tank", ["1"])
      // nas turns out to be this very host.
      for (const [name, dataset] of kit.memory.source.datasets) kit.memory.target.datasets.set(name, dataset)
      assert.include(yield* refusal(kit), "tank/backup/nas/tank would lie inside of tank")
    })
  )

  it.effect("a pool that is not there is named", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ destination: "vault/x" })
      kit.source("tank", ["1"])
      assert.include(yield* refusal(kit), "no pool vault is imported on this host (there: zpool import vault)")
      const away = yield* makeKit({ datasets: ["usb/a", "usb/b"] })
      away.source("tank", ["1"])
      const wrong = yield* makeKit({ datasets: ["nas:tank/a"] })
      wrong.source("tank", ["1"])
      assert.match(yield* refusal(wrong), /^no pool nas:tank is .*; a host goes into --host, not before a dataset$/)
      assert.strictEqual(yield* refusal(away), "no pool usb is imported on nas (there: zpool import usb)")
    })
  )

  it.effect("a job without any snapshot, or with everything left out, did not do well", () =>
    Effect.gen(function* () {
      const empty = yield* makeKit()
      empty.source("tank", [])
      empty.source("tank/a", [])
      assert.include(yield* refusal(empty), "none of the 2 datasets has a snapshot")
      const excluded = yield* makeKit({ exclude: ["tank"] })
      excluded.source("tank", ["1"])
      assert.include(yield* refusal(excluded), "every dataset is left out")
    })
  )

  it.effect("warns of a pattern that matches nothing, and leaves out what one matches", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ exclude: ["scratch", "tpm"] })
      for (const name of ["tank", "tank/scratch", "tank/scratch/x"]) kit.source(name, ["1"])
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent"])
      assert.lengthOf(
        kit.lines.filter((line) => line.startsWith("WARN nothing is left out by --exclude tpm")),
        1
      )
    })
  )

  it.effect("says once what encryption comes to, the first time only", () =>
    Effect.gen(function* () {
      const raw = yield* makeKit({ mode: "raw" })
      for (const name of ["tank", "tank/a", "tank/b"]) raw.source(name, ["1"], { encrypted: true })
      yield* raw.run()
      yield* raw.run()
      const warnings = raw.lines.filter((line) => line.startsWith("WARN"))
      assert.lengthOf(warnings, 1)
      assert.include(warnings[0], "2 datasets (the first is tank/a) are sent raw below an encrypted parent")

      const plain = yield* makeKit()
      plain.source("tank", ["1"], { encrypted: true })
      yield* plain.run()
      assert.isTrue(
        plain.lines.some((line) => line.startsWith("WARN tank is encrypted and will be stored in the clear"))
      )
    })
  )
})
