import { createHash } from "node:crypto"
import * as EntryName from "../../domain/EntryName.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import { folderLine, type Manifest, type ManifestEntry } from "../../domain/Manifest.ts"
import { places } from "../../domain/MissingMounts.ts"
import type { RawPath } from "../../domain/RawPath.ts"
import { inOrder, type Run } from "./Order.ts"
import type { Walked } from "./Walk.ts"

/**
 * The manifest of what was found. Its entries are made when they are first asked for: a run in which nothing
 * changed needs only the hash, and a million entries cost more than finding them did.
 */
export const toManifest = (folder: FolderName, walked: Walked): Manifest => {
  const { ascii, entries, hollow, itself, mounts, root, ...rest } = walked
  const runs = inOrder(root)
  const hash = createHash("sha256").update(folderLine(itself))
  const stampsHash = createHash("sha256").update(`${itself.ino} ${itself.ctimeNs}\0`)
  for (const { block, from, to } of runs) {
    hash.update(block.lines(from, to))
    stampsHash.update(block.stamps(from, to))
  }
  let made: Made | undefined
  // Names only what it needs: a closure that knew of the walk would keep its memory as long as the manifest lives.
  const make = (): Made => {
    made ??= makeEntries(runs, entries, ascii)
    return made
  }
  return {
    folder,
    get entries() {
      return make().entries
    },
    files: rest.files,
    directories: entries - rest.files,
    bytes: rest.bytes,
    skipped: rest.skipped,
    leftOut: rest.leftOut,
    hardLinks: rest.hardLinks,
    latest: rest.latest,
    get escaped() {
      return make().escaped
    },
    hash: hash.digest("hex"),
    stampsHash: stampsHash.digest("hex"),
    mounts: places(mounts),
    hollow: places(hollow),
    get stamps() {
      return make().stamps
    },
    get devices() {
      return make().devices
    }
  }
}

type Made = Required<Pick<Manifest, "devices" | "entries" | "escaped" | "stamps">>

/**
 * Takes the runs away one by one, so that their memory goes while that of the entries comes. A name that is the
 * path's own bytes is the same string.
 */
const makeEntries = (runs: Array<Run>, count: number, ascii: boolean): Made => {
  const paths = ascii ? [] : pathsOf(runs)
  const { escaped, names } = EntryName.assign(paths)
  const entries: Array<ManifestEntry> = []
  const stamps = new BigInt64Array(2 * count)
  const list: Array<bigint> = []
  const of = new Uint32Array(count)
  runs.reverse()
  for (let run = runs.pop(); run !== undefined; run = runs.pop()) {
    const { block, from, to } = run
    stamps.set(block.stamps(from, to), 2 * entries.length)
    for (let index = from; index < to; index += 1) {
      const path = paths[entries.length] ?? block.path(index)
      const device = block.device(index)
      if (!list.includes(device)) list.push(device)
      of[entries.length] = list.indexOf(device)
      entries.push(block.entry(index, path, names[entries.length] ?? path))
    }
  }
  return { devices: { list, of }, entries, escaped, stamps }
}

const pathsOf = (runs: ReadonlyArray<Run>): ReadonlyArray<RawPath> => {
  const paths: Array<RawPath> = []
  for (const { block, from, to } of runs) {
    for (let index = from; index < to; index += 1) paths.push(block.path(index))
  }
  return paths
}
