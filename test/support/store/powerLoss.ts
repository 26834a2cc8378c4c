import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Disk, type DiskError } from "../../../src/system/Disk.ts"

/**
 * A model of what a power cut leaves of a tree. What was synced is there. Of everything since, any part may be: each
 * change of names is there or not, whole, whatever the order in which they were made (no file system of ours is that
 * bad; one that keeps its promises to `fsync` and `rename` is no worse); the content of a file that was not synced may
 * be there, empty, or garbled.
 */

type Id = number

type Node = { readonly kind: "folder" } | { readonly kind: "file"; readonly content: Buffer; readonly synced: boolean }

/** One change of names, as atomic as `rename`. */
interface Change {
  readonly names: ReadonlyArray<{ readonly folder: Id; readonly name: string; readonly to: Id | undefined }>
  readonly synced: boolean
}

/** Everything that was done to a tree until some moment. */
export interface Moment {
  readonly nodes: ReadonlyMap<Id, Node>
  readonly changes: ReadonlyArray<Change>
  /** The operation after which it is. */
  readonly after: string
}

const rootId = 0

/** The tree at `root` as it is, with all of it on the disk. */
const load = (root: string): Moment => {
  const nodes = new Map<Id, Node>([[rootId, { kind: "folder" }]])
  const changes: Array<Change> = []
  const known = new Map<number, Id>()
  const walk = (folder: Id, at: string) => {
    for (const name of fs.readdirSync(at)) {
      const file = path.join(at, name)
      const stat = fs.lstatSync(file)
      const twin = stat.isDirectory() ? undefined : known.get(stat.ino)
      const id = twin ?? nodes.size
      changes.push({ names: [{ folder, name, to: id }], synced: true })
      if (twin !== undefined) continue
      if (stat.isDirectory()) {
        nodes.set(id, { kind: "folder" })
        walk(id, file)
      } else {
        known.set(stat.ino, id)
        nodes.set(id, { kind: "file", content: fs.readFileSync(file), synced: true })
      }
    }
  }
  walk(rootId, root)
  return { nodes, changes, after: "the beginning" }
}

const unknown = (file: string): never => {
  throw new Error(`the model knows no ${file}`)
}

/** What the changes make of the names: by folder, then by name. */
const namesOf = (changes: ReadonlyArray<Change>) => {
  const folders = new Map<Id, Map<string, Id>>()
  for (const change of changes) {
    for (const { folder, name, to } of change.names) {
      const names = folders.get(folder) ?? new Map<string, Id>()
      folders.set(folder, names)
      if (to === undefined) names.delete(name)
      else names.set(name, to)
    }
  }
  return folders
}

/** A disk at `root` that remembers what was done to it, moment by moment. */
export const recorder = (root: string) => {
  const moments: Array<Moment> = [load(root)]
  const last = (): Moment => moments[moments.length - 1] ?? load(root)
  const find = (file: string) => {
    const parts = path.relative(root, path.normalize(file)).split(path.sep)
    const folders = namesOf(last().changes)
    let folder: Id | undefined = rootId
    for (const part of parts.slice(0, -1)) {
      folder = folder === undefined ? undefined : folders.get(folder)?.get(part)
    }
    const name = parts.at(-1) ?? ""
    if (folder === undefined) return undefined
    return { folder, name, id: name === "" ? rootId : folders.get(folder)?.get(name) }
  }
  const place = (file: string) => find(file) ?? unknown(file)
  const idOf = (file: string): Id => find(file)?.id ?? unknown(file)
  const add = (after: string, change: Partial<Pick<Moment, "nodes" | "changes">>) =>
    moments.push({ ...last(), ...change, after: `${after}` })
  const changed = (names: Change["names"]) => [...last().changes, { names, synced: false }]
  const make = (after: string, file: string, node: Node) => {
    const id = last().nodes.size
    add(after, {
      nodes: new Map(last().nodes).set(id, node),
      changes: changed([{ ...place(file), to: id }])
    })
  }
  const synced = (file: string) => {
    const id = idOf(file)
    const node = last().nodes.get(id)
    if (node?.kind === "file") {
      add(`sync ${file}`, { nodes: new Map(last().nodes).set(id, { ...node, synced: true }) })
      return
    }
    const touches = ({ names }: Change) => names.some(({ folder }) => folder === id)
    add(`sync ${file}`, {
      changes: last().changes.map((change) => (touches(change) ? { ...change, synced: true } : change))
    })
  }
  const noted = <A>(effect: Effect.Effect<A, DiskError>, note: () => void) =>
    Effect.tap(effect, () => Effect.sync(note))
  const wrote = (after: string, file: string, isSynced: boolean) =>
    make(after, file, { kind: "file", content: fs.readFileSync(file), synced: isSynced })
  const removed = (after: string, file: string) => {
    const found = find(file)
    if (found?.id !== undefined) add(after, { changes: changed([{ ...found, to: undefined }]) })
  }
  const unforeseen = (what: string) => () => Effect.dieMessage(`the model of a power cut knows no ${what}`)

  const layer: Layer.Layer<Disk, never, Disk> = Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => ({
      ...disk,
      write: (file, content, mode) => noted(disk.write(file, content, mode), () => wrote(`write ${file}`, file, true)),
      writeUnsynced: (file, content) =>
        noted(disk.writeUnsynced(file, content), () => wrote(`write ${file}, unsynced`, file, false)),
      copy: (from, to, sha256) => noted(disk.copy(from, to, sha256), () => wrote(`copy ${from} to ${to}`, to, true)),
      makeFolder: (file, mode) =>
        noted(disk.makeFolder(file, mode), () => make(`mkdir ${file}`, file, { kind: "folder" })),
      link: (existing, file) =>
        noted(disk.link(existing, file), () =>
          add(`link ${existing} to ${file}`, { changes: changed([{ ...place(file), to: idOf(existing) }]) })
        ),
      rename: (from, to) =>
        noted(disk.rename(from, to), () => {
          const id = idOf(from)
          const target = place(to)
          // Of two names of one file rename leaves both.
          if (target.id === id) return
          add(`rename ${from} to ${to}`, {
            changes: changed([
              { ...place(from), to: undefined },
              { ...target, to: id }
            ])
          })
        }),
      remove: (file) => noted(disk.remove(file), () => removed(`remove ${file}`, file)),
      removeFolder: (file) => noted(disk.removeFolder(file), () => removed(`rmdir ${file}`, file)),
      sync: (file) => noted(disk.sync(file), () => synced(file)),
      append: unforeseen("append"),
      setMode: unforeseen("chmod")
    }))
  )
  return {
    layer,
    /** Something wrote a file past this disk, and did not sync it. */
    wroteElsewhere: (file: string) => wrote(`write ${file}, elsewhere`, file, false),
    /** The tree before and after each change. */
    moments: (): ReadonlyArray<Moment> => moments
  }
}

/** A tree that a power cut may leave: files by path, and which of them are one file under several names. */
export interface Remains {
  readonly folders: ReadonlyArray<string>
  readonly files: ReadonlyArray<{ readonly path: string; readonly id: Id; readonly content: Buffer }>
}

type Unsynced = "kept" | "empty" | "garbled"

const spoil = (content: Buffer, how: Unsynced): Buffer =>
  how === "kept"
    ? content
    : how === "empty"
      ? Buffer.alloc(0)
      : Buffer.from(content.map((byte, index) => (index * 2 < content.length ? byte : 0)))

const remainsOf = ({ nodes }: Moment, changes: ReadonlyArray<Change>, unsynced: Unsynced): Remains => {
  const names = namesOf(changes)
  const folders: Array<string> = []
  const files: Array<Remains["files"][number]> = []
  const walk = (folder: Id, at: string) => {
    for (const [name, id] of [...(names.get(folder) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const node = nodes.get(id)
      const file = path.join(at, name)
      if (node?.kind === "folder") {
        folders.push(file)
        walk(id, file)
      } else if (node !== undefined) {
        files.push({ path: file, id, content: node.synced ? node.content : spoil(node.content, unsynced) })
      }
    }
  }
  walk(rootId, "")
  return { folders, files }
}

/** Which of `count` changes are kept: all ways while they are few, else the telling ones and some at random. */
const selections = (count: number, exhaustive: number, random: () => number): ReadonlyArray<ReadonlyArray<boolean>> => {
  const from = (keep: (index: number) => boolean) => Array.from({ length: count }, (_, index) => keep(index))
  if (count <= exhaustive) {
    return Array.from({ length: 2 ** count }, (_, bits) => from((index) => ((bits >> index) & 1) === 1))
  }
  const each = Array.from({ length: count + 1 }, (_, index) => index)
  return [
    ...each.map((many) => from((index) => index < many)),
    ...each.map((one) => from((index) => index !== one)),
    ...each.map((one) => from((index) => index === one)),
    ...Array.from({ length: count }, () => from(() => random() < 0.5))
  ]
}

/**
 * What a power cut at that moment may leave. All of it while not more than `exhaustive` changes are unsynced. Every
 * one is given once, as a way to put it on a real disk.
 */
export const cutsAt = (
  moment: Moment,
  options: { readonly exhaustive: number; readonly random: () => number; readonly seen: Set<string> }
): ReadonlyArray<Remains> => {
  const open = moment.changes.filter(({ synced }) => !synced)
  const torn = [...moment.nodes.values()].some((node) => node.kind === "file" && !node.synced)
  return selections(open.length, options.exhaustive, options.random).flatMap((kept) => {
    let index = -1
    const changes = moment.changes.filter(({ synced }) => {
      if (synced) return true
      index += 1
      return kept[index] === true
    })
    return (torn ? (["kept", "empty", "garbled"] as const) : (["kept"] as const)).flatMap((unsynced) => {
      const remains = remainsOf(moment, changes, unsynced)
      const key = JSON.stringify([
        remains.folders,
        remains.files.map(({ content, id, path: file }) => [file, id, content.toString("latin1")])
      ])
      if (options.seen.has(key)) return []
      options.seen.add(key)
      return [remains]
    })
  })
}

/** Puts it on a real disk, into a folder that must not exist. */
export const restore = (remains: Remains, root: string): void => {
  fs.mkdirSync(root, { recursive: true })
  for (const folder of remains.folders) fs.mkdirSync(path.join(root, folder))
  const first = new Map<Id, string>()
  for (const { content, id, path: file } of remains.files) {
    const twin = first.get(id)
    if (twin === undefined) fs.writeFileSync(path.join(root, file), content)
    else fs.linkSync(path.join(root, twin), path.join(root, file))
    first.set(id, twin ?? file)
  }
}

/** Numbers from 0 to 1, the same in every run (mulberry32). */
export const seeded = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
}
