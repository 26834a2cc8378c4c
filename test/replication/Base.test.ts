import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type { Job } from "../../src/config/ReplicationJob.ts"
import { bookmarkName, placeId, planBookmarks } from "../../src/replication/Bookmarks.ts"
import { makeSender } from "../../src/replication/Sender.ts"
import { local } from "../../src/zfs/Endpoint.ts"
import { allowTable } from "../doubles/replication/end.ts"
import { addDataset, addSnapshot, type MemoryDataset, zfsError } from "../doubles/replication/world.ts"
import type { Answer } from "../support/program/processFake.ts"
import { errorOf, makeKit, replicatedOnce, short } from "../support/replication/replication.ts"
import { nas, scripted, snapshot } from "../support/replication/replicationEnds.ts"

const retention = { hourly: 1, daily: 0, weekly: 0, monthly: 0 }
const own: Partial<Job> = { snapshot: true, sourceRetention: retention }

const namesOf = ({ snapshots }: Pick<MemoryDataset, "snapshots">) => snapshots.map(({ name }) => name)

const sender = (answer: (line: string) => Answer, endpoint: Parameters<typeof makeSender>[1] = local) => {
  const { calls, process } = scripted(answer)
  return { calls, of: makeSender(process, endpoint) }
}

describe("bookmarks", () => {
  const mark = (guid: string, place = "p") => ({ name: bookmarkName(place, guid), guid, createtxg: BigInt(guid) })
  const at = (...guids: ReadonlyArray<string>) =>
    guids.map((guid) => ({ ...snapshot(guid), guid, createtxg: BigInt(guid) }))
  const guids = ({ drop, make }: ReturnType<typeof planBookmarks>) =>
    [make, drop].map((all) => all.map(({ guid }) => guid))

  it("of all that a stream may end at are made before it, and then all but the newest go", () => {
    const source = { snapshots: at("2", "3", "4"), bookmarks: [mark("1"), mark("2", "other"), mark("3")] }
    assert.deepStrictEqual(guids(planBookmarks(source, { snapshots: at("1") }, "p", true)), [["2", "4"], []])
    assert.deepStrictEqual(guids(planBookmarks(source, { snapshots: at("1", "2", "3", "4") }, "p", false)), [
      ["4"],
      ["1", "3"]
    ])
    // One of another name, of another place, or with the guid of another snapshot is not ours.
    const strange = { ...mark("1"), guid: "9" }
    const foreign = { ...source, bookmarks: [mark("2", "other"), { ...mark("2"), name: "mine" }, strange] }
    assert.deepStrictEqual(guids(planBookmarks(foreign, { snapshots: at("4") }, "p", false)), [["4"], []])
  })

  it("stay where nothing is sent and nothing is in common, and those newer than the base do no harm", () => {
    const source = { snapshots: at("2"), bookmarks: [mark("1"), mark("2")] }
    assert.deepStrictEqual(guids(planBookmarks(source, { snapshots: at("7") }, "p", false)), [[], []])
    assert.deepStrictEqual(guids(planBookmarks(source, { snapshots: at("1") }, "p", true)), [[], []])
  })

  it("have the pool and the path of the replica in their names, with any name of the pool", () => {
    const pool = (name: string, guid: string) => new Map([[name, { ...target(name), guid }]])
    const place = placeId(pool("backup", "7"), "backup/nas/tank")
    assert.match(place ?? "", /^[0-9a-f]{12}$/)
    assert.strictEqual(placeId(pool("b2", "7"), "b2/nas/tank"), place)
    assert.notStrictEqual(placeId(pool("backup", "8"), "backup/nas/tank"), place)
    assert.notStrictEqual(placeId(pool("backup", "7"), "backup/nas/other"), place)
  })

  it.effect("that cannot be made or destroyed fail no run, and the old base stays", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      const { tank } = yield* replicatedOnce(kit)
      const before = tank.bookmarks
      assert.lengthOf(before, 1)
      addSnapshot(kit.memory, tank, "2")
      kit.memory.failures.set("bookmark tank@2", [zfsError("Other", "no"), zfsError("Other", "no")])
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent"])
      assert.deepStrictEqual(tank.bookmarks, before)
      yield* kit.run()
      assert.deepStrictEqual(
        tank.bookmarks.map(({ guid }) => guid),
        [tank.snapshots.at(-1)?.guid]
      )
    })
  )

  it.effect("that fail are one warning in a run, unless what they are of is gone; four at once are made in a run", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ concurrency: 3 })
      const running = { now: 0, most: 0 }
      const count = (by: number) => (operation: string) => {
        if (!operation.startsWith("bookmark ")) return
        running.now += by
        running.most = Math.max(running.most, running.now)
      }
      kit.memory.before = count(1)
      kit.memory.after = count(-1)
      for (const name of ["tank", "tank/a", "tank/b", "tank/c"]) {
        kit.source(name, ["1", "2", "3"])
        for (const snapshot of ["1", "2", "3"]) kit.memory.delays.set(`bookmark ${name}@${snapshot}`, 1000)
      }
      yield* kit.run()
      assert.strictEqual(running.most, 4)
      kit.memory.before = () => {}
      kit.memory.after = () => {}
      const again = (error: ReturnType<typeof zfsError>) => {
        kit.lines.length = 0
        kit.memory.failures.clear()
        for (const [name, source] of kit.memory.source.datasets) {
          addSnapshot(kit.memory, source, `after ${kit.memory.next}`)
          kit.memory.failures.set(`bookmark ${name}@${source.snapshots.at(-1)?.name}`, [error, error, error])
        }
        return Effect.map(kit.run(), () => kit.lines.filter((line) => line.startsWith("WARN ")))
      }
      const [said = "", ...more] = yield* again(zfsError("Other", "cannot bookmark: no"))
      assert.match(said, /^WARN tank(\/.)?: cannot bookmark: no; keep the snapshots of the source until a run can/)
      assert.deepStrictEqual(more, [])
      assert.deepStrictEqual(yield* again(zfsError("NotFound", "it is gone")), [])
    })
  )

  it.effect("are left alone where the job wants none, or what is up to date has its own", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ bookmark: false })
      const { tank } = yield* replicatedOnce(kit)
      assert.deepStrictEqual(tank.bookmarks, [])
      const other = yield* makeKit()
      yield* replicatedOnce(other)
      const calls = other.memory.calls.length
      yield* other.run()
      assert.isFalse(other.memory.calls.slice(calls).some((call) => /bookmark|#|read sender/.test(call)))
    })
  )
})

const target = (name: string) => ({
  ...({
    name,
    kind: "filesystem",
    guid: "1",
    snapshots: [],
    bookmarks: [],
    written: 0,
    resumeToken: undefined
  } as const),
  ...{ mode: undefined, made: false, placeholder: false, canmount: "off", key: undefined }
})

describe("snapshots of a job's own", () => {
  it.effect("are sent from a source that had none, and thinned out but for what is held, renamed or of another", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ...own, exclude: ["cache"] })
      const tank = kit.source("tank", [])
      const cache = kit.source("tank/cache", [])
      for (const name of ["1", "2"]) {
        assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent"])
        addSnapshot(kit.memory, tank, name)
      }
      yield* kit.run()
      assert.lengthOf(namesOf(cache), 0)
      assert.lengthOf(tank.snapshots, 3, "1, 2 and the newest")
      const [newest = ""] = namesOf(tank).filter((name) => name.startsWith("zipper-"))
      tank.snapshots = tank.snapshots.map((each) => (each.name === newest ? { ...each, name: "kept" } : each))
      kit.memory.marks.set("tank@kept", kit.memory.marks.get(`tank@${newest}`) ?? "")
      yield* kit.run()
      tank.snapshots = tank.snapshots.map((each) => (/^zipper/.test(each.name) ? { ...each, holds: 1 } : each))
      yield* kit.run()
      assert.deepStrictEqual(
        namesOf(tank).map((name) => name.replace(/\d{14}$/, "…")),
        [...["1", "2", "kept"], ...["zipper-pull-nas-…", "zipper-pull-nas-…"]]
      )
      assert.deepStrictEqual(kit.names("backup/nas/tank")?.length, 7)
    })
  )

  it.effect("stay while half a stream waits for its rest, and while the replica could not get them", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(own)
      const tank = kit.source("tank", [])
      tank.written = 100
      for (let run = 0; run < 3; run++) {
        tank.written = 100
        kit.memory.cuts.push(30)
        yield* kit.run({ retries: 0 })
      }
      assert.isDefined(kit.memory.target.datasets.get("backup/nas/tank")?.partial)
      assert.lengthOf(tank.snapshots, 3)
      yield* kit.run()
      assert.lengthOf(kit.names("backup/nas/tank") ?? [], 4)
      assert.lengthOf(tank.snapshots, 1)
    })
  )

  it.effect("stay of a dataset that was renamed until its replica is, however many runs fail", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ...own, bookmark: false })
      kit.source("tank", [])
      kit.source("tank/old", ["1"])
      yield* kit.run()
      const { source } = kit.memory
      const old = source.datasets.get("tank/old")
      assert.isDefined(old)
      const [, base] = old.snapshots
      source.datasets.delete("tank/old")
      const renamed = { ...old, name: "tank/new" }
      source.datasets.set("tank/new", renamed)
      for (const { name } of old.snapshots) {
        kit.memory.marks.set(`tank/new@${name}`, kit.memory.marks.get(`tank/old@${name}`) ?? "")
      }
      for (let run = 0; run < 3; run++) assert.include(short((yield* kit.run()).datasets), "tank/new failed")
      assert.include(renamed.snapshots, base)
      assert.lengthOf(renamed.snapshots, 5)
      const replica = kit.memory.target.datasets.get("backup/nas/tank/old")
      assert.isDefined(replica)
      kit.memory.target.datasets.delete("backup/nas/tank/old")
      kit.memory.target.datasets.set("backup/nas/tank/new", { ...replica, name: "backup/nas/tank/new" })
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent", "tank/new sent"])
      assert.lengthOf(renamed.snapshots, 2, "1 and the newest")
    })
  )

  it.effect("stay while the next stream starts from them, bookmark or not", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ...own, bookmark: false })
      const tank = kit.source("tank", [])
      yield* kit.run()
      const [base] = namesOf(tank)
      for (let run = 0; run < 3; run++) {
        kit.memory.failures.set("send tank", [zfsError("Other", "no")])
        yield* kit.run()
      }
      assert.deepStrictEqual([namesOf(tank)[0], tank.snapshots.length], [base, 4])
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank sent"])
      assert.lengthOf(tank.snapshots, 1)
    })
  )

  it.effect("that cannot be taken end the run before anything is sent; that cannot be destroyed are a remark", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(own)
      kit.source("tank", ["1"])
      const full = zfsError("NoSpace", "cannot take a snapshot of tank: out of space")
      kit.memory.failures.set("snapshot tank", [full])
      const error = yield* Effect.flip(kit.run())
      assert.deepStrictEqual([error._tag, error.message], ["PreflightError", full.message])
      assert.notInclude(kit.lines, `ERROR ${full.message}`, "the caller prints it")
      assert.isFalse(kit.memory.calls.some((call) => call.startsWith("send")))
      yield* kit.run()
      const old = namesOf(kit.memory.source.datasets.get("tank") ?? target("")).at(-1)
      kit.memory.failures.set(`destroy tank@${old}`, [zfsError("Other", "it is held")])
      const busy = namesOf(kit.memory.source.datasets.get("tank") ?? target("")).at(-1)
      assert.deepStrictEqual((yield* kit.run()).remarks, ["it is held"])
      // As it is while another job sends it.
      kit.memory.failures.set(`destroy tank@${old}`, [])
      kit.memory.failures.set(`destroy tank@${busy}`, [zfsError("Busy", "it is busy")])
      assert.deepStrictEqual((yield* kit.run()).remarks, [])
      assert.isTrue(kit.lines.some((line) => line.endsWith("it is busy")))
    })
  )

  it.effect("that could not be taken in one pool are told of where a signal comes while another pool is asked", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ...own, datasets: ["tank", "zoo"] })
      for (const name of ["tank", "zoo"]) kit.source(name, ["1"])
      kit.memory.failures.set("snapshot tank", [zfsError("NoSpace", "out of space")])
      kit.memory.delays.set("snapshot zoo", 60_000)
      const run = yield* Effect.fork(kit.unhurried())
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(run)
      assert.include(kit.lines, "ERROR out of space")
      assert.isFalse(kit.memory.calls.some((call) => call.startsWith("send")))
    })
  )

  it.effect("that cannot be taken in one pool fail the datasets of it, which are sent as they are", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit({ ...own, datasets: ["tank", "zoo"] })
      const tank = kit.source("tank", [])
      const zoo = kit.source("zoo", ["1"])
      const bare = kit.source("zoo/bare", [])
      kit.source("zoo/bare/below", ["1"])
      const error = zfsError("NoSpace", "cannot take a snapshot of zoo, zoo/bare: out of space")
      for (let run = 0; run < 3; run++) {
        kit.memory.failures.set("snapshot zoo zoo/bare zoo/bare/below", [error])
        addSnapshot(kit.memory, zoo, `at ${run}`)
        const { datasets } = yield* kit.run()
        assert.deepStrictEqual(short(datasets), [
          ...["tank sent", "zoo failed", "zoo/bare failed", "zoo/bare/below failed"]
        ])
        for (const name of ["zoo", "zoo/bare", "zoo/bare/below"]) {
          assert.strictEqual(errorOf(datasets, name), error.message)
        }
        const failed = datasets.find(({ dataset }) => dataset === "zoo")
        assert.isTrue(failed?.result === "failed" && failed.bytes > 0)
        assert.include(kit.lines, `ERROR ${error.message}`)
      }
      assert.deepStrictEqual(kit.names("backup/nas/zoo"), ["1", "at 0", "at 1", "at 2"])
      assert.deepStrictEqual(kit.names("backup/nas/zoo/bare/below"), ["1"])
      assert.lengthOf(tank.snapshots, 1, "thinned out all the same")
      assert.lengthOf(bare.snapshots, 0)
      assert.strictEqual((yield* kit.run()).failed, 0)
    })
  )

  it.effect("need permissions that the preflight names", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(own)
      kit.source("tank", [])
      kit.memory.source.account = { user: "bob", groups: [], root: false }
      kit.memory.source.allow.set("tank", allowTable("tank", "bob", ["send", "hold", "destroy"]))
      const { message } = yield* Effect.flip(kit.run())
      assert.match(
        message,
        /^bob may not snapshot, userprop, mount on tank; as root on nas: zfs allow -u bob snapshot,/
      )
      assert.deepStrictEqual(namesOf(kit.memory.source.datasets.get("tank") ?? target("")), [])
    })
  )

  it.effect("of two hosts with jobs of one name are told apart", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(own)
      const tank = kit.source("tank", [])
      yield* kit.run()
      const [first = ""] = namesOf(tank)
      kit.memory.marks.set(`tank@${first}`, "job=pull-nas,to=000000000000")
      yield* kit.run()
      assert.include(namesOf(tank), first)
    })
  )
})

describe("Sender", () => {
  it.effect("takes one snapshot of all datasets by one command, and looks at the second for a name that is taken", () =>
    Effect.gen(function* () {
      let taken = true
      const { calls, of } = sender((line) => {
        if (line.includes("zfs list")) return { stdout: "tank@zipper-n-19700101000001\t7\n" }
        if (!taken) return {}
        taken = false
        return { exitCode: 1, stderr: "cannot create snapshot 'tank@…': dataset already exists\n" }
      }, nas)
      yield* of.snapshot("zipper-n", ["tank", "tank/my data"], "job=n,to=1")
      assert.deepStrictEqual(calls.slice(0, 2), [
        "ssh: zfs snapshot -o 'zipper:source=job=n,to=1' tank@zipper-n-19700101000000 'tank/my data@zipper-n-19700101000000'",
        "ssh: zfs snapshot -o 'zipper:source=job=n,to=1' tank@zipper-n-19700101000001 'tank/my data@zipper-n-19700101000001'"
      ])
      const denied = sender(() => ({ exitCode: 1, stderr: "cannot create snapshots : permission denied\n" }), nas)
      assert.match(
        (yield* Effect.flip(denied.of.snapshot("zipper-n", ["tank"], "m"))).message,
        /cannot take a snapshot of tank: .*zfs allow -u backup snapshot,userprop 'tank'$/
      )
    })
  )

  it.effect("cuts a list of datasets that no command line holds", () =>
    Effect.gen(function* () {
      const { calls, of } = sender((line) => (line.includes("zfs list") ? { stdout: "a@b\t7\n" } : {}), nas)
      const many = Array.from({ length: 4000 }, (_, index) => `tank/${"x".repeat(60)}${index}`)
      yield* of.snapshot("zipper-n", many, "m")
      const taking = calls.filter((line) => line.includes("zfs snapshot"))
      assert.lengthOf(taking, 4)
      assert.strictEqual(taking.join(" ").match(/@zipper-n-/g)?.length, 4000)
      for (const line of taking) assert.isBelow(line.length, 128 * 1024)
    })
  )

  it.effect("takes a bookmark that is there already for made, and one that is gone for destroyed", () =>
    Effect.gen(function* () {
      const { calls, of } = sender((line) =>
        line.includes("bookmark")
          ? { exitCode: 1, stderr: "cannot create bookmark 'tank#b': bookmark exists\n" }
          : { exitCode: 1, stderr: "bookmark 'tank#b' does not exist.\n" }
      )
      yield* of.bookmark("tank", "1", "b")
      yield* of.destroyBookmark("tank", "b")
      assert.deepStrictEqual(calls, ["zfs bookmark tank@1 tank#b", "zfs destroy tank#b"])
      const denied = sender(() => ({ exitCode: 1, stderr: "cannot create bookmark 'tank#b': permission denied\n" }))
      assert.match(
        (yield* Effect.flip(denied.of.bookmark("tank", "1", "b"))).message,
        /zfs allow -u \S+ bookmark,destroy 'tank'$/
      )
    })
  )

  it.effect("reads the marks of all snapshots with one command, and what cannot be understood is no answer", () =>
    Effect.gen(function* () {
      const { calls, of } = sender(() => ({ stdout: "tank/a@1\tjob=n,to=1\n" }))
      assert.deepStrictEqual([...(yield* of.marks(["tank"]))], [["tank/a@1", "job=n,to=1"]])
      assert.deepStrictEqual(calls, ["zfs get -H -p -r -s local -t snapshot -o name,value zipper:source tank"])
      const odd = sender(() => ({ stdout: "what?\n" })).of
      assert.match((yield* Effect.flip(odd.marks(["tank"]))).message, /"what\?" is not what zfs prints/)
      assert.match((yield* Effect.flip(odd.written("tank"))).message, /is not what zfs prints/)
    })
  )
})

describe("a dry run of a job with snapshots", () => {
  it.effect("says what it would take, with what was written, and what it would destroy", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(own)
      const tank = kit.source("tank", [])
      addDataset(kit.memory, "source", "tank/a")
      yield* kit.run()
      tank.written = 2048
      yield* kit.run({ dryRun: true })
      const [first = ""] = namesOf(tank)
      const lines = kit.lines.filter((line) => line.includes("would"))
      assert.include(lines, "INFO would take a snapshot of tank, tank/a")
      assert.isTrue(
        lines.some((line) => /^INFO tank: would send .* 1 snapshot, 2\.0 KiB/.test(line)),
        lines.join("\n")
      )
      assert.include(lines, `INFO would destroy the snapshot tank@${first}`)
      assert.lengthOf(tank.snapshots, 1)
    })
  )
})
