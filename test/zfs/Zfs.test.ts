import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { Process } from "../../src/system/Process.ts"
import { ProcessError } from "../../src/system/supervise.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import type { SourceName } from "../../src/zfs/JobIdentity.ts"
import { destroy, destroyAll, encodeMark, markedSnapshots, planPrune, startOf } from "../../src/zfs/SnapshotPrune.ts"
import { checkTarget, fingerprint, isGone, type Layout } from "../../src/zfs/SourceLayout.ts"
import { Zfs } from "../../src/zfs/Zfs.ts"
import { failure, makeCommands } from "../../src/zfs/ZfsCommand.ts"
import { changesSince } from "../../src/zfs/ZfsDiff.ts"
import { makeZfsMemory, memoryZfs } from "../doubles/Zfs.ts"
import { fourLetters } from "../support/folders.ts"
import { type Answer, processFake } from "../support/program/processFake.ts"

let folder: string
beforeAll(() => {
  folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "zipper-zfs-")))
  fs.writeFileSync(path.join(folder, "file"), "")
})
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const settings = { prefix: "auto-zip", runId: "r", jobId: "job", hostname: "nas", folders: fourLetters }
const raw = RawPath.fromLatin1

/** The zfs commands on a scripted program. */
const scripted = (answer: (commandLine: string) => Answer) => {
  const fake = processFake(answer)
  const process = Effect.map(Layer.build(fake.layer), Context.get(Process)).pipe(Effect.scoped, Effect.runSync)
  return { calls: fake.calls, process, commands: makeCommands(process) }
}

const layout: Layout = {
  dataset: "tank/data",
  mountpoint: raw("/d"),
  within: raw(""),
  diffTop: raw("/d"),
  children: [{ dataset: "tank/data/kid", at: raw("KIDS/a"), mountpoint: raw("/d/KIDS/a") }],
  blocked: []
}
const base = { name: "old", guids: { "tank/data": "1", "tank/data/kid": "2" } }
const now = { name: "new", guids: { "tank/data": "3", "tank/data/kid": "4" } }
const mark = (more = {}) =>
  encodeMark({ host: "nas", pid: 1, start: "s", run: "r", job: "job", layout: fingerprint(layout), ...more })
const bothBases = `tank/data@old\t1\t${mark()}\ntank/data/kid@old\t2\t${mark()}\n`

/** Evidence when `zfs list` and the two diffs answer so. */
const evidence = (listed: Answer, own: Answer, kid: Answer = {}) => {
  const { commands } = scripted((line) => (line.startsWith("zfs list") ? listed : line.includes("kid@") ? kid : own))
  return Effect.map(changesSince(commands, layout, now, base), ({ folders, otherwise, reason }) => ({
    otherwise,
    folders: Object.fromEntries(folders),
    reason
  }))
}

describe("a source that is gone", () => {
  const listed = { stdout: "safe\toff\t-\tnone\nsafe/to\ton\t-\t/safe/to\n" }
  const ask = (source: SourceName) => {
    const { commands, process } = scripted(() => listed)
    return isGone({ process, commands }, source)
  }

  it.effect("is one whose dataset was destroyed, and none whose pool is only not imported", () =>
    Effect.gen(function* () {
      const source_path = path.join(folder, "not-there")
      assert.isTrue(yield* ask({ source_path, dataset: "safe/data" }))
      assert.isFalse(yield* ask({ source_path, dataset: "safe/to" }))
      assert.isFalse(yield* ask({ source_path, dataset: "tank/data" }))
      assert.isTrue(yield* ask({ source_path }))
    })
  )

  it.effect("cannot be told of a dataset by a job that reads live and asks no zfs", () =>
    Effect.gen(function* () {
      const live = yield* Zfs
      const source_path = path.join(folder, "not-there")
      assert.isTrue(yield* live.isGone({ source_path }))
      assert.isFalse(yield* live.isGone({ source_path, dataset: "tank/data" }))
    }).pipe(Effect.provide(Zfs.layerLive))
  )
})

describe("the target's dataset", () => {
  const check = (listed: string, target = folder) => {
    const { commands, process } = scripted(() => ({ stdout: listed }))
    return Effect.map(Effect.either(checkTarget({ process, commands }, target)), (found) =>
      found._tag === "Left" ? found.left.message : ""
    )
  }

  it.effect("has to be mounted, by whatever name the target is called", () =>
    Effect.gen(function* () {
      const missing = `safe\toff\t-\t/\nsafe/to\ton\t-\t${folder}\n`
      const told = `the target ${folder} belongs to dataset safe/to, which is not mounted: zfs mount 'safe/to'; or, if it does not belong there: zfs set canmount=noauto 'safe/to'`
      assert.strictEqual(yield* check(missing), told)
      const link = path.join(folder, "link")
      fs.symlinkSync(folder, link)
      assert.strictEqual(yield* check(missing, link), told)
      assert.strictEqual(yield* check(`safe/to\ton\t-\t${folder}/else\n`), "")
      assert.strictEqual(yield* check(missing, path.join(folder, "not-there")), "")
    })
  )
})

describe("Zfs errors", () => {
  it("know a permission from a busy snapshot, and say what to do", () => {
    const of = (stderr: string) => failure("destroy x", "tank/my data", { exitCode: 1, stdout: "", stderr })
    const denied = of("cannot destroy snapshots: permission denied\n")
    assert.strictEqual(denied.reason, "PermissionDenied")
    assert.match(
      denied.message,
      /^cannot destroy x: cannot destroy snapshots: permission denied; root can grant it: zfs allow -u \S+ snapshot,destroy,mount,userprop,diff 'tank\/my data'$/
    )
    assert.match(of("Permission denied the ZFS utilities must be run as root.\n").message, /may not open \/dev\/zfs/)
    assert.deepInclude(of("cannot destroy snapshot a@b: dataset is busy\n"), {
      reason: "Busy",
      transient: true
    })
    assert.strictEqual(
      of("cannot open 'a': dataset does not exist\nusage:\n\tsnapshot …\n").message,
      "cannot destroy x: cannot open 'a': dataset does not exist"
    )
    assert.strictEqual(of("could not find any snapshots to destroy; check snapshot names.\n").reason, "NotFound")
    assert.strictEqual(
      of("The ZFS modules are not loaded.\nTry running '/sbin/modprobe zfs' as root to load them.\n").reason,
      "NotInstalled"
    )
    assert.match(
      of("cannot hold: delegated administration is disabled on pool\n").message,
      /on pool; root can enable it there: zpool set delegation=on tank$/
    )
    assert.match(of("").message, /exit status 1 and no message/)
  })

  it.effect("say that OpenZFS is missing", () =>
    Effect.gen(function* () {
      const { commands } = scripted(
        () =>
          new ProcessError({
            reason: "NotFound",
            program: "zfs",
            message: "zfs: program not found",
            transient: false
          })
      )
      const error = yield* Effect.flip(commands.attempt(["list"]))
      assert.strictEqual(error.reason, "NotInstalled")
      assert.match(error.message, /OpenZFS; or set "snapshots": "live"/)
    })
  )
})

describe("Zfs.layer without ZFS", () => {
  it.live("refuses a source that is no folder on ZFS, before it needs any program", () =>
    Effect.gen(function* () {
      const zfs = yield* Zfs
      assert.strictEqual((yield* Effect.flip(zfs.locate("/proc"))).reason, "NotZfs")
      assert.match((yield* Effect.flip(zfs.locate("/proc"))).message, /\/proc is not on ZFS but on proc/)
      assert.match(
        (yield* Effect.flip(zfs.locate(path.join(folder, "no")))).message,
        /no such file or directory.*check source_path/
      )
      assert.match((yield* Effect.flip(zfs.locate(path.join(folder, "file")))).message, /it is not a folder/)
    }).pipe(Effect.provide(Zfs.layer(settings).pipe(Layer.provide(processFake(() => ({ exitCode: 1 })).layer))))
  )
})

describe("changesSince", () => {
  it.effect("trusts the diffs when base, guid and arrangement are what they were", () =>
    Effect.gen(function* () {
      const got = yield* evidence({ stdout: bothBases }, { stdout: "M\t/\t/d/ABCD\nM\tF\t/d/ABCD/x\n" })
      assert.deepStrictEqual(got, {
        otherwise: "unchanged",
        folders: { ABCD: "changed", KIDS: "unchanged" },
        reason: "compared with tank/data@old"
      })
    })
  )

  it.effect("counts any line of a child's diff for the folder it is in", () =>
    Effect.gen(function* () {
      const got = yield* evidence({ stdout: bothBases }, {}, { stdout: "M\t/\t/d/KIDS/a/\n" })
      assert.deepStrictEqual([got.otherwise, got.folders], ["unchanged", { KIDS: "changed" }])
    })
  )

  it.effect("takes a failed, forbidden or hanging diff for ignorance: every file is looked at", () =>
    Effect.gen(function* () {
      const broken = yield* evidence(
        { stdout: bothBases },
        { exitCode: 1, stdout: "M\t/\t/d/ABCD\n", stderr: "Unable to determine path or stats for object 5\n" }
      )
      assert.deepStrictEqual([broken.otherwise, broken.folders], ["unknown", { ABCD: "changed", KIDS: "unknown" }])
      assert.match(broken.reason, /Unable to determine path/)
      const stderr =
        "Unable to obtain diffs: \n   The sys_mount privilege or diff delegated permission is needed\n   to execute the diff ioctl\n"
      const denied = yield* evidence({ stdout: bothBases }, { exitCode: 1, stderr }, { exitCode: 1, stderr })
      assert.deepStrictEqual([denied.otherwise, denied.folders], ["unknown", { KIDS: "unknown" }])
      assert.match(denied.reason, /zfs allow/)
      const timeout = new ProcessError({
        reason: "Timeout",
        program: "zfs",
        message: "too long",
        transient: true
      })
      assert.strictEqual((yield* evidence({ stdout: bothBases }, timeout)).otherwise, "unknown")
    })
  )

  it.effect("knows nothing when the base is gone, has another guid, or another arrangement", () =>
    Effect.gen(function* () {
      const clean = {}
      const gone = yield* evidence(
        { exitCode: 1, stderr: "cannot open 'tank/data@old': dataset does not exist\n" },
        clean
      )
      assert.strictEqual(gone.otherwise, "unknown")
      const replaced = yield* evidence({ stdout: bothBases.replace("\t1\t", "\t7\t") }, clean)
      assert.strictEqual(replaced.otherwise, "unknown")
      const moved = yield* evidence(
        { stdout: bothBases.replaceAll(mark(), mark({ layout: "other" })) },
        { stdout: "M\tF\t/d/ABCD/x\n" }
      )
      assert.deepStrictEqual([moved.otherwise, moved.folders], ["unknown", { ABCD: "changed", KIDS: "unknown" }])
      const unmarked = yield* evidence({ stdout: bothBases.replaceAll(mark(), "-") }, clean)
      assert.strictEqual(unmarked.otherwise, "unknown")
      const newChild = yield* evidence({ stdout: bothBases.split("\n")[0] ?? "", exitCode: 1 }, clean)
      assert.deepStrictEqual([newChild.otherwise, newChild.folders], ["unchanged", { KIDS: "unknown" }])
    })
  )
})

describe("destroy", () => {
  it.effect("tries a busy snapshot again for a while", () =>
    Effect.gen(function* () {
      let busy = 3
      const { calls, commands } = scripted((line) =>
        line.startsWith("zfs list")
          ? { stdout: "7\n" }
          : busy-- > 0
            ? { exitCode: 1, stderr: "cannot destroy snapshot a@b: dataset is busy" }
            : {}
      )
      const fiber = yield* Effect.fork(destroy(commands, "a@b", "7"))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.strictEqual(calls.filter((line) => line === "zfs destroy a@b").length, 4)
    })
  )

  it.effect("says once why a snapshot is busy, and what may be the cause", () =>
    Effect.gen(function* () {
      const { commands } = scripted((line) =>
        line.startsWith("zfs list")
          ? { stdout: "7\n" }
          : { exitCode: 1, stderr: "cannot destroy snapshot a@b: dataset is busy" }
      )
      const due = { name: "a@b", guid: "7", createtxg: 1n, creation: 1, holds: 0, clones: [], mark: undefined }
      const fiber = yield* Effect.fork(destroyAll(commands, { destroy: [due], spare: [] }))
      yield* TestClock.adjust("1 minute")
      const reason = "cannot destroy snapshot a@b: dataset is busy; something has it mounted or open, or sends it"
      assert.deepStrictEqual((yield* Fiber.join(fiber)).spared, [{ snapshot: "a@b", reason }])
    })
  )

  it.effect("does not touch another snapshot that has the name, and does not mind one that is gone", () =>
    Effect.gen(function* () {
      const other = scripted(() => ({ stdout: "8\n" }))
      const error = yield* Effect.flip(destroy(other.commands, "a@b", "7"))
      assert.match(error.message, /another snapshot has taken its name/)
      const gone = scripted(() => ({ exitCode: 1, stderr: "cannot open 'a@b': dataset does not exist" }))
      yield* destroy(gone.commands, "a@b", "7")
      assert.deepStrictEqual(
        [...other.calls, ...gone.calls].filter((line) => line.includes("destroy")),
        []
      )
    })
  )
})

describe("planPrune", () => {
  const source = (...datasets: ReadonlyArray<string>) => ({
    path: "/mnt/tank/data",
    dataset: "tank/data",
    datasets
  })

  const name = (second: number) => `tank/data@auto-zip-2025010112000${second}`

  /** Names that are chosen among snapshots with these marks; all were created at second 1,000,000. */
  const chosen = (marks: ReadonlyArray<string>, clockSeconds = 1_000_000) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(clockSeconds * 1000)
      const { commands, process } = scripted((line) => ({
        stdout: marks
          .map((value, i) =>
            line.startsWith("zfs get") ? `${name(i)}\t${value}\n` : `${name(i)}\t${i + 10}\t${i}\t1000000\t0\t-\n`
          )
          .join("")
      }))
      const plan = yield* planPrune({ process, commands, settings }, source("tank/data"), new Set())
      return plan.destroy.map((snapshot) => snapshot.name)
    })

  it.effect("spares the run of a living process, not that of an earlier one with its pid", () =>
    Effect.gen(function* () {
      const start = yield* Effect.flatMap(Process, (service) => startOf(service, process.pid)).pipe(
        Effect.provide(Process.layer)
      )
      const marks = [
        mark({ pid: process.pid, start }),
        mark({ pid: process.pid, start: "another" }),
        mark({ pid: 999_999_999 })
      ]
      assert.deepStrictEqual(yield* chosen(marks), [name(1), name(2)])
    })
  )

  it.effect("takes a run on another host to be alive for a day, whichever way the clocks differ", () =>
    Effect.gen(function* () {
      const marks = [mark({ host: "other", pid: 999_999_999 })]
      assert.deepStrictEqual(yield* chosen(marks, 1_000_000 + 86_399), [])
      assert.deepStrictEqual(yield* chosen(marks, 1_000_000 + 86_400), [name(0)])
      assert.deepStrictEqual(yield* chosen(marks, 1_000_000 - 86_399), [])
      assert.deepStrictEqual(yield* chosen(marks, 1_000_000 - 86_400), [name(0)])
    })
  )

  it.effect("leaves another prefix alone, and what is asked for by the mark has any prefix", () =>
    Effect.gen(function* () {
      const names = ["tank/data@former-20250101120000", "tank/data@kept-by-hand", name(0)]
      const { commands, process } = scripted((line) => ({
        stdout: names
          .filter((each) => line.startsWith("zfs get") || line.includes(each))
          .map((each) =>
            line.startsWith("zfs get") ? `${each}\t${mark({ pid: 999_999_999 })}\n` : `${each}\t1\t1\t1000000\t0\t-\n`
          )
          .join("")
      }))
      const plan = yield* planPrune({ process, commands, settings }, source("tank/data"), new Set())
      assert.deepStrictEqual(
        plan.destroy.map((snapshot) => snapshot.name),
        [name(0)]
      )
      const found = yield* markedSnapshots({ process, commands, settings }, source("tank/data"))
      assert.deepStrictEqual(
        found.map((snapshot) => snapshot.name),
        [names[0], name(0)]
      )
    })
  )

  it.effect("asks no more when nothing is marked", () =>
    Effect.gen(function* () {
      const { calls, commands, process } = scripted(() => ({ stdout: "" }))
      yield* planPrune({ process, commands, settings }, source("tank/data", "tank/data/kid"), new Set())
      assert.deepStrictEqual(calls, [
        "zfs get -H -p -s local -d 1 -t snapshot -o name,value zipper:run tank/data tank/data/kid"
      ])
    })
  )

  it.effect("fails when zfs fails, instead of finding nothing", () =>
    Effect.gen(function* () {
      const { commands, process } = scripted(() => ({ exitCode: 1, stderr: "internal error" }))
      const error = yield* Effect.flip(planPrune({ process, commands, settings }, source("tank/data"), new Set()))
      assert.match(error.message, /cannot list the snapshots of tank\/data: internal error/)
    })
  )
})

describe("Zfs.layerLive", () => {
  it.scoped("shows the folder as it is, and knows nothing of changes", () =>
    Effect.gen(function* () {
      const zfs = yield* Zfs
      const source = yield* zfs.locate(folder)
      assert.deepStrictEqual(source, { path: folder, dataset: undefined, datasets: [] })
      const { changesSince: changes, keep, view } = yield* zfs.snapshot(source)
      assert.deepInclude(view, {
        label: "live",
        snapshot: undefined,
        root: RawPath.fromText(folder),
        frozen: false
      })
      assert.strictEqual((yield* changes(undefined)).otherwise, "unknown")
      yield* keep
      assert.deepStrictEqual(yield* zfs.prune(source, new Set()), { destroyed: [], spared: [] })
      assert.strictEqual((yield* Effect.flip(zfs.locate(path.join(folder, "file")))).reason, "NotFound")
    }).pipe(Effect.provide(Zfs.layerLive))
  )
})

describe("memoryZfs", () => {
  it.effect("releases what is not kept, and prunes what is kept no longer", () =>
    Effect.gen(function* () {
      const memory = makeZfsMemory(folder)
      yield* Effect.gen(function* () {
        const zfs = yield* Zfs
        const source = yield* zfs.locate("/x")
        yield* Effect.scoped(zfs.snapshot(source))
        yield* Effect.scoped(Effect.flatMap(zfs.snapshot(source), ({ keep }) => keep))
        assert.deepStrictEqual(
          memory.snapshots.map(({ status }) => status),
          ["released", "kept"]
        )
        assert.deepStrictEqual((yield* zfs.prune(source, new Set(["2"]))).destroyed, [])
        assert.strictEqual((yield* zfs.prune(source, new Set())).destroyed.length, 1)
        assert.deepStrictEqual(
          memory.snapshots.map(({ status }) => status),
          ["released", "pruned"]
        )
      }).pipe(Effect.provide(memoryZfs(memory)))
    })
  )
})
