import { createHash } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { waitingCalls } from "../system/FileCalls.ts"
import { abortable, Workers } from "../system/Workers.ts"
import * as RawPath from "../text/RawPath.ts"
import { gather, inOrder, type Run } from "./Entries.ts"
import * as EntryName from "./EntryName.ts"
import { type ExcludeRules, noRules } from "./Exclude.ts"
import * as FolderName from "./FolderName.ts"
import { namesLogged, type Skipped, typeOf } from "./List.ts"
import { type Entries, folderLine, type Manifest, type ManifestEntry } from "./Manifest.ts"
import * as Source from "./SourceView.ts"
import { places, type SourceView } from "./SourceView.ts"
import { failAs, isTreeError, TreeError, treeError, twiceText } from "./TreeError.ts"
import { type Walked, walk } from "./Walk.ts"

interface Unreadable {
  readonly folder: FolderName.FolderName
  readonly reason: string
}

/** Not a folder, but with the name of one. */
interface Replaced {
  readonly folder: FolderName.FolderName
  readonly type: string
}

interface UnsafeName {
  /** For messages. */
  readonly name: string
  /** To be read after the name. */
  readonly problem: string
}

/** Why it is not archived, and what to do. */
export const unsafeText = ({ name, problem }: UnsafeName): string =>
  `${name} is not archived: its name ${problem}; rename that folder, or leave it out by "folders"`

/** Why a folder that has archives fails when a file or a symlink has its name. */
export const replacedText = (type: string): string =>
  `it is a ${type} in the source now, no folder, and is not read: put the folder back, or move its archives out of the target if it is gone for good`

interface Listing {
  /** Sorted, with the child datasets that the parent's snapshot does not show. */
  readonly folders: ReadonlyArray<FolderName.FolderName>
  readonly unreadable: ReadonlyArray<Unreadable>
  readonly replaced: ReadonlyArray<Replaced>
  /** Of folders that `folders` asks for, and that cannot have an archive. */
  readonly unsafe: ReadonlyArray<UnsafeName>
  /** Names that `folders` does not ask for, of folders and of anything else. */
  readonly unmatched: ReadonlySet<string>
  /** Other names, files, symlinks, devices. */
  readonly skipped: number
}

/** Reads names, sizes, times and modes of the source, never the content. */
export class Tree extends Context.Tag("zipper/Tree")<
  Tree,
  {
    /** What lies at the top of the source, with the `wanted` names; what cannot be looked at is in the result. Fails when the source itself cannot be listed. */
    readonly folders: (view: SourceView, wanted: RegExp) => Effect.Effect<Listing, TreeError>
    /** Fails unless the folder itself can be listed. */
    readonly readable: (view: SourceView, folder: FolderName.FolderName) => Effect.Effect<void, TreeError>
    /** Walks one folder and its child datasets, through no symlink. Fails when any part that is not excluded cannot be read. */
    readonly manifest: (
      view: SourceView,
      folder: FolderName.FolderName,
      rules?: ExcludeRules
    ) => Effect.Effect<Manifest, TreeError>
  }
>() {
  static readonly layer: Layer.Layer<Tree> = Layer.effect(
    Tree,
    Effect.map(Workers, (runner) => ({
      folders: Effect.fn("Tree.folders")(function* (view: SourceView, wanted: RegExp) {
        const { skippedNames, ...found } = yield* abortable((signal) => listFolders(view, wanted, signal), isTreeError)
        yield* logSkipped(skippedNames, found.skipped)
        return found
      }),
      readable: Effect.fn("Tree.readable")(function* (view: SourceView, folder: FolderName.FolderName) {
        yield* failIfBlocked(view, folder)
        yield* abortable(() => canList(view, folder), isTreeError)
      }),
      manifest: Effect.fn("Tree.manifest")(function* (
        view: SourceView,
        folder: FolderName.FolderName,
        rules = noRules
      ) {
        yield* failIfBlocked(view, folder)
        const walked = yield* abortable((signal) => walk(view, folder, rules, runner, signal), isTreeError)
        yield* logSkipped(walked.skippedNames, walked.skipped)
        return toManifest(folder, walked)
      })
    }))
  )
}

const listFolders = async (view: SourceView, wanted: RegExp, signal: AbortSignal) => {
  const found = await waitingCalls
    .names(RawPath.toBuffer(view.root))
    .catch(failAs(view, "list", RawPath.here, view.root))
  const folders = new Set<FolderName.FolderName>()
  for (const { at } of [...view.grafts, ...view.blocked]) {
    const folder = FolderName.topFolder(at)
    if (folder !== undefined && wanted.test(folder)) folders.add(folder)
  }
  const unreadable: Array<Unreadable> = []
  const replaced: Array<Replaced> = []
  const skippedNames: Array<Skipped> = []
  const unsafe: Array<UnsafeName> = []
  const unmatched = new Set<string>()
  let skipped = 0
  const skip = (path: RawPath.RawPath, type: string) => {
    skipped += 1
    if (skippedNames.length < namesLogged) skippedNames.push({ path, type })
  }
  const listed = new Set<string>()
  for (const name of found.map(RawPath.fromLatin1)) {
    signal.throwIfAborted()
    const folder = FolderName.topFolder(name)
    const path = RawPath.join(view.root, name)
    if (folder === undefined || !wanted.test(folder)) {
      const problem = folder === undefined ? await unsafeFolder(name, path, wanted) : undefined
      if (problem !== undefined) unsafe.push({ name: RawPath.display(name), problem })
      else if (folder !== undefined) unmatched.add(folder)
      skip(name, problem ?? "not a name to archive")
      continue
    }
    if (listed.has(name) && !unreadable.some((known) => known.folder === folder)) {
      unreadable.push({ folder, reason: twiceText(name) })
    }
    listed.add(name)
    if (folders.has(folder)) continue
    const stats = await waitingCalls.lstat(RawPath.toBuffer(path)).catch((cause: unknown) => {
      // The folder fails by its name, and the others are archived.
      folders.add(folder)
      unreadable.push({ folder, reason: treeError(view, "read", name, path, cause).message })
    })
    if (stats === undefined) continue
    if (stats.isDirectory()) folders.add(folder)
    else {
      replaced.push({ folder, type: typeOf(stats) })
      skip(name, typeOf(stats))
    }
  }
  return { folders: [...folders].sort(), unreadable, replaced, unsafe, unmatched, skipped, skippedNames }
}

/** Why the folder of that name cannot be archived, though it is asked for; undefined where it is not, or no folder. */
const unsafeFolder = async (name: RawPath.RawPath, path: RawPath.RawPath, wanted: RegExp) => {
  const text = RawPath.toBuffer(name).toString("utf8")
  if (!FolderName.isAskedFor(wanted, text)) return undefined
  // What cannot be looked at may be a folder.
  const stats = await waitingCalls.lstat(RawPath.toBuffer(path)).catch(() => undefined)
  return stats?.isDirectory() === false ? undefined : FolderName.nameProblem(text)
}

const canList = async (view: SourceView, folder: FolderName.FolderName): Promise<void> => {
  const at = RawPath.fromText(folder)
  const path = Source.resolve(view, at)
  await waitingCalls.names(RawPath.toBuffer(path)).catch(failAs(view, "list", at, path))
}

/** Fails where a blocked place makes the whole folder unreadable. */
export const failIfBlocked = (view: SourceView, folder: FolderName.FolderName): Effect.Effect<void, TreeError> => {
  const top = RawPath.fromText(folder)
  const blocked = view.blocked.find(
    ({ at }) => RawPath.relativeTo(top, at) !== undefined || RawPath.relativeTo(at, top) !== undefined
  )
  if (blocked === undefined) return Effect.void
  const path = RawPath.display(blocked.at)
  // A line about a folder begins with its name.
  const shown = blocked.at.includes("/") ? path : "it"
  return new TreeError({ path, message: `${shown} cannot be read: ${blocked.reason}`, transient: false })
}

const logSkipped = Effect.fnUntraced(function* (first: ReadonlyArray<Skipped>, count: number) {
  for (const { path, type } of first) yield* Effect.logDebug(`skipped ${RawPath.display(path)} (${type})`)
  if (count > first.length) yield* Effect.logDebug(`skipped ${count - first.length} more`)
})

/** An unchanged folder needs only the hash: entries are gathered at the first use, and each is made when it is asked for. */
const toManifest = (folder: FolderName.FolderName, walked: Walked): Manifest => {
  const { ascii, caches, entries, hollow, itself, mounts, root, skippedNames, ...counts } = walked
  const runs = inOrder(root)
  const hash = createHash("sha256").update(folderLine(itself))
  const stampsHash = createHash("sha256").update(`${itself.ino} ${itself.ctimeNs}\0`)
  for (const { block, from, to } of runs) {
    hash.update(block.lines(from, to))
    stampsHash.update(block.stamps(from, to))
  }
  let made: Made | undefined
  // A closure over `walked` would keep its memory as long as the manifest lives.
  const make = (): Made => {
    made ??= makeEntries(runs, entries, ascii)
    runs.length = 0
    return made
  }
  return {
    ...counts,
    folder,
    directories: entries - counts.files,
    hash: hash.digest("hex"),
    stampsHash: stampsHash.digest("hex"),
    mounts: places(mounts),
    hollow: places(hollow),
    caches: places(caches),
    get entries() {
      return make().entries
    },
    get escaped() {
      return make().escaped
    },
    get stamps() {
      return make().stamps
    },
    get devices() {
      return make().devices
    }
  }
}

type Made = Required<Pick<Manifest, "devices" | "entries" | "escaped" | "stamps">>

const makeEntries = (runs: ReadonlyArray<Run>, length: number, ascii: boolean): Made => {
  const block = gather(runs, length)
  const each = <A>(of: (index: number) => A): Iterable<A> => ({
    *[Symbol.iterator]() {
      for (let index = 0; index < length; index += 1) yield of(index)
    }
  })
  const { escaped, nameOf } = EntryName.assign(ascii ? [] : each(block.path))
  const entry = (index: number): ManifestEntry => {
    const path = block.path(index)
    return block.entry(index, path, ascii ? path : nameOf(path))
  }
  const slice = (from: number, to: number): ReadonlyArray<ManifestEntry> => {
    const entries: Array<ManifestEntry> = []
    for (let index = Math.max(from, 0); index < Math.min(to, length); index += 1) entries.push(entry(index))
    return entries
  }
  const at = (index: number) => (index >= 0 && index < length ? entry(index) : undefined)
  const entries: Entries = { length, at, slice, ...each(entry) }
  return { devices: block.devices, entries, escaped, stamps: block.stamps(0, length) }
}
