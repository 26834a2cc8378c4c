import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { resolve, type SnapshotRef } from "../../src/source/SourceView.ts"
import { Process } from "../../src/system/Process.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { encodeMark } from "../../src/zfs/SnapshotPrune.ts"
import { type SnapshotHandle, Zfs } from "../../src/zfs/Zfs.ts"
import type { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import type { Evidence } from "../../src/zfs/ZfsDiff.ts"
import { fourLetters } from "../support/folders.ts"
import { makePool, makeUser, type Pool, put, sh, snapshotsOf, zfs } from "./support.ts"

const settings = { prefix: "auto-zip", runId: "r1", jobId: "job-1", folders: fourLetters }
const none: ReadonlySet<string> = new Set()

/** Zfs and zfs as another user, as far as the kernel can tell. */
const asUser = (uid: number) =>
  Layer.effect(
    Process,
    Effect.map(Process, (real) => {
      const wrap = <A extends { readonly program: string; readonly args: ReadonlyArray<string> }>(invocation: A) => ({
        ...invocation,
        program: "setpriv",
        args: [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", invocation.program, ...invocation.args]
      })
      return {
        ...real,
        run: (invocation) => real.run(wrap(invocation)),
        lines: (invocation, onLine) => real.lines(wrap(invocation), onLine),
        pipe: ([first, second, ...more]) => real.pipe([wrap(first), wrap(second), ...more.map(wrap)])
      }
    })
  ).pipe(Layer.provide(Process.layer))

const warnings: Array<string> = []
const remember = Logger.replace(
  Logger.defaultLogger,
  Logger.make(({ logLevel, message }) => {
    if (logLevel._tag !== "Debug") warnings.push(String(message))
  })
)

const real = Zfs.layer(settings).pipe(Layer.provide(Process.layer))

const exec = <A, E>(effect: Effect.Effect<A, E, Zfs>, layer: Layer.Layer<Zfs> = real) =>
  Effect.runPromise(effect.pipe(Effect.provide(layer), Effect.provide(remember)))

const failureOf = <A>(effect: Effect.Effect<A, ZfsError, Zfs>, layer: Layer.Layer<Zfs> = real) =>
  exec(Effect.flip(effect), layer)

const locate = (source: string) => Effect.flatMap(Zfs, (service) => service.locate(source))

/** A snapshot whose scope the test closes. */
const take = async (source: string, layer?: Layer.Layer<Zfs>) => {
  const scope = await Effect.runPromise(Scope.make())
  const handle = await exec(
    Effect.flatMap(Zfs, (service) =>
      Effect.flatMap(service.locate(source), (info) => Scope.extend(service.snapshot(info), scope))
    ),
    layer
  )
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void).pipe(Effect.provide(remember)))
  return { handle, close, ref: refOf(handle) }
}

const refOf = (handle: SnapshotHandle): SnapshotRef => {
  assert.ok(handle.view.snapshot)
  return handle.view.snapshot
}

/** A snapshot that is kept. */
const takeAndKeep = async (source: string) => {
  const { close, handle, ref } = await take(source)
  await Effect.runPromise(handle.keep)
  await close()
  return ref
}

const changesSince = async (source: string, base: SnapshotRef | undefined, layer?: Layer.Layer<Zfs>) => {
  const { close, handle } = await take(source, layer)
  const evidence = await Effect.runPromise(handle.changesSince(base))
  await close()
  return evidence
}

const verdicts = (evidence: Evidence) => Object.fromEntries([...evidence.folders].sort())

const prune = (source: string, keep: ReadonlySet<string> = none) =>
  Effect.flatMap(Zfs, (service) => Effect.flatMap(service.locate(source), (info) => service.prune(info, keep)))

const readIn = (handle: SnapshotHandle, file: string) =>
  fs.readFileSync(RawPath.toBuffer(resolve(handle.view, RawPath.fromText(file))), "utf8")

/** A mark of a process that does not exist. */
const deadMark = (overrides: Partial<Parameters<typeof encodeMark>[0]> = {}) =>
  `zipper:run=${encodeMark({ host: sh("hostname").trim(), pid: 4_000_000, start: "1@x", run: "old", job: "job-1", layout: "x", ...overrides })}`

describe("Zfs on OpenZFS", () => {
  let pool: Pool
  let data: string
  let source: string
  before(() => {
    pool = makePool()
    data = `${pool.name}/data`
    source = path.join(pool.mountpoint, "data")
  })
  after(() => pool.destroy())

  /** An empty dataset for each test. */
  const fresh = (...folders: ReadonlyArray<string>) => {
    sh("sh", "-c", `zfs list -H -o name ${data} >/dev/null 2>&1 && zfs destroy -R ${data} || true`)
    fs.rmSync(source, { recursive: true, force: true })
    zfs("create", data)
    for (const folder of folders) put(path.join(source, folder, "file"), folder)
    warnings.length = 0
  }

  it("finds the dataset of a folder, its children in archived folders, and nothing else", async () => {
    fresh("ABCD")
    zfs("create", `${data}/KID1`)
    zfs("create", `${data}/other`)
    zfs("create", "-o", `mountpoint=${source}/ABCD/deep`, `${data}/deep`)
    zfs("create", "-o", "canmount=off", `${data}/OFF1`)
    assert.deepEqual(await exec(locate(source)), {
      path: source,
      dataset: data,
      datasets: [data, `${data}/KID1`, `${data}/deep`]
    })
    put(path.join(source, "sub/EFGH/file"))
    assert.deepEqual((await exec(locate(`${source}/sub`))).datasets, [data])
    fs.symlinkSync(`${source}/sub`, `${pool.folder}/link`)
    assert.equal((await exec(locate(`${pool.folder}/link`))).dataset, data)
  })

  it("says what is wrong with a source that cannot be used", async () => {
    fresh("ABCD")
    assert.equal((await failureOf(locate("/proc"))).reason, "NotZfs")
    assert.match(
      (await failureOf(locate("/proc"))).message,
      /\/proc is not on ZFS but on proc; set "snapshots": "live"/
    )
    assert.equal((await failureOf(locate("/nowhere"))).reason, "NotFound")
    assert.match((await failureOf(locate(`${source}/ABCD/file`))).message, /is not a folder/)
    zfs("snapshot", `${data}@mine`)
    assert.match((await failureOf(locate(`${source}/.zfs/snapshot/mine`))).message, /is inside the snapshot/)
  })

  it("takes one snapshot of all, readable with snapdir=hidden, and destroys it when the scope closes", async () => {
    fresh("ABCD")
    zfs("create", `${data}/KID1`)
    put(`${source}/KID1/child`, "of the child")
    zfs("set", "snapdir=hidden", data)
    const { close, handle, ref } = await take(source)
    assert.match(ref.name, /^auto-zip-\d{14}$/)
    assert.equal(handle.view.label, `${data}@${ref.name}`)
    assert.deepEqual(Object.keys(ref.guids), [data, `${data}/KID1`])
    assert.equal(
      new Set(
        zfs("list", "-Hpo", "createtxg", ...Object.keys(ref.guids).map((ds) => `${ds}@${ref.name}`))
          .trim()
          .split("\n")
      ).size,
      1
    )
    put(`${source}/ABCD/file`, "later")
    assert.equal(readIn(handle, "ABCD/file"), "ABCD")
    assert.equal(readIn(handle, "KID1/child"), "of the child")
    assert.deepEqual(handle.view.blocked, [])
    await close()
    assert.deepEqual(snapshotsOf(data), [])
    assert.deepEqual(snapshotsOf(`${data}/KID1`), [])
    assert.deepEqual(warnings, [])
  })

  it("reads a source that is a folder inside the dataset, and one below a bind mount", async () => {
    fresh("sub/ABCD")
    const inside = await take(`${source}/sub`)
    assert.equal(readIn(inside.handle, "ABCD/file"), "sub/ABCD")
    await inside.close()
    const bind = path.join(pool.folder, "bind")
    fs.mkdirSync(bind)
    sh("mount", "--bind", `${source}/sub`, bind)
    const base = await takeAndKeep(bind)
    put(`${source}/sub/ABCD/file`, "2")
    put(`${source}/EFGH/file`, "outside")
    const bound = await take(bind)
    assert.equal(readIn(bound.handle, "ABCD/file"), "2")
    const evidence = await Effect.runPromise(bound.handle.changesSince(base))
    assert.deepEqual([evidence.otherwise, verdicts(evidence)], ["unchanged", { ABCD: "changed" }])
    await bound.close()
    sh("umount", bind)
  })

  it("blocks folders with a locked child, an unmounted child, or a foreign mount", async () => {
    fresh("ABCD", "TMPF")
    const key = path.join(pool.folder, "key")
    fs.writeFileSync(key, "passphrase\n")
    zfs(
      "create",
      "-o",
      "encryption=on",
      "-o",
      "keyformat=passphrase",
      "-o",
      `keylocation=file://${key}`,
      `${data}/LOCK`
    )
    zfs("unmount", `${data}/LOCK`)
    zfs("unload-key", `${data}/LOCK`)
    zfs("create", "-o", `mountpoint=${source}/ABCD/gone`, `${data}/gone`)
    zfs("unmount", `${data}/gone`)
    zfs("create", "-o", `mountpoint=${source}/FORE`, `${pool.name}/foreign`)
    sh("mount", "-t", "tmpfs", "tmpfs", `${source}/TMPF`)
    const { close, handle } = await take(source)
    const blocked = Object.fromEntries(handle.view.blocked.map(({ at, reason }) => [at, reason]))
    assert.deepEqual(Object.keys(blocked).sort(), ["ABCD/gone", "FORE", "LOCK", "TMPF"])
    assert.match(blocked["LOCK"] ?? "", /is locked \(its key is not loaded\): zfs load-key/)
    assert.match(blocked["ABCD/gone"] ?? "", /is not mounted: zfs mount/)
    assert.match(blocked["FORE"] ?? "", /is no child dataset/)
    assert.match(blocked["TMPF"] ?? "", /a mount of tmpfs/)
    await close()
    sh("umount", `${source}/TMPF`)
    zfs("destroy", `${pool.name}/foreign`)
  })

  it("takes the next free second when a name is taken", async () => {
    fresh("ABCD")
    const first = await takeAndKeep(source)
    const stamp = Number(first.name.slice(-2))
    for (let ahead = 1; ahead < 4; ahead++) {
      zfs("snapshot", `${data}@${first.name.slice(0, -2)}${String((stamp + ahead) % 60).padStart(2, "0")}`)
    }
    const { close, ref } = await take(source)
    assert.notEqual(ref.name, first.name)
    await close()
    assert.equal(snapshotsOf(data).length, 4)
  })

  it("tells changed folders by zfs diff, whatever the names", async () => {
    fresh("ABCD", "EFGH", "IJKL", "MNOP", "QUIE", "sub/ABCD", "RENA")
    const base = await takeAndKeep(source)
    const still = await changesSince(source, base)
    assert.deepEqual([still.otherwise, verdicts(still)], ["unchanged", {}])
    assert.match(still.reason, /compared with/)
    fs.renameSync(`${source}/ABCD/file`, `${source}/EFGH/moved here`)
    fs.writeFileSync(Buffer.from(`${source}/IJKL/tab\tnl\nback\\uml\u00fc -> \u0001`, "latin1"), "odd")
    fs.rmSync(`${source}/MNOP/file`)
    put(`${source}/sub/ABCD/file`, "not ours")
    put(`${source}/NEWF/deep/er/file`)
    fs.renameSync(`${source}/RENA`, `${source}/NAME`)
    const evidence = await changesSince(source, base)
    assert.equal(evidence.otherwise, "unchanged")
    // Whether "folders" asks for sub is not for the diff to know.
    const changed = ["ABCD", "EFGH", "IJKL", "MNOP", "NAME", "NEWF", "RENA", "sub"]
    assert.deepEqual(verdicts(evidence), Object.fromEntries(changed.map((folder) => [folder, "changed"])))
    const sub = await changesSince(`${source}/sub`, base)
    assert.equal(sub.otherwise, "unknown", "the base was taken of another folder")
  })

  it("sees a file that is removed while it is open, a mode, an attribute", async () => {
    fresh("ABCD", "EFGH", "IJKL", "MNOP")
    const base = await takeAndKeep(source)
    const open = fs.openSync(`${source}/ABCD/file`, "r")
    const young = fs.openSync(`${source}/EFGH/new`, "w")
    fs.writeSync(young, "never seen")
    fs.rmSync(`${source}/ABCD/file`)
    fs.rmSync(`${source}/EFGH/new`)
    fs.chmodSync(`${source}/IJKL/file`, 0o600)
    const evidence = await changesSince(source, base)
    fs.closeSync(open)
    fs.closeSync(young)
    assert.deepEqual(
      [evidence.otherwise, verdicts(evidence)],
      ["unchanged", { ABCD: "changed", EFGH: "changed", IJKL: "changed" }]
    )
  })

  it("names a file with several names once only: the rule that folders with hard links are compared stays needed", async () => {
    fresh("ABCD", "EFGH")
    fs.linkSync(`${source}/ABCD/file`, `${source}/EFGH/other`)
    const base = await takeAndKeep(source)
    fs.appendFileSync(`${source}/ABCD/file`, "more")
    const evidence = await changesSince(source, base)
    assert.equal(evidence.folders.size, 1)
    fs.linkSync(`${source}/ABCD/file`, `${source}/ABCD/third`)
    assert.equal((await changesSince(source, base)).otherwise, "unchanged")
  })

  it("counts a renamed source folder as changed all over", async () => {
    fresh("sub/ABCD")
    const base = await takeAndKeep(`${source}/sub`)
    fs.renameSync(`${source}/sub`, `${source}/away`)
    fs.renameSync(`${source}/away`, `${source}/sub`)
    assert.equal((await changesSince(`${source}/sub`, base)).otherwise, "unchanged")
    fs.renameSync(`${source}/sub`, `${source}/away`)
    put(`${source}/sub/EFGH/file`)
    assert.equal((await changesSince(`${source}/sub`, base)).otherwise, "changed")
  })

  it("follows child datasets: changed, new, gone, moved", async () => {
    fresh("ABCD", "EFGH")
    zfs("create", "-o", `mountpoint=${source}/ABCD/kid`, `${data}/kid`)
    const base = await takeAndKeep(source)
    const still = await changesSince(source, base)
    assert.deepEqual([still.otherwise, verdicts(still)], ["unchanged", { ABCD: "unchanged" }])
    put(`${source}/ABCD/kid/file`)
    assert.deepEqual(verdicts(await changesSince(source, base)), { ABCD: "changed" })
    zfs("create", `${data}/NEWK`)
    const withNew = await changesSince(source, base)
    assert.deepEqual([withNew.otherwise, verdicts(withNew)], ["unknown", { ABCD: "changed", NEWK: "changed" }])
    zfs("destroy", `${data}/NEWK`)
    zfs("set", `mountpoint=${source}/EFGH/kid`, `${data}/kid`)
    assert.equal((await changesSince(source, base)).otherwise, "unknown")
  })

  it("knows nothing without a base, and does not believe a base that only has its name", async () => {
    fresh("ABCD")
    assert.equal((await changesSince(source, undefined)).otherwise, "unknown")
    const base = await takeAndKeep(source)
    const other = { ...base, guids: { [data]: "1" } }
    assert.match((await changesSince(source, other)).reason, /is gone/)
    zfs("destroy", `${data}@${base.name}`)
    assert.equal((await changesSince(source, base)).otherwise, "unknown")
  })

  it("prunes ours and spares the kept, the held, the cloned, the living and the foreign", async () => {
    fresh("ABCD")
    const kept = await takeAndKeep(source)
    const alive = await take(source)
    zfs("snapshot", "-o", deadMark(), `${data}@auto-zip-20200101000001`)
    zfs("snapshot", "-o", deadMark(), `${data}@auto-zip-20200101000002`)
    zfs("hold", "keepit", `${data}@auto-zip-20200101000002`)
    zfs("snapshot", "-o", deadMark(), `${data}@auto-zip-20200101000003`)
    zfs("clone", "-o", "mountpoint=none", `${data}@auto-zip-20200101000003`, `${pool.name}/clone`)
    const foreign = [
      ["-o", deadMark({ job: "another" }), `${data}@auto-zip-20200101000004`],
      ["-o", deadMark(), `${data}@auto-zip-20200101000005x`],
      ["-o", deadMark(), `${data}@auto-zip-20201301000006`],
      ["-o", deadMark(), `${data}@other-20200101000007`],
      ["-o", "zipper:run=something", `${data}@auto-zip-20200101000008`],
      [`${data}@auto-zip-20200101000009`],
      ["-o", deadMark({ host: "another" }), `${data}@auto-zip-20200101000010`]
    ]
    for (const args of foreign) zfs("snapshot", ...args)
    // A property that is only inherited makes nothing ours.
    zfs("set", deadMark(), data)
    const prunedDry = await exec(
      prune(source, new Set(Object.values(kept.guids))),
      Zfs.layerDryRun(settings).pipe(Layer.provide(Process.layer))
    )
    assert.deepEqual(prunedDry.destroyed, [], "it only says so")
    assert.equal(snapshotsOf(data).length, 12)
    const report = await exec(prune(source, new Set(Object.values(kept.guids))))
    assert.deepEqual(report.destroyed, [`${data}@auto-zip-20200101000001`])
    assert.deepEqual(
      report.spared.map(({ snapshot }) => snapshot),
      [`${data}@auto-zip-20200101000002`, `${data}@auto-zip-20200101000003`]
    )
    assert.match(report.spared[0]?.reason ?? "", /held/)
    assert.match(report.spared[1]?.reason ?? "", /clone/)
    assert.equal(snapshotsOf(data).length, 11)
    await alive.close()
    assert.ok(!snapshotsOf(data).includes(`${data}@${alive.ref.name}`))
    zfs("release", "keepit", `${data}@auto-zip-20200101000002`)
    zfs("destroy", `${pool.name}/clone`)
  })

  it("spares a snapshot that is busy, and says so", async () => {
    fresh("ABCD")
    zfs("snapshot", "-o", deadMark(), `${data}@auto-zip-20200101000001`)
    const open = fs.openSync(`${source}/.zfs/snapshot/auto-zip-20200101000001/ABCD/file`, "r")
    const report = await exec(prune(source))
    assert.deepEqual(report.destroyed, [])
    assert.match(report.spared[0]?.reason ?? "", /busy/)
    fs.closeSync(open)
    assert.deepEqual((await exec(prune(source))).destroyed, [`${data}@auto-zip-20200101000001`])
  })

  it("works for a user with delegated permissions, and names what is missing", async () => {
    fresh("ABCD")
    zfs("create", `${data}/KID1`)
    const user = Zfs.layer(settings).pipe(Layer.provide(asUser(makeUser("zipperuser"))))
    const denied = await failureOf(
      Effect.scoped(Effect.flatMap(Zfs, (service) => Effect.flatMap(service.locate(source), service.snapshot))),
      user
    )
    assert.equal(denied.reason, "PermissionDenied")
    assert.match(denied.message, /zfs allow -u \S+ snapshot,destroy,mount,userprop,diff/)
    zfs("allow", "-u", "zipperuser", "snapshot,userprop", data)
    const base = await takeAndKeep(source)
    const undiffed = await take(source, user)
    const evidence = await Effect.runPromise(undiffed.handle.changesSince(base))
    assert.equal(evidence.otherwise, "unknown")
    assert.match(evidence.reason, /zfs diff is not permitted.*zfs allow/)
    await undiffed.close()
    assert.match(warnings.join("\n"), /cannot destroy the snapshot .*permission denied.*zfs allow/)
    warnings.length = 0
    zfs("destroy", `${data}@${undiffed.ref.name}`)
    zfs("destroy", `${data}/KID1@${undiffed.ref.name}`)
    zfs("allow", "-u", "zipperuser", "snapshot,destroy,mount,userprop,diff", data)
    put(`${source}/KID1/file`)
    const { close, handle, ref } = await take(source, user)
    fs.readdirSync(RawPath.toBuffer(handle.view.root))
    const changes = await Effect.runPromise(handle.changesSince(base))
    assert.deepEqual([changes.otherwise, verdicts(changes)], ["unchanged", { KID1: "changed" }])
    await close()
    assert.ok(!snapshotsOf(data).includes(`${data}@${ref.name}`))
    assert.deepEqual(warnings, [])
  })

  it("takes no snapshot in a dry run", async () => {
    fresh("ABCD")
    const dry = Zfs.layerDryRun(settings).pipe(Layer.provide(Process.layer))
    const handle = await exec(
      Effect.scoped(Effect.flatMap(Zfs, (service) => Effect.flatMap(service.locate(source), service.snapshot))),
      dry
    )
    assert.equal(handle.view.root, source)
    assert.equal(handle.view.frozen, false)
    assert.deepEqual(snapshotsOf(data), [])
    assert.match(warnings.join("\n"), /would take a snapshot/)
  })

  it("serves mount points and datasets with odd names", async () => {
    const odd = `${pool.name}/my data`
    const mountpoint = path.join(pool.folder, "od d\ttab\u00fc")
    zfs("create", "-o", `mountpoint=${mountpoint}`, odd)
    put(`${mountpoint}/ABCD/file`, "odd")
    const base = await takeAndKeep(mountpoint)
    put(`${mountpoint}/ABCD/file`, "2")
    const { close, handle } = await take(mountpoint)
    assert.equal(readIn(handle, "ABCD/file"), "2")
    const evidence = await Effect.runPromise(handle.changesSince(base))
    assert.deepEqual([evidence.otherwise, verdicts(evidence)], ["unchanged", { ABCD: "changed" }])
    await close()
    zfs("destroy", "-r", odd)
  })
})
