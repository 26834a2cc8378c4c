import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { assert } from "vitest"
import { beginLook, endLook } from "../../src/replication/Look.ts"
import { type RecoverRequest, runRecover } from "../../src/replication/Recover.ts"
import { propertiesIn, RecoveredEnd, ReplicaEnd } from "../../src/replication/RecoverEnd.ts"
import { Progress } from "../../src/system/Progress.ts"
import { commandText } from "../../src/zfs/ZfsCommand.ts"
import { memoryLock } from "../doubles/Lock.ts"
import { within } from "../doubles/replication/end.ts"
import {
  addDataset,
  addSnapshot,
  joinKey,
  type MemoryDataset,
  makeReplicationMemory,
  operation,
  type ReplicationMemory,
  write,
  zfsError
} from "../doubles/replication/world.ts"
import { job, letTimePass, recording, servicesOf } from "../support/replication/replication.ts"

const root = "backup/nas/tank"
const settings = { run: "abcdef", retries: 0, lockfile: "/lock", lockWait: 0 }

/** One of the machines for `recover`: a dataset that was received has the mark until `zfs inherit` takes it off. */
const workEnd = (memory: ReplicationMemory, side: "source" | "target", dryRun: boolean, ran: Array<string>) => {
  const { account, datasets, label } = memory[side]
  const rowsOf = (name: string) => {
    const found = datasets.get(name)
    const local = (property: string, value: string | undefined) =>
      value === undefined ? [] : [[name, property, value, "-", "local"].join("\t")]
    return [
      ...local("zipper:recover", side === "target" ? found?.mode : undefined),
      ...local("zipper:placeholder", found?.placeholder ? "1" : undefined),
      ...local("zipper:send", side === "source" ? (found?.encrypted ? "raw" : "plain") : undefined),
      ...local("encryptionroot", found?.key?.root),
      ...local("keystatus", found?.key && (found.properties.get("key") ?? "unavailable")),
      ...local("canmount", found?.properties.get("canmount")),
      ...local("mountpoint", `/${name}`),
      ...local("mounted", found?.properties.get("mounted") ?? "no"),
      ...(side === "source" && name === root ? [[name, "compression", "zstd", "zstd", "received"].join("\t")] : []),
      ...[found?.properties.get("mountpoint") ?? []]
        .flat()
        .map((path) => [name, "mountpoint", path, path, "received"].join("\t"))
    ].map((line) => `${line}\n`)
  }
  return {
    label,
    account: Effect.succeed(account),
    dryRun,
    properties: (name: string) =>
      Effect.sync(() =>
        propertiesIn(
          within(datasets, [name])
            .flatMap((each) => rowsOf(each.name))
            .join("")
        )
      ),
    change: (_: string, args: ReadonlyArray<string>) =>
      operation(memory, commandText(args), () =>
        Effect.sync(() => {
          ran.push(commandText(args))
          const found = datasets.get(args.at(-1) ?? "")
          if (dryRun || found === undefined) return
          if (args[1] === "-S") found.properties.set("canmount", "on")
          if (args[0] === "load-key") found.properties.set("key", "available")
          if (args[0] === "change-key") joinKey(memory, side, found.name)
          if (args[0] === "mount") found.properties.set("mounted", "yes")
          if (args[1] === "zipper:recover") found.mode = undefined
          if (args[1] === "zipper:placeholder") found.placeholder = false
        })
      ),
    isFree: (path: string) => Effect.succeed(!path.includes("full") && path !== "/key"),
    mountpoints: Effect.sync(
      () => new Map([...datasets.values()].map(({ name, properties }) => [name, String(properties.get("mountpoint"))]))
    ),
    looks: Effect.succeed([{ name: "backup/zipper-look-abcdef", folder: "/look", replica: root }])
  }
}

const makeKit = () => {
  const memory = makeReplicationMemory()
  const lines: Array<string> = []
  const ran: Array<string> = []
  for (const name of [root, `${root}/a`, `${root}/a/b`]) {
    const replica = addDataset(memory, "source", name)
    if (name !== `${root}/a`) for (const each of ["1", "2", "3"]) addSnapshot(memory, replica, each)
  }
  addDataset(memory, "target", "new")
  const layer = (dryRun: boolean) =>
    Layer.mergeAll(
      servicesOf(memory, dryRun),
      Layer.succeed(ReplicaEnd, workEnd(memory, "source", dryRun, ran)),
      Layer.succeed(RecoveredEnd, workEnd(memory, "target", dryRun, ran)),
      memoryLock(),
      Progress.layerNone,
      recording(lines)
    )
  const request = {
    dataset: "tank",
    replica: root,
    target: "new/t",
    at: undefined,
    key: undefined,
    sameHost: false,
    ...settings
  }
  return {
    memory,
    lines,
    ran,
    recover: (more: Partial<RecoverRequest & { readonly dryRun: boolean }> = {}) =>
      letTimePass(runRecover(job, { ...request, ...more })).pipe(Effect.provide(layer(more.dryRun ?? false))),
    look: (folder: string) =>
      beginLook({
        job: "nas",
        config: "/mnt/tank/z.json",
        replica: root,
        folder,
        at: undefined,
        retries: 0,
        run: "ab12cd"
      }).pipe(Effect.provide(layer(false))),
    done: (folder: string, replica?: string) =>
      endLook({ job: "nas", config: undefined, replica, folder, at: undefined, retries: 0, run: "ab12cd" }).pipe(
        Effect.provide(layer(false))
      ),
    guids: (side: "source" | "target", name: string) =>
      memory[side].datasets.get(name)?.snapshots.map(({ guid }) => guid)
  }
}

const found = ({ datasets }: ReplicationMemory["source"], name: string): MemoryDataset => {
  const dataset = datasets.get(name)
  assert.isDefined(dataset)
  return dataset
}

const results = ({
  datasets
}: {
  readonly datasets: ReadonlyArray<{ readonly target: string; readonly result: string }>
}) => datasets.map(({ result, target }) => `${target} ${result}`)

describe("recover", () => {
  it.effect("makes working datasets: every snapshot, properties, mounts from the top, marks from the bottom", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      const summary = yield* kit.recover()
      assert.deepStrictEqual(results(summary), ["new/t recovered", "new/t/a made", "new/t/a/b recovered"])
      for (const name of ["", "/a/b"])
        assert.deepStrictEqual(kit.guids("target", `new/t${name}`), kit.guids("source", root + name))
      assert.deepStrictEqual(kit.ran, [
        commandText(["set", "compression=zstd", "new/t"]),
        "zfs inherit -S canmount new/t",
        "zfs inherit -S canmount new/t/a",
        "zfs inherit -S canmount new/t/a/b",
        "zfs mount new/t",
        "zfs mount new/t/a",
        "zfs mount new/t/a/b",
        "zfs inherit zipper:recover new/t/a/b",
        "zfs inherit zipper:placeholder new/t/a",
        "zfs inherit zipper:recover new/t"
      ])
      assert.deepStrictEqual([summary.failed, summary.refused, summary.todo], [0, 0, []])
      // The stream of the first brought one.
      assert.include(
        kit.lines.join("\n"),
        "no properties to new/t/a, new/t/a/b: what the original had set is not known"
      )
      const again = yield* Effect.flip(kit.recover())
      assert.match(again.message, /^new\/t exists already/)
      Object.assign(kit.memory.target, { label: "root@nas" })
      assert.match((yield* Effect.flip(kit.recover())).message, /^on root@nas: new\/t exists already/)
    })
  )

  it.effect("gives no dataset a mountpoint of its original where something is, and says how to set it later", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      found(kit.memory.source, root).properties.set("mountpoint", "/srv/full")
      found(kit.memory.source, `${root}/a/b`).properties.set("mountpoint", "/srv/free")
      const summary = yield* kit.recover()
      const set = commandText(["set", "mountpoint=/srv/full", "new/t"])
      assert.deepStrictEqual([summary.failed, summary.todo], [0, [set]])
      assert.isTrue(kit.lines.some((line) => line.includes("since /srv/full is not empty") && line.endsWith(set)))
      assert.notInclude(kit.ran.join(), "/srv/full")
      assert.include(kit.ran, commandText(["set", "mountpoint=/srv/free", "new/t/a/b"]))
    })
  )

  it.effect("gives none that another dataset has, mounted or not, nor one inside of it", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      addDataset(kit.memory, "target", "new/locked").properties.set("mountpoint", "/srv/free")
      found(kit.memory.source, root).properties.set("mountpoint", "/srv/free")
      found(kit.memory.source, `${root}/a/b`).properties.set("mountpoint", "/srv/free/below")
      const { todo } = yield* kit.recover()
      const set = (folder: string, dataset: string) => commandText(["set", `mountpoint=${folder}`, dataset])
      assert.deepStrictEqual(todo, [set("/srv/free", "new/t"), set("/srv/free/below", "new/t/a/b")])
      const log = kit.lines.join("\n")
      assert.include(log, "since /srv/free is that of new/locked; to set it later")
      assert.include(log, "since /srv/free/below lies in /srv/free, which is in use; to set it later")
    })
  )

  it.effect("names no mountpoint among what can be set of a volume", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      addSnapshot(kit.memory, addDataset(kit.memory, "source", `${root}/v`, { kind: "volume" }), "1")
      yield* kit.recover({ dataset: "tank/v", replica: `${root}/v`, target: "new/v" })
      assert.match(kit.lines.join("\n"), /for instance: zfs set '?compression=zstd'? new\/v$/m)
    })
  )

  it.effect("goes on with what a cut or a full target left, and takes no mark off the root before", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      kit.memory.cuts.push(1000, 50)
      const cut = yield* kit.recover()
      assert.deepStrictEqual(results(cut).slice(0, 1), ["new/t failed"])
      assert.match(cut.datasets.at(-1)?.error ?? "", /not tried: its parent new\/t failed/)
      assert.isTrue(kit.lines.some((line) => /the same command goes on/.test(line)))
      assert.notInclude(kit.lines.join(), "bring no properties", "advice on what is half there")
      kit.memory.failures.set(`send ${root}/a/b`, [zfsError("NoSpace", "out of space")])
      const full = yield* kit.recover()
      assert.deepStrictEqual([full.failed, full.datasets.at(-1)?.error], [2, "out of space"])
      // The root may be unmounted and in no use only as long as something is missing below it.
      assert.deepStrictEqual(kit.ran, [])
      const { source, target } = kit.memory
      for (const name of [root, `${root}/a/b`]) addSnapshot(kit.memory, found(source, name), "4")
      addSnapshot(kit.memory, found(target, "new/t"), "auto")
      const last = yield* kit.recover({ at: "3" })
      assert.deepStrictEqual([last.failed, last.refused], [0, 0])
      assert.strictEqual(kit.ran.at(-1), "zfs inherit zipper:recover new/t")
      assert.deepStrictEqual(kit.guids("target", "new/t/a/b"), kit.guids("source", `${root}/a/b`)?.slice(0, 3))
    })
  )

  it.effect("tries again what failed after all was received, and receives nothing into what may be in use", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      const set = commandText(["set", "compression=zstd", "new/t"])
      kit.memory.failures.set(set, [zfsError("Other", "no")])
      const first = yield* kit.recover()
      assert.deepStrictEqual([first.failed, first.todo], [1, [set, "zfs inherit zipper:recover new/t"]])
      write(found(kit.memory.target, "new/t"), 1)
      addSnapshot(kit.memory, found(kit.memory.target, "new/t/a/b"), "auto")
      for (const name of [root, `${root}/a/b`]) addSnapshot(kit.memory, found(kit.memory.source, name), "4")
      const ran = kit.ran.splice(0).length
      const again = yield* kit.recover()
      assert.deepStrictEqual([again.failed, again.refused, again.todo], [0, 0, []])
      assert.deepStrictEqual(
        again.datasets.map(({ snapshot }) => snapshot),
        ["3", undefined, "3"]
      )
      assert.isAbove(ran, kit.ran.length)
      assert.include(kit.ran, set)
      assert.strictEqual(kit.ran.at(-1), "zfs inherit zipper:recover new/t")
    })
  )

  it.effect("counts a parent without snapshots only where something was received below it", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      kit.memory.failures.set(`send ${root}/a/b`, [zfsError("Other", "a bad disk")])
      const summary = yield* kit.recover({ dataset: "tank/a", replica: `${root}/a` })
      assert.deepStrictEqual(results(summary), ["new/t failed", "new/t/b failed"])
      assert.deepStrictEqual(kit.ran, [])
      assert.isTrue(
        kit.lines.some((line) => /^\S* ?0 recovered to new\/t/.test(line)),
        kit.lines.join("\n")
      )
    })
  )

  it.effect("ends at the snapshot that is asked for, and warns of the job's next run", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      const summary = yield* kit.recover({ at: "2" })
      assert.deepStrictEqual(kit.guids("target", "new/t"), kit.guids("source", root)?.slice(0, 2))
      assert.strictEqual(summary.datasets[0]?.guid, kit.guids("source", root)?.[1])
      assert.isFalse(
        kit.lines.some((line) => /would be refused/.test(line)),
        "no run sends what has another name"
      )
      const same = makeKit()
      yield* same.recover({ at: "2", dataset: "new/t" })
      assert.isTrue(same.lines.some((line) => /would be refused \(status 4\)/.test(line)))
    })
  )

  it.effect("shows what a run would do, with sizes, and does nothing", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      const summary = yield* kit.recover({ dryRun: true })
      assert.deepStrictEqual([...kit.memory.target.datasets.keys()], ["new"])
      assert.isAbove(summary.bytes, 0)
      assert.isTrue(kit.lines.some((line) => /would send from @1 to @3 to new\/t/.test(line)))
    })
  )

  it.effect("names what it needs, before anything is done", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      const problem = (more: Partial<RecoverRequest>) =>
        Effect.map(Effect.flip(kit.recover(more)), ({ message }) => message)
      assert.match(yield* problem({ replica: "backup/none" }), /no replica of tank on nas: nothing is at backup\/none/)
      assert.match(yield* problem({ target: "new/x/t" }), /no dataset new\/x to put it into: zfs create -p new\/x/)
      assert.match(yield* problem({ target: "gone/t" }), /no pool gone is imported on/)
      assert.match(yield* problem({ at: "4" }), /has no snapshot "4"/)
      const key = { location: "file:///gone", input: undefined }
      assert.match(yield* problem({ key }), /^on .*: there is no file \/gone for --key$/)
      kit.memory.target.account = { user: "me", groups: [], root: false }
      assert.match(yield* problem({}), /me may not receive, create.*zfs allow -u me/)
      assert.notInclude(kit.memory.calls, `send ${root}`)
    })
  )

  it.effect("leaves to a person what it may not do, with the command, and mounts nothing over files", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      addDataset(kit.memory, "target", "full")
      kit.memory.failures.set(commandText(["set", "compression=zstd", "full/t"]), [
        zfsError("PermissionDenied", "permission denied")
      ])
      const summary = yield* kit.recover({ target: "full/t" })
      assert.deepStrictEqual(summary.todo, [
        commandText(["set", "compression=zstd", "full/t"]),
        "zfs mount full/t",
        "zfs mount full/t/a",
        "zfs mount full/t/a/b",
        "zfs inherit zipper:recover full/t"
      ])
      assert.strictEqual(summary.failed, 1)
      assert.isTrue(kit.lines.some((line) => /full\/t is not mounted: \/full\/t is not empty/.test(line)))
    })
  )

  it.effect("opens what is encrypted with one key, and joins children to it; without it, says the commands", () =>
    Effect.gen(function* () {
      const encrypted = () => {
        const kit = makeKit()
        for (const name of ["backup/s", "backup/s/c"]) {
          addSnapshot(kit.memory, addDataset(kit.memory, "source", name, { encrypted: true }), "1")
        }
        return kit
      }
      const asked = { dataset: "s", replica: "backup/s", target: "new/s" }
      const locked = yield* encrypted().recover(asked)
      assert.deepStrictEqual(
        [locked.failed, ...locked.todo],
        [
          0,
          "zfs load-key new/s",
          "zfs load-key new/s/c",
          "zfs change-key -i new/s/c",
          "zfs mount new/s",
          "zfs mount new/s/c"
        ]
      )
      const kit = encrypted()
      const opened = yield* kit.recover({ ...asked, key: { location: "file:///key", input: undefined } })
      assert.deepStrictEqual(opened.todo, [])
      assert.deepStrictEqual(kit.ran.slice(2, 8), [
        "zfs load-key -L file:///key new/s",
        commandText(["set", "keylocation=file:///key", "new/s"]),
        "zfs load-key -L file:///key new/s/c",
        "zfs change-key -i new/s/c",
        "zfs mount new/s",
        "zfs mount new/s/c"
      ])
    })
  )

  it.effect("never calls a target good that does not end at the snapshot that was sent", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      kit.memory.failures.set(`send ${root}/a/b`, [zfsError("Other", "a bad disk")])
      yield* kit.recover()
      const target = kit.memory.target.datasets.get("new/t")
      if (target !== undefined) write(target, 1)
      const older = yield* kit.recover({ at: "1" })
      assert.match(older.datasets[0]?.error ?? "", /new\/t ends at @3 .* and not at @1/)
    })
  )
})

describe("recover --look", () => {
  it.effect("makes clones, mounts them, and makes them read-only; what fails takes away what it made", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      const shown = yield* kit.look("/mnt/look")
      assert.deepStrictEqual(kit.ran, [
        commandText([
          "clone",
          "-o",
          "zipper:look=/mnt/look",
          "-o",
          "canmount=noauto",
          "-o",
          "mountpoint=/mnt/look",
          `${root}@3`,
          "backup/zipper-look-ab12cd"
        ]),
        commandText(["create", "-o", "zipper:look=/mnt/look", "-o", "canmount=off", "backup/zipper-look-ab12cd/a"]),
        commandText([
          "clone",
          "-o",
          "zipper:look=/mnt/look",
          "-o",
          "canmount=noauto",
          `${root}/a/b@3`,
          "backup/zipper-look-ab12cd/a/b"
        ]),
        "zfs mount backup/zipper-look-ab12cd",
        "zfs mount backup/zipper-look-ab12cd/a/b",
        commandText(["set", "readonly=on", "backup/zipper-look-ab12cd"])
      ])
      assert.strictEqual(shown.datasets.length, 3)
      kit.memory.failures.set("zfs mount backup/zipper-look-ab12cd/a/b", [zfsError("Other", "no")])
      assert.strictEqual((yield* Effect.flip(kit.look("/mnt/other"))).message, "no")
      assert.strictEqual(kit.ran.at(-1), "zfs destroy -r backup/zipper-look-ab12cd")
    })
  )

  it.effect("begins in no folder that holds files or shows a replica; ends only what is ours", () =>
    Effect.gen(function* () {
      const kit = makeKit()
      assert.match((yield* Effect.flip(kit.look("/full"))).message, /is no empty folder/)
      assert.match(
        (yield* Effect.flip(kit.look("/look"))).message,
        /shows a replica already: zipper recover --job nas --config \/mnt\/tank\/z\.json --done \/look/
      )
      assert.match(
        (yield* Effect.flip(kit.done("/other"))).message,
        /nothing of zipper's is shown in \/other.*replicas in \/look/
      )
      assert.strictEqual((yield* kit.done("/look", "backup/nas")).name, "backup/zipper-look-abcdef")
      assert.match((yield* Effect.flip(kit.done("/look", "backup/nas/other"))).message, /nothing of zipper's/)
      kit.ran.length = 0
      addDataset(kit.memory, "source", "backup/zipper-look-abcdef")
      assert.match((yield* Effect.flip(kit.done("/look"))).message, /was not made by zipper/)
      assert.deepStrictEqual(kit.ran, [])
    })
  )
})
