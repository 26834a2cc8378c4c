import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Mount } from "../../src/system/MountTable.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import {
  findHome,
  fingerprint,
  type Home,
  type Layout,
  layoutOf,
  listAround,
  unmountedSource,
  unmountedTarget
} from "../../src/zfs/SourceLayout.ts"
import { makeCommands } from "../../src/zfs/ZfsCommand.ts"
import type { ListedFileSystem } from "../../src/zfs/ZfsList.ts"
import { fourLetters } from "../support/folders.ts"
import { scripted } from "../support/replication/replicationEnds.ts"

const raw = RawPath.fromLatin1
const mount = (device: string, mountpoint: string, type = "zfs", root = "/"): Mount => ({
  device,
  mountpoint: raw(mountpoint),
  type,
  root: raw(root)
})
const dataset = (name: string, mountpoint: string, more: Partial<ListedFileSystem> = {}): ListedFileSystem => ({
  name,
  mountpoint: raw(mountpoint),
  canmount: "on",
  keystatus: "-",
  ...more
})
const home = (mounts: ReadonlyArray<Mount>, path: string) => Either.getOrThrow(findHome(mounts, raw(path)))
const refusal = (mounts: ReadonlyArray<Mount>, path: string) =>
  Either.match(findHome(mounts, raw(path)), { onLeft: ({ message }) => message, onRight: () => "" })
const places = (
  layout: Layout
): { readonly children: ReadonlyArray<string>; readonly blocked: ReadonlyArray<string> } => ({
  children: layout.children.map(({ at, dataset: name }) => `${name} ${at}`),
  blocked: layout.blocked.map(({ at }) => at)
})

const base = [mount("/dev/sda1", "/", "ext4"), mount("tank", "/mnt/tank"), mount("tank/data", "/mnt/tank/data")]
const data: Home = home(base, "/mnt/tank/data")

describe("SourceLayout", () => {
  it.effect("believes no list without the dataset that the kernel has mounted", () =>
    Effect.gen(function* () {
      const listed = (stdout: string) => listAround(makeCommands(scripted(() => ({ stdout })).process), data)
      assert.lengthOf(yield* listed("tank/data\ton\t-\t/mnt/tank/data\n"), 1)
      assert.strictEqual(
        (yield* Effect.flip(listed(""))).message,
        "cannot list the datasets: zfs list leaves out tank/data, which is mounted at /mnt/tank/data; see that the first zfs in PATH is OpenZFS's own, and that this jail or container may see the dataset"
      )
    })
  )

  it("finds the dataset with the longest mount point, and the last one mounted there", () => {
    assert.deepStrictEqual(data, {
      dataset: "tank/data",
      mountpoint: raw("/mnt/tank/data"),
      within: raw(""),
      diffTop: raw("/mnt/tank/data")
    })
    assert.strictEqual(home(base, "/mnt/tank/data/sub/er").within, "sub/er")
    assert.strictEqual(home(base, "/mnt/tank/database").dataset, "tank")
    assert.strictEqual(home([...base, mount("tank/new", "/mnt/tank/data")], "/mnt/tank/data/x").dataset, "tank/new")
  })

  it("refuses what is not on ZFS, or is a snapshot", () => {
    assert.match(refusal(base, "/home/x"), /^\/home\/x is not on ZFS but on ext4; set "snapshots": "live"/)
    assert.match(refusal([...base, mount("tmpfs", "/mnt/tank/data/t", "tmpfs")], "/mnt/tank/data/t"), /tmpfs/)
    const snapshot = mount("tank/data@x", "/mnt/tank/data/.zfs/snapshot/x")
    assert.match(
      refusal([...base, snapshot], "/mnt/tank/data/.zfs/snapshot/x/ABCD"),
      /inside the snapshot tank\/data@x/
    )
  })

  it("refuses a folder that the dataset meant is not mounted over", () => {
    const below = [mount("/dev/sda1", "/", "ext4"), mount("tank", "/mnt/tank")]
    const told = (mounts: ReadonlyArray<Mount>, path: string, ...datasets: ReadonlyArray<ListedFileSystem>) =>
      unmountedSource(home(mounts, path), mounts, [dataset("tank", "/mnt/tank"), ...datasets])?.message ?? ""
    const missing = dataset("tank/data", "/mnt/tank/data")
    assert.match(
      told(below, "/mnt/tank/data", missing),
      /belongs to dataset tank\/data, which is not mounted: zfs mount/
    )
    assert.match(told(below, "/mnt/tank/data/sub", missing), /tank\/data, which is not mounted/)
    const locked = dataset("other/data", "/mnt/tank/data", { keystatus: "unavailable" })
    assert.match(told(below, "/mnt/tank/data", locked), /zfs load-key 'other\/data' && zfs mount/)
    assert.strictEqual(told(base, "/mnt/tank/data", missing), "")
    assert.strictEqual(told(below, "/mnt/tank/else", missing), "")
    assert.strictEqual(told(below, "/mnt/tank/data", { ...missing, canmount: "off" }), "")
    // Boot environments that are not booted have the mount point of the one that is.
    const booted = [mount("rpool/ROOT/now", "/")]
    const other = dataset("rpool/ROOT/old", "/", { canmount: "noauto" })
    assert.isUndefined(unmountedSource(home(booted, "/srv/data"), booted, [other]))
  })

  it("refuses a target that its dataset is not mounted over, on whatever file system that leaves it", () => {
    const told = (path: string, mounts: ReadonlyArray<Mount>, ...datasets: ReadonlyArray<ListedFileSystem>) =>
      unmountedTarget(raw(path), mounts, datasets)?.message ?? ""
    const plain = [mount("/dev/sda1", "/", "ext4")]
    const missing = dataset("safe/archives", "/mnt/safe/archives")
    assert.strictEqual(
      told("/mnt/safe/archives", plain, missing),
      "the target /mnt/safe/archives belongs to dataset safe/archives, which is not mounted: zfs mount 'safe/archives'; or, if it does not belong there: zfs set canmount=noauto 'safe/archives'"
    )
    const locked = { ...missing, keystatus: "unavailable" }
    assert.match(told("/mnt/safe/archives/sub", [...plain, mount("safe", "/mnt/safe")], locked), /zfs load-key/)
    assert.strictEqual(told("/mnt/safe/archives2", plain, missing), "")
    const mounted = [...plain, mount("safe/archives", "/mnt/safe/archives")]
    assert.strictEqual(told("/mnt/safe/archives", mounted, missing), "")
    // Something else is mounted there, or the dataset only ever by hand.
    const other = [...plain, mount("backup", "/mnt/safe/archives", "nfs4")]
    assert.strictEqual(told("/mnt/safe/archives", other, missing), "")
    assert.strictEqual(told("/mnt/safe/archives", plain, { ...missing, canmount: "noauto" }), "")
  })

  it("goes by the whole dataset's mount point where the folder is a bind mount", () => {
    const bind = mount("tank/data", "/srv", "zfs", "/sub")
    assert.deepStrictEqual(home([bind, ...base], "/srv/er"), {
      dataset: "tank/data",
      mountpoint: raw("/mnt/tank/data"),
      within: raw("sub/er"),
      diffTop: raw("/srv")
    })
    assert.match(refusal([bind], "/srv"), /is a bind mount of a folder of tank\/data/)
  })

  it("takes child datasets in archived folders only, wherever they are called", () => {
    const layout = layoutOf(
      data,
      [
        ...base,
        mount("tank/data/KID1", "/mnt/tank/data/KID1"),
        mount("tank/data/x", "/mnt/tank/data/ABCD/deep/x"),
        mount("tank/data/other", "/mnt/tank/data/other"),
        mount("tank/data/away", "/mnt/away"),
        mount("tank/data@s", "/mnt/tank/data/.zfs/snapshot/s"),
        mount("tank/data/KID1@s", "/mnt/tank/data/KID1/.zfs/snapshot/s")
      ],
      [],
      fourLetters
    )
    assert.deepStrictEqual(places(layout), {
      children: ["tank/data/KID1 KID1", "tank/data/x ABCD/deep/x"],
      blocked: []
    })
  })

  it("blocks what no snapshot of the dataset holds", () => {
    const layout = layoutOf(
      data,
      [
        ...base,
        mount("tmpfs", "/mnt/tank/data/ABCD/t", "tmpfs"),
        mount("tank/database", "/mnt/tank/data/BASE"),
        mount("tank/data/kid", "/mnt/tank/data/BIND", "zfs", "/part"),
        mount("tank/data/kid", "/mnt/tank/data/OVER"),
        mount("tmpfs", "/mnt/tank/data/OVER", "tmpfs"),
        mount("proc", "/mnt/tank/data/small/proc", "proc")
      ],
      [],
      fourLetters
    )
    assert.deepStrictEqual(places(layout), { children: [], blocked: ["ABCD/t", "BASE", "BIND", "OVER"] })
  })

  it("blocks descendants that should be mounted in an archived folder and are not", () => {
    const layout = layoutOf(
      data,
      [...base, mount("tank/data/ok", "/mnt/tank/data/OKAY")],
      [
        dataset("tank/data", "/mnt/tank/data"),
        dataset("tank/data/ok", "/mnt/tank/data/OKAY"),
        dataset("tank/data/LOCK", "/mnt/tank/data/LOCK", { keystatus: "unavailable" }),
        dataset("tank/data/gone", "/mnt/tank/data/ABCD/gone"),
        dataset("tank/data/OFF1", "/mnt/tank/data/OFF1", { canmount: "off" }),
        dataset("tank/data/away", "/mnt/away"),
        dataset("tank/data/leg", "legacy"),
        dataset("tank/data/none", "none"),
        dataset("tank/data/low", "/mnt/tank/data/low")
      ],
      fourLetters
    )
    assert.deepStrictEqual(places(layout), {
      children: ["tank/data/ok OKAY"],
      blocked: ["LOCK", "ABCD/gone"]
    })
    assert.match(layout.blocked[0]?.reason ?? "", /locked.*zfs load-key 'tank\/data\/LOCK'/)
  })

  it("expects children below where their parent really is mounted", () => {
    const byHand = home([mount("tank/data", "/elsewhere")], "/elsewhere")
    const layout = layoutOf(
      byHand,
      [mount("tank/data", "/elsewhere")],
      [dataset("tank/data", "/mnt/tank/data"), dataset("tank/data/GONE", "/mnt/tank/data/GONE")],
      fourLetters
    )
    assert.deepStrictEqual(places(layout).blocked, ["GONE"])
  })

  it("has another fingerprint as soon as a child comes, goes or moves, or the source is another folder", () => {
    const kid = { dataset: "tank/data/kid", at: raw("ABCD/kid"), mountpoint: raw("/x") }
    const layout: Layout = { ...data, children: [kid], blocked: [] }
    const same: Layout = { ...layout, mountpoint: raw("/new"), children: [{ ...kid, mountpoint: raw("/y") }] }
    assert.strictEqual(fingerprint(same), fingerprint(layout))
    const others: ReadonlyArray<Layout> = [
      { ...layout, children: [] },
      { ...layout, children: [{ ...kid, at: raw("EFGH/kid") }] },
      { ...layout, children: [kid, { ...kid, dataset: "tank/data/kid2" }] },
      { ...layout, within: raw("sub") }
    ]
    assert.strictEqual(new Set([layout, ...others].map(fingerprint)).size, 5)
  })
})
