import * as fs from "node:fs"
import * as fsPromises from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import type { FolderName } from "../source/FolderName.ts"
import { spaceAt } from "../system/Disk.ts"
import { codeOf, explain } from "../system/Errno.ts"
import { isRunning } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import { quoted, shellWords } from "../text/Text.ts"
import type { FileIdentity } from "./ArchiveIndex.ts"
import { type FileId, type Folder, makeOpener, split } from "./ExtractFolders.ts"
import type { Conflict } from "./RestorePlan.ts"
import { ExtractError } from "./ZipError.ts"

export interface ExtractRequest {
  readonly zip: string
  readonly file: FileIdentity
  readonly files: number
  readonly bytes: number
  readonly to: string
  /** The folder below `to` that is meant, where several archives are restored; undefined: `to` itself. */
  readonly name?: FolderName | undefined
  readonly only: ReadonlyArray<string>
  /** Regular files in DIR may be replaced, and folders there get the archive's modes and times. */
  readonly overwrite: boolean
  /** What is written is on the disk before the restore ends. */
  readonly sync: boolean
  /** Names that may be one in DIR are tried there; otherwise the plan has them as `untried`. */
  readonly triesNames: boolean
  /** Folders that DIR must not lie in, and that nothing is written to where they stand in it. */
  readonly keepOut: ReadonlyArray<string>
}

interface Place {
  readonly path: RawPath.RawPath
  /** Which folder it is; undefined when it has to be made. */
  readonly id: FileId | undefined
  /** The nearest folder that is there. */
  readonly above: RawPath.RawPath
  /** The folder that has to be made before it. */
  readonly parent?: RawPath.RawPath | undefined
}

export interface Target extends Place {
  /** Folders on one device share what is free. */
  readonly device: string
  readonly free: number | undefined
  /** Folders that nothing is written to, also where they stand in DIR. */
  readonly isKept: (folder: FileId) => boolean
}

const targetError = (what: string, cause?: unknown): ExtractError =>
  new ExtractError({ reason: "Target", message: `${what}; nothing was written`, cause })

const refuse = (to: string, why: string, cause?: unknown): ExtractError =>
  targetError(`cannot restore to ${quoted(to)}: ${why}`, cause)

/** `folder`: the one that did not let this process in, where that is the cause. */
export const notDone = (
  verb: string,
  path: RawPath.RawPath,
  cause: unknown,
  folder = path,
  what = ""
): ExtractError => {
  // A restore gives back also a mode that keeps the owner out.
  const open = shellWords(["chmod", "u+rwx", RawPath.display(folder)])
  const advice = codeOf(cause) === "EACCES" ? `; if that folder is yours: ${open}` : ""
  return targetError(`cannot ${verb} ${quoted(RawPath.display(path))}${what}: ${explain(cause)}${advice}`, cause)
}

const asBytes = { encoding: "buffer" } as const

const unlessMissing = <A>(found: Promise<A>): Promise<A | undefined> =>
  found.catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return undefined
    throw cause
  })

const real = async (path: string): Promise<RawPath.RawPath | undefined> => {
  const found = await unlessMissing(fsPromises.realpath(path, asBytes))
  return found === undefined ? undefined : RawPath.fromBuffer(found)
}

const { R_OK, W_OK, X_OK } = fs.constants

/** DIR, which may have to be made. By device and inode (a folder may be mounted twice) it must not lie in `keepOut`. */
export const lookAtTarget = async ({
  keepOut,
  name,
  to
}: Pick<ExtractRequest, "to" | "name" | "keepOut">): Promise<Target> => {
  try {
    const dir = await lookAtDir(to)
    const target = name === undefined ? dir : await lookBelow(dir, name, to)
    const kept = await keptFolders(keepOut).catch((cause: unknown) => {
      const where = keepOut.map(quoted).join(" or ")
      throw refuse(to, `cannot see whether it lies in ${where}, where the archives are: ${explain(cause)}`, cause)
    })
    for (const above of upwards(target.path)) {
      const within = kept.get(keyOf(await whichFolder(above)))
      if (within !== undefined) throw refuse(to, `it lies in ${within}, where the archives are`)
    }
    const above = RawPath.toBuffer(target.above)
    await fsPromises.access(above, R_OK | W_OK | X_OK)
    const { bytes } = await spaceAt(above)
    const { dev } = await fsPromises.lstat(above)
    return { ...target, free: bytes, device: String(dev), isKept: (folder) => kept.has(keyOf(folder)) }
  } catch (cause) {
    if (cause instanceof ExtractError) throw cause
    throw refuse(to, explain(cause), cause)
  }
}

const lookAtDir = async (to: string): Promise<Place> => {
  await refuseForeignLink(to)
  const path = await real(to)
  if (path === undefined) return newTarget(to)
  const id = await whichFolder(path)
  if (id === undefined) throw refuse(to, "it is not a folder")
  return { path, id, above: path }
}

/** No symlink is followed below DIR. */
const lookBelow = async (dir: Place, name: FolderName, to: string): Promise<Place> => {
  const path = RawPath.join(dir.path, RawPath.fromText(name))
  const there = dir.id && (await lookAt(path))
  if (there === undefined) return { path, id: undefined, above: dir.above, parent: dir.id ? undefined : dir.path }
  const { dev, ino, is } = there
  if (is !== "directory") throw refuse(join(to, name), `it is ${is === "symlink" ? "a symlink" : "not a folder"}`)
  return { path, id: { dev, ino }, above: path }
}

/** The operator may name a symlink; where one leads that another user has made is not the operator's choice. */
const refuseForeignLink = async (to: string): Promise<void> => {
  const named = await unlessMissing(fsPromises.lstat(resolve(to)))
  const uid = process.geteuid?.()
  if (named?.isSymbolicLink() && uid !== undefined && named.uid !== uid && named.uid !== 0) {
    throw refuse(to, `it is a symlink made by user ${named.uid}; name the folder itself`)
  }
}

const keyOf = (folder: FileId | undefined): string => (folder === undefined ? "" : `${folder.dev}:${folder.ino}`)

const whichFolder = async (path: RawPath.RawPath): Promise<FileId | undefined> => {
  const stats = await unlessMissing(fsPromises.lstat(RawPath.toBuffer(path), { bigint: true }))
  return stats?.isDirectory() ? { dev: stats.dev, ino: stats.ino } : undefined
}

/** The folders of `keepOut`, and those directly in them, which might be mounted elsewhere by themselves. */
const keptFolders = async (keepOut: ReadonlyArray<string>): Promise<ReadonlyMap<string, string>> => {
  const found = new Map<string, string>()
  const keep = async (path: RawPath.RawPath, kept: string): Promise<void> => {
    const id = await whichFolder(path)
    if (id !== undefined) found.set(keyOf(id), kept)
  }
  for (const kept of keepOut) {
    const path = await real(kept)
    if (path === undefined) continue
    await keep(path, kept)
    for (const name of await fsPromises.readdir(RawPath.toBuffer(path), asBytes).catch(unlessForbidden)) {
      await keep(RawPath.join(path, RawPath.fromBuffer(name)), kept)
    }
  }
  return found
}

const unlessForbidden = (cause: unknown): ReadonlyArray<Buffer> => {
  if (codeOf(cause) === "EACCES") return []
  throw cause
}

function* upwards(path: RawPath.RawPath): Generator<RawPath.RawPath> {
  for (let at = path; at !== ""; at = split(at).parent) yield at
  yield RawPath.fromLatin1("/")
}

const newTarget = async (to: string): Promise<Place> => {
  const whole = resolve(to)
  const there = await unlessMissing(fsPromises.lstat(whole))
  if (there !== undefined) throw refuse(to, "it is a symlink that leads to nothing")
  const parent = await real(dirname(whole))
  if (parent === undefined) throw refuse(to, `there is no folder ${quoted(dirname(whole))} to make it in`)
  return { path: RawPath.join(parent, RawPath.fromText(basename(whole))), id: undefined, above: parent }
}

interface Occupant extends FileId {
  readonly is: Exclude<Conflict["is"], "archives">
  readonly mode: number
  /** Bytes that become free when it is removed, as far as that can be known. */
  readonly freed: number
}

/** Of `st_blocks`, on any file system. */
const blockSize = 512n

/** `lstat`; undefined when there is nothing. */
export const lookAt = async (path: RawPath.RawPath): Promise<Occupant | undefined> => {
  try {
    const stats = await fsPromises.lstat(RawPath.toBuffer(path), { bigint: true })
    const { blocks, dev, ino, nlink, size } = stats
    const mode = Number(stats.mode)
    if (stats.isFile()) {
      // Not what a sparse file only says it has, and nothing while there is another name for it.
      const used = blocks * blockSize < size ? blocks * blockSize : size
      return { is: "file", mode, dev, ino, freed: nlink > 1n ? 0 : Number(used) }
    }
    const is = stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "other"
    return { is, mode, dev, ino, freed: 0 }
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined
    throw notDone("look at", path, cause, split(path).parent)
  }
}

/** Begins the names of files that replace others once complete: `id` (12 hex digits), and the process that writes them. */
export const temporaryName = (id: string): string => `.zipper-restore-${id}-${process.pid}-`

const pattern = /^\.zipper-restore-[0-9a-f]{12}-([0-9]{1,10})-[0-9]+$/

/** Left by a process that is there no more: another restore may be at work in the same place. */
const isLeft = (name: string): boolean => {
  const pid = pattern.exec(name)?.[1]
  return pid !== undefined && !isRunning(Number(pid))
}

export interface Leftover {
  readonly folder: Folder
  readonly name: RawPath.RawPath
  readonly freed: number
}

const bufferSize = 1024

/** Those directly in a folder that stands at `path`. */
export const findLeftovers = async (path: RawPath.RawPath, folder: Folder): Promise<ReadonlyArray<Leftover>> => {
  const found: Array<Leftover> = []
  try {
    for await (const entry of await fsPromises.opendir(RawPath.toBuffer(path), { bufferSize })) {
      if (!isLeft(entry.name) || !entry.isFile()) continue
      const name = RawPath.fromText(entry.name)
      const occupant = await lookAt(RawPath.join(path, name))
      if (occupant?.is === "file") found.push({ folder, name, freed: occupant.freed })
    }
    return found
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return found
    if (cause instanceof ExtractError) throw cause
    throw notDone("look at", path, cause)
  }
}

export const leftoverPath = ({ folder, name }: Leftover): RawPath.RawPath => RawPath.join(folder.path, name)

export const removeLeftovers = (root: RawPath.RawPath, leftovers: ReadonlyArray<Leftover>): ReadonlyArray<string> => {
  const opener = makeOpener(root)
  try {
    return leftovers.flatMap((leftover) => {
      const { id, path } = leftover.folder
      if (id === undefined) return []
      try {
        const at = opener.open({ path, ...id }).at(leftover.name)
        if (fs.lstatSync(at).isFile()) fs.unlinkSync(at)
        return []
      } catch (cause) {
        if (codeOf(cause) === "ENOENT") return []
        const name = RawPath.display(leftoverPath(leftover))
        return [`${name}, left by a restore that was killed, cannot be removed: ${explain(cause)}`]
      }
    })
  } finally {
    opener.close()
  }
}
