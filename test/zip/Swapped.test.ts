import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { openBlock } from "../../src/source/Entries.ts"
import { type ListInput, list } from "../../src/source/List.ts"
import { type Identity, identityOf, type Manifest } from "../../src/source/Manifest.ts"
import { Tree } from "../../src/source/Tree.ts"
import { blockingCalls, type FileCalls, waitingCalls } from "../../src/system/FileCalls.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { Archiver } from "../../src/zip/Archiver.ts"
import { openSource } from "../../src/zip/SourceFile.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { abcd, layers, put, viewOf } from "../support/zip/archive.ts"

/** A live source that holds ABCD/sub/f, and a secret of the same size and time beside it. */
const scene = Effect.gen(function* () {
  const root = yield* temporaryFolder
  const sub = `${root}/ABCD/sub`
  put(`${root}/ABCD/a`, "harmless")
  put(`${sub}/f`, "harmless1")
  const changed = (path: string) => fs.lstatSync(path, { bigint: true }).ctimeNs
  // The clock of files has a coarse grain: two files of one moment cannot be told from each other by it.
  do put(`${root}/secret/f`, "TOPSECRET")
  while (changed(`${root}/secret/f`) === changed(`${sub}/f`))
  return { root, sub, zip: `${root}/ABCD.zip`, view: viewOf(root, { frozen: false, label: "live" }) }
})
type Scene = Effect.Effect.Success<typeof scene>

/** What another process may do between listing and reading. */
const swaps: Record<string, (scene: Scene) => void> = {
  "its folder becomes a symlink": ({ root, sub }) => {
    fs.renameSync(sub, `${root}/away`)
    fs.symlinkSync(`${root}/secret`, sub)
  },
  "its folder becomes a symlink by a relative path": ({ root, sub }) => {
    fs.renameSync(sub, `${root}/away`)
    fs.symlinkSync("../secret", sub)
  },
  "the folder of a source becomes a symlink": ({ root }) => {
    fs.mkdirSync(`${root}/other`)
    fs.renameSync(`${root}/secret`, `${root}/other/sub`)
    fs.renameSync(`${root}/ABCD`, `${root}/away`)
    fs.symlinkSync(`${root}/other`, `${root}/ABCD`)
  },
  "it becomes a symlink": ({ root, sub }) => {
    fs.unlinkSync(`${sub}/f`)
    fs.symlinkSync(`${root}/secret/f`, `${sub}/f`)
  },
  "it becomes another file of the same size and time": ({ root, sub }) => fs.renameSync(`${root}/secret/f`, `${sub}/f`),
  "its folder becomes another folder": ({ root, sub }) => {
    fs.renameSync(sub, `${root}/away`)
    fs.renameSync(`${root}/secret`, sub)
  },
  "it becomes a directory": ({ sub }) => {
    fs.unlinkSync(`${sub}/f`)
    fs.mkdirSync(`${sub}/f`)
  }
}

/** The listing of a file system that has given everything another inode number since. */
const renumbered = (manifest: Manifest): Manifest => ({
  ...manifest,
  entries: manifest.entries,
  stamps: manifest.stamps?.map((stamp, index) => (index % 2 === 0 ? stamp + 1000n : stamp)) ?? new BigInt64Array()
})

const archive = Effect.fnUntraced(function* ({ view, zip }: Scene, manifest: Manifest) {
  const archiver = yield* Archiver
  yield* archiver.archive(view, manifest, zip)
  yield* archiver.verify(zip, manifest)
})

const listOf = ({ view }: Scene) => Effect.flatMap(Tree, (tree) => tree.manifest(view, abcd))

describe("between listing and reading", () => {
  for (const [what, swap] of Object.entries(swaps)) {
    it.scoped(`${what}: the archive fails, and holds nothing of the secret`, () =>
      Effect.gen(function* () {
        for (const seen of [(manifest: Manifest) => manifest, renumbered]) {
          const place = yield* scene
          const manifest = seen(yield* listOf(place))
          swap(place)
          const error = yield* Effect.flip(archive(place, manifest))
          assert.strictEqual(error.reason, "Changed")
          assert.isTrue(error.transient)
          assert.match(error.message, /^ABCD\/(a|sub\/f) changed while it was read/)
          assert.isFalse(fs.existsSync(place.zip))
        }
      }).pipe(Effect.provide(layers()))
    )
  }

  it.scoped("a large file is looked at as well", () =>
    Effect.gen(function* () {
      const place = yield* scene
      put(`${place.sub}/f`, Buffer.alloc(1 << 20, 1))
      put(`${place.root}/secret/f`, Buffer.alloc(1 << 20, 2))
      const manifest = yield* listOf(place)
      fs.renameSync(place.sub, `${place.root}/away`)
      fs.symlinkSync(`${place.root}/secret`, place.sub)
      const error = yield* Effect.flip(archive(place, manifest))
      assert.strictEqual(error.reason, "Changed")
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("inode numbers that change by themselves are no obstacle", () =>
    Effect.gen(function* () {
      const place = yield* scene
      yield* archive(place, renumbered(yield* listOf(place)))
      assert.isTrue(fs.existsSync(place.zip))
    }).pipe(Effect.provide(layers()))
  )
})

/** What was listed in the folder above. */
const identify = (path: string): Identity => {
  const { ctimeNs, dev, ino, mtimeNs } = fs.lstatSync(path, { bigint: true })
  return { ctimeNs, dev, ino, mtimeNs }
}

const listing = ({ root, sub }: Scene, listed: Identity): ListInput => ({
  frozen: false,
  livePath: undefined,
  root: RawPath.fromText(`${root}/ABCD`),
  within: 5,
  enough: 1000,
  directories: [{ path: RawPath.fromText("ABCD/sub"), real: RawPath.fromText(sub), mounted: false, grafts: [], listed }]
})

const signal = new AbortController().signal

describe("while directories are listed", () => {
  for (const [what, swap] of Object.entries(swaps).filter(([name]) => name.includes("folder"))) {
    it.scoped(`${what} before it is opened: that is a failure, which a new listing may mend`, () =>
      Effect.gen(function* () {
        for (const calls of [blockingCalls, waitingCalls]) {
          for (const other of [0n, 1000n]) {
            const place = yield* scene
            const listed = identify(place.sub)
            swap(place)
            const output = yield* Effect.promise(() =>
              list.work(listing(place, { ...listed, ino: listed.ino + other }), calls, signal)
            )
            assert.deepInclude(output, "failure" in output ? { failure: { ...output.failure, transient: true } } : {})
            assert.property(output, "failure")
          }
        }
      })
    )
  }

  it.scoped("a folder that becomes a symlink after it was opened gives its own names, or a failure", () =>
    Effect.gen(function* () {
      const place = yield* scene
      put(`${place.root}/secret/secretName`, "x")
      const swapping: FileCalls = {
        ...blockingCalls,
        names: (path) => {
          swaps["its folder becomes a symlink"]?.(place)
          return blockingCalls.names(path)
        }
      }
      const input = listing(place, identify(place.sub))
      const output = yield* Effect.promise(() => list.work(input, swapping, signal))
      if ("failure" in output) return assert.notStrictEqual(process.platform, "linux", output.failure.message)
      assert.strictEqual(output.count, 1)
      const own = fs.lstatSync(`${place.root}/away/f`, { bigint: true })
      assert.strictEqual(openBlock(output).identity(0).ino, own.ino)
      return assert.strictEqual(openBlock(output).path(0), RawPath.fromText("sub/f"))
    })
  )

  it.scoped("an inode number that has changed by itself is no obstacle", () =>
    Effect.gen(function* () {
      const place = yield* scene
      const listed = identify(place.sub)
      const output = yield* Effect.promise(() =>
        list.work(listing(place, { ...listed, ino: listed.ino + 1n }), blockingCalls, signal)
      )
      assert.deepInclude(output, { count: 1 })
    })
  )

  it.scoped("nor is one of the folder itself, which has to be what was listed all the same", () =>
    Effect.gen(function* () {
      for (const calls of [blockingCalls, waitingCalls]) {
        const place = yield* scene
        const top = `${place.root}/ABCD`
        const listed = identify(top)
        const input = {
          ...listing(place, listed),
          directories: [
            {
              path: RawPath.fromText("ABCD"),
              real: RawPath.fromText(top),
              mounted: false,
              grafts: [],
              listed: { ...listed, ino: listed.ino + 1n }
            }
          ]
        }
        assert.deepInclude(yield* Effect.promise(() => list.work(input, calls, signal)), {
          files: 1
        })
        fs.renameSync(top, `${place.root}/away`)
        fs.renameSync(`${place.root}/secret`, top)
        assert.property(yield* Effect.promise(() => list.work(input, calls, signal)), "failure")
      }
    })
  )
})

describe("a manifest", () => {
  it.scoped("knows device and inode of each entry, in order", () =>
    Effect.gen(function* () {
      const place = yield* scene
      const manifest = yield* listOf(place)
      const entries = [...manifest.entries]
      for (const [index, entry] of entries.entries()) {
        assert.deepStrictEqual(identityOf(manifest, entry, index), identify(`${place.root}/ABCD/${entry.path}`))
      }
      assert.isUndefined(identityOf(manifest, { mtimeNs: 0n }, entries.length))
    }).pipe(Effect.provide(layers()))
  )
})

describe("a file whose size is said to be 0", () => {
  const folder = { folder: abcd, root: RawPath.fromText("/"), label: "live", frozen: false }
  const open = (path: string) => {
    const { mtimeNs, size } = fs.lstatSync(path, { bigint: true })
    assert.strictEqual(size, 0n)
    const request = { path: RawPath.fromText(path), real: RawPath.fromText(path), size: 0, mtimeNs, listed: undefined }
    return openSource(folder, request, blockingCalls)
  }

  it.runIf(process.platform === "linux")("is not archived as empty when it has content", async () => {
    const file = await open("/proc/version")
    assert.throws(() => file.check(0), /cannot read ABCD.*version: it has content, and its size is said to be 0/)
    file.close()
  })

  it.scoped("is read when it is empty", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/f`, "")
      const file = yield* Effect.promise(() => open(`${root}/f`))
      file.check(0)
      file.close()
    })
  )
})
