import { type BigIntStats, lstatSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { openBlock } from "../../src/source/Entries.ts"
import { type ListInput, list } from "../../src/source/List.ts"
import { mountsBelow } from "../../src/source/Walk.ts"
import { blockingCalls, type FileCalls, Unseen, waitingCalls } from "../../src/system/FileCalls.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { put } from "../support/zip/archive.ts"

const raw = RawPath.fromText
const never = new AbortController().signal

const input = (root: string, change: Partial<ListInput> = {}): ListInput => ({
  frozen: true,
  livePath: undefined,
  root: raw(root),
  within: 5,
  enough: 1000,
  directories: [{ path: raw("ABCD"), real: raw(root), mounted: false, grafts: [], listed: undefined }],
  ...change
})

const found = async (calls: FileCalls, given: ListInput) => {
  const output = await list.work(given, calls, never)
  if ("failure" in output) throw new Error(output.failure.message)
  return output
}

/** The same directory with another inode. */
const withInode = (stats: BigIntStats, ino: bigint): BigIntStats =>
  Object.assign(Object.create(Object.getPrototypeOf(stats)), stats, { ino })

const withStats = (change: (path: string, stats: BigIntStats) => BigIntStats): FileCalls => ({
  ...blockingCalls,
  lstats: (count, path, take, signal) =>
    blockingCalls.lstats(count, path, (index, stats) => take(index, change(path(index).toString(), stats)), signal)
})

for (const [where, calls] of [
  ["a worker thread", blockingCalls],
  ["the main thread", waitingCalls]
] as const) {
  describe(`looking at names on ${where}`, () => {
    it.scoped("gives them in order, and names the first that fails", () =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        for (let file = 0; file < 50; file += 1) put(`${root}/${file}`, "x".repeat(file))
        const taken: Array<readonly [number, bigint]> = []
        const look = (names: ReadonlyArray<string>) =>
          calls.lstats(
            names.length,
            (index) => `${root}/${names[index]}`,
            (index, { size }) => taken.push([index, size]),
            never
          )
        yield* Effect.promise(() => look(Array.from({ length: 50 }, (_, file) => `${file}`)))
        assert.deepStrictEqual(
          taken,
          Array.from({ length: 50 }, (_, file) => [file, BigInt(file)] as const)
        )
        const error = yield* Effect.promise(() => look(["1", "gone", "2"]).catch((cause: unknown) => cause))
        assert.instanceOf(error, Unseen)
        assert.strictEqual(error instanceof Unseen ? error.index : -1, 1)
      })
    )

    it.scoped("begins nothing more when it is not wanted any more", () =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        const controller = new AbortController()
        const reason = new Error("stop")
        let asked = 0
        controller.abort(reason)
        const error = yield* Effect.promise(() =>
          calls
            .lstats(
              100,
              () => {
                asked += 1
                return root
              },
              () => undefined,
              controller.signal
            )
            .catch((cause: unknown) => cause)
        )
        assert.strictEqual(error, reason)
        assert.strictEqual(asked, 0)
      })
    )
  })
}

describe("file systems in a folder", () => {
  it("are told by their devices", async () => {
    const calls: FileCalls = { ...blockingCalls, names: async () => ["etc", "proc"] }
    const { ctimeNs, dev, ino, mtimeNs } = lstatSync("/", { bigint: true })
    const directory = { path: raw("ABCD"), real: raw("/"), mounted: false, grafts: [] }
    const listed = { ctimeNs, dev, ino, mtimeNs }
    const output = await found(calls, input("/", { directories: [{ ...directory, listed }] }))
    assert.deepStrictEqual(output.mounts, [raw("proc")])
    // In a snapshot they are known before.
    assert.deepStrictEqual((await found(calls, input("/"))).mounts, [])
  })

  it("are told by the kernel's list where devices are the same", async () => {
    assert.include(await mountsBelow(raw("/")), raw("proc"))
    assert.include(await mountsBelow(raw("/proc")), RawPath.here)
    assert.notInclude(await mountsBelow(raw("/etc/proc")), RawPath.here)
  })

  it.scoped("are missing where btrfs shows an empty folder with inode 2 for a subvolume", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const look = (ino: bigint, type: bigint, frozen = false) => {
        const calls: FileCalls = {
          ...blockingCalls,
          // The folder itself is to be asked, and not the symlink to it in /proc.
          lstat: async (path) => {
            const stats = await blockingCalls.lstat(path)
            return stats.isDirectory() ? withInode(stats, ino) : stats
          },
          fileSystemType: async () => type
        }
        return Effect.promise(() => found(calls, input(root, { frozen })))
      }
      assert.deepStrictEqual((yield* look(2n, 0x9123683en)).hollow, [RawPath.here])
      assert.deepStrictEqual((yield* look(256n, 0x9123683en)).hollow, [])
      assert.deepStrictEqual((yield* look(2n, 0xef53n)).hollow, [])
      put(`${root}/file`, "x")
      assert.deepStrictEqual((yield* look(2n, 0x9123683en)).hollow, [])
    })
  )
})

describe("listing directories", () => {
  it.scoped("tells a file that vanishes from a live source from one that a snapshot cannot lose", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const calls: FileCalls = { ...blockingCalls, names: async () => ["gone"] }
      for (const frozen of [true, false]) {
        const output = yield* Effect.promise(() => list.work(input(root, { frozen }), calls, never))
        assert.deepStrictEqual(output, {
          failure: {
            path: `${root}/gone`,
            message: frozen
              ? "cannot read ABCD/gone: no such file or directory (ENOENT)"
              : "ABCD/gone vanished while it was listed",
            transient: !frozen
          },
          directory: 0
        })
      }
    })
  )

  it.scoped("refuses a directory that gives a name twice: only one of the two can be read", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const name of ["a", "b", "c"]) put(`${root}/${name}`, "x")
      const calls: FileCalls = { ...blockingCalls, names: async () => ["b", "a", "c", "b"] }
      const directory = { path: raw("ABCD"), real: raw(root), mounted: false, grafts: [], listed: undefined }
      const graft = { ...directory, grafts: [[raw("child"), raw(root)]] as const }
      for (const given of [directory, graft]) {
        for (const frozen of [true, false]) {
          const output = yield* Effect.promise(() =>
            list.work(input(root, { frozen, directories: [given] }), calls, never)
          )
          if (!("failure" in output)) throw new Error("it was listed")
          assert.strictEqual(output.failure.path, `${root}/b`)
          assert.include(output.failure.message, "ABCD/b is there twice: the file system lists that name two times")
          assert.strictEqual(output.failure.transient, !frozen)
        }
      }
    })
  )

  it.scoped("passes over the control directory of ZFS, and over no other .zfs", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/.zfs/file`, "x")
      for (const [ino, skipped] of [
        [1n, 1],
        [0xffff_ffff_ffffn, 1],
        [2n, 0]
      ] as const) {
        const calls = withStats((path, stats) => (path.endsWith("/.zfs") ? withInode(stats, ino) : stats))
        const output = yield* Effect.promise(() => found(calls, input(root)))
        assert.deepInclude(output, { skipped, count: 1 - skipped })
      }
    })
  )

  it.scoped("refuses a child dataset that is no directory", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/file`, "x")
      const directory = {
        path: raw("ABCD"),
        real: raw(root),
        mounted: false,
        grafts: [[raw("child"), raw(`${root}/file`)]] as const,
        listed: undefined
      }
      for (const calls of [blockingCalls, waitingCalls]) {
        const output = yield* Effect.promise(() => list.work(input(root, { directories: [directory] }), calls, never))
        assert.deepInclude(output, {
          failure: {
            path: `${root}/file`,
            message: "cannot list ABCD/child: it is no directory",
            transient: false
          }
        })
      }
    })
  )

  it.scoped("leaves directories to be asked for again when there is enough", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const directory of ["a", "b", "c"]) {
        for (const file of ["1", "2"]) put(`${root}/${directory}/${file}`, "x")
      }
      const directories = ["a", "b", "c"].map((name) => ({
        path: raw(`ABCD/${name}`),
        real: raw(`${root}/${name}`),
        mounted: false,
        grafts: [],
        listed: undefined
      }))
      const output = yield* Effect.promise(() => found(blockingCalls, input(root, { enough: 3, directories })))
      assert.deepStrictEqual(
        output.listed.map(({ from, to }) => [from, to]),
        [
          [0, 2],
          [2, 4]
        ]
      )
      assert.strictEqual(openBlock(output).path(3), raw("b/2"))
      assert.strictEqual(openBlock(output).stamps(3, 4)[0], lstatSync(`${root}/b/2`, { bigint: true }).ino)
    })
  )

  it.scoped("shares out a directory of many names, in order", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const names = Array.from({ length: 2500 }, (_, index) => `n${index}`)
      const calls: FileCalls = { ...blockingCalls, names: async () => names }
      const output = yield* Effect.promise(() => found(calls, input(root)))
      assert.strictEqual(output.count, 0)
      const pieces = output.listed[0]?.pieces ?? []
      assert.strictEqual(pieces.length, 3)
      assert.deepStrictEqual(
        pieces.flatMap((piece) => piece.split("/")),
        [...names].sort()
      )
    })
  )
})
