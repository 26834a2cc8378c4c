import { createHash } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { crc32 } from "node:zlib"
import * as Effect from "effect/Effect"
import type { Manifest } from "../../../src/source/Manifest.ts"
import type { SourceView } from "../../../src/source/SourceView.ts"
import { Tree } from "../../../src/source/Tree.ts"
import { checkedPiece } from "../../../src/system/Digests.ts"
import type { Compression, PreviousArchive } from "../../../src/zip/ArchiveIndex.ts"
import { Archiver } from "../../../src/zip/Archiver.ts"
import { fastTmp } from "../store/storeKit.ts"
import { abcd } from "./archive.ts"

/** A folder for the length of the scope, where syncing costs nothing. */
export const fastFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(`${fastTmp()}/zipper-test-`)),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** An archive as the store gives it for the next one to copy from; its files count as settled. */
export const previousOf = (
  zip: string,
  manifest: Manifest,
  madeWith: Compression = { method: "auto", level: 6 }
): PreviousArchive => {
  const { ctimeMs, dev, ino, mtimeMs, size } = statSync(zip)
  const content = readFileSync(zip)
  const [md5, sha256] = ["md5", "sha256"].map((name) => createHash(name).update(content).digest("hex"))
  if (md5 === undefined || sha256 === undefined) throw new Error("no digests")
  return {
    zip,
    file: { dev, ino, size, mtimeMs, ctimeMs },
    checksums: { md5, sha256 },
    pieces: Uint32Array.from({ length: Math.ceil(size / checkedPiece) }, (_, index) =>
      crc32(content.subarray(index * checkedPiece, (index + 1) * checkedPiece))
    ),
    index: { ...madeWith, sha256, stamps: manifest.stamps?.slice() ?? new BigInt64Array(0) }
  }
}

/** Archives the view's folder, copying what is unchanged, and verifies it as the job does. */
export const archiveFrom = Effect.fnUntraced(function* (view: SourceView, zip: string, previous?: PreviousArchive) {
  const archiver = yield* Archiver
  const manifest = yield* Effect.flatMap(Tree, (tree) => tree.manifest(view, abcd))
  const report = yield* archiver.archive(view, manifest, zip, { previous })
  yield* archiver.verify(zip, manifest, { copied: report.copied })
  return { manifest, report }
})

/** Waits until the file system's clock, which is coarse, shows a later time than anything in `folder` can have. */
export const nextTick = (folder: string): void => {
  const probe = () => {
    writeFileSync(`${folder}/.probe`, "")
    return statSync(`${folder}/.probe`, { bigint: true }).ctimeNs
  }
  const first = probe()
  while (probe() === first);
}
