import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Tree } from "../../src/source/Tree.ts"
import { Archiver } from "../../src/zip/Archiver.ts"
import { abcd, layers, noise, put, viewOf } from "../support/zip/archive.ts"
import { fastFolder, nextTick, previousOf } from "../support/zip/reuse.ts"

/** Keeps what it is told. */
const listener = () => {
  const told: Array<number> = []
  return { told, progress: (bytes: number) => void told.push(bytes) }
}

const check = (told: ReadonlyArray<number>, all: number, least: number) => {
  assert.isAtLeast(told.length, least)
  assert.deepStrictEqual(
    told,
    [...told].sort((a, b) => a - b)
  )
  assert.closeTo(told.at(-1) ?? 0, all, 1e-3)
}

describe("progress of an archive", () => {
  it.scoped("counts every byte that is compressed, stored or copied, and every byte that is read back", () =>
    Effect.gen(function* () {
      const root = yield* fastFolder
      const view = viewOf(root)
      put(`${root}/ABCD/large`, noise(5 << 20))
      for (let index = 0; index < 200; index += 1) put(`${root}/ABCD/s/${1000 + index}`, `text ${index}\n`.repeat(99))
      put(`${root}/ABCD/text`, "all of it the same\n".repeat(200_000))
      put(`${root}/ABCD/z`, "")
      nextTick(root)
      const archiver = yield* Archiver
      const manifest = yield* Effect.flatMap(Tree, (tree) => tree.manifest(view, abcd))
      const written = listener()
      const report = yield* archiver.archive(view, manifest, `${root}/a.zip`, { progress: written.progress })
      check(written.told, manifest.bytes, 10)

      const read = listener()
      yield* archiver.verify(`${root}/a.zip`, manifest, { progress: read.progress })
      check(read.told, report.zipSize, 1)

      put(`${root}/ABCD/s/1100`, "changed")
      const again = yield* Effect.flatMap(Tree, (tree) => tree.manifest(view, abcd))
      const copied = listener()
      const second = yield* archiver.archive(view, again, `${root}/b.zip`, {
        previous: previousOf(`${root}/a.zip`, manifest),
        progress: copied.progress
      })
      assert.isAbove(second.copiedFiles, 100)
      check(copied.told, again.bytes, 7)
    }).pipe(Effect.provide(layers()))
  )
})
