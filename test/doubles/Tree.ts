import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { laterTimes } from "../../src/source/Entries.ts"
import * as EntryName from "../../src/source/EntryName.ts"
import { type ExcludeRules, excluderWithin, noRules } from "../../src/source/Exclude.ts"
import * as FolderName from "../../src/source/FolderName.ts"
import * as LeftOut from "../../src/source/LeftOut.ts"
import type { Manifest, ManifestEntry } from "../../src/source/Manifest.ts"
import { places } from "../../src/source/SourceView.ts"
import { failIfBlocked, Tree } from "../../src/source/Tree.ts"
import { TreeError } from "../../src/source/TreeError.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { byPath, hashEntries } from "../support/manifest.ts"

/** A file of a made-up folder. Times in milliseconds since 1970; 1969-01-01T00:00:00Z when left out: long before a test clock begins. */
interface MemoryEntry {
  readonly content: string
  readonly mtime?: number
  readonly ctime?: number
  readonly mode?: number
}

/**
 * Files by path (directories come by themselves; an empty one is "directory", one that is a mount of its own "mount"), or the
 * failure to read the folder.
 */
type MemoryFolder = Readonly<Record<string, MemoryEntry | "directory" | "mount">> | TreeError

/** Folders by name. A function is asked at each reading: for folders that fail at first, or change. */
export type MemoryTree = Record<string, MemoryFolder | (() => MemoryFolder)>

const someTime = Date.UTC(1969, 0, 1)

/** Folders from a plain record, looked at anew in each call, so that a test may change it between runs. */
export const memoryTree = (tree: MemoryTree): Layer.Layer<Tree> =>
  Layer.succeed(Tree, {
    folders: (_view, wanted) =>
      Effect.sync(() => ({
        folders: foldersOf(tree).filter((folder) => wanted.test(folder)),
        unreadable: [],
        unsafe: [],
        unmatched: new Set(foldersOf(tree).filter((folder) => !wanted.test(folder))),
        replaced: linksOf(tree),
        skipped: 0
      })),
    readable: () => Effect.void,
    manifest: Effect.fnUntraced(function* (view, folder, rules = noRules) {
      yield* failIfBlocked(view, folder)
      const found = manifestIn(tree, folder, rules)
      return found instanceof TreeError ? yield* found : found
    })
  })

/** The names in the record that are names of folders. */
const foldersOf = (tree: MemoryTree): ReadonlyArray<FolderName.FolderName> =>
  Object.keys(tree)
    .filter((key) => !key.includes(" -> "))
    .map(FolderName.parseFolderName)
    .filter((name) => name !== undefined)
    .sort()

/** `ABCD -> elsewhere` in the record is a symbolic link with the name of a folder. */
const linksOf = (tree: MemoryTree) =>
  Object.keys(tree).flatMap((key) => {
    const folder = key.includes(" -> ") ? FolderName.parseFolderName(key.slice(0, key.indexOf(" "))) : undefined
    return folder === undefined ? [] : [{ folder, type: "symbolic link" }]
  })

/** What lies in a folder of the record. */
const manifestIn = (tree: MemoryTree, folder: FolderName.FolderName, rules: ExcludeRules): Manifest | TreeError => {
  const given = tree[folder]
  const all = typeof given === "function" ? given() : given
  if (all === undefined) {
    return new TreeError({
      path: folder,
      message: `cannot list ${folder}: no such file or directory (ENOENT)`,
      transient: false
    })
  }
  if (all instanceof TreeError) return all
  const isExcluded = excluderWithin(rules)
  const content = Object.fromEntries(Object.entries(all).filter(([path]) => !isExcluded(RawPath.fromText(path))))
  const entries = new Map<string, Omit<ManifestEntry, "name">>()
  const directory = (path: string): void => {
    if (path === "" || entries.has(path)) return
    directory(path.slice(0, Math.max(path.lastIndexOf("/"), 0)))
    entries.set(path, { ...common(path, someTime), kind: "directory", size: 0, mode: 0o40755 })
  }
  for (const [path, entry] of Object.entries(content)) {
    if (entry === "directory" || entry === "mount") {
      directory(path)
      continue
    }
    directory(path.slice(0, Math.max(path.lastIndexOf("/"), 0)))
    const size = Buffer.byteLength(entry.content)
    entries.set(path, {
      ...common(path, entry.mtime ?? someTime),
      kind: "file",
      size,
      mode: entry.mode ?? 0o100644
    })
  }
  const ctimes = Object.values(content).map((entry) =>
    entry === "directory" || entry === "mount" ? someTime : (entry.ctime ?? someTime)
  )
  const found = [...entries.values()].sort(byPath)
  const ctimeNs = BigInt(Math.max(someTime, ...ctimes)) * 1_000_000n
  const own = { ctimeNs, mtimeNs: BigInt(someTime) * 1_000_000n }
  const latest = found.map(({ mtimeNs }) => ({ ctimeNs, mtimeNs })).reduce(laterTimes, own)
  const mounts = Object.keys(content).filter((path) => content[path] === "mount")
  return {
    ...manifestOf(folder, found),
    stampsHash: digestOf(ctimes.join()),
    latest,
    leftOut: { ...LeftOut.nothing, excluded: Object.keys(all).length - Object.keys(content).length },
    mounts: places(mounts.map(RawPath.fromText))
  }
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex")

const manifestOf = (folder: FolderName.FolderName, found: ReadonlyArray<Omit<ManifestEntry, "name">>): Manifest => {
  const { escaped, nameOf } = EntryName.assign(found.map(({ path }) => path))
  const entries = found.map((entry) => ({ ...entry, name: nameOf(entry.path) }))
  const files = entries.filter(({ kind }) => kind === "file")
  return {
    folder,
    entries,
    files: files.length,
    directories: entries.length - files.length,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    skipped: 0,
    hardLinks: false,
    escaped,
    hash: hashEntries({ mode: 0o40755, mtimeNs: BigInt(someTime) * 1_000_000n }, entries)
  }
}

const common = (path: string, millis: number) => ({
  path: RawPath.fromText(path),
  mtimeNs: BigInt(millis) * 1_000_000n
})
