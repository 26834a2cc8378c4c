import * as fs from "node:fs/promises"
import { basename, dirname, resolve } from "node:path"
import { codeOf, explain } from "../domain/Errno.ts"
import * as RawPath from "../domain/RawPath.ts"
import type { Conflict } from "../domain/RestorePlan.ts"
import { quoted } from "../domain/Text.ts"
import { spaceAt } from "../services/disk/space.ts"
import { ExtractError } from "./ExtractError.ts"
import { type FolderId, split } from "./ExtractFolder.ts"

/** DIR, as it was found. */
export interface Target {
  /** With every symlink on the way to it followed. */
  readonly path: RawPath.RawPath
  /** Which folder it is; undefined when it has to be made. */
  readonly id: FolderId | undefined
  /** Bytes that may still be written there. */
  readonly free: number | undefined
  /** Folders that nothing is written to, also where they stand in DIR. */
  readonly isKept: (folder: FolderId) => boolean
}

const refuse = (to: string, why: string, cause?: unknown): ExtractError =>
  new ExtractError({
    reason: "Target",
    message: `cannot restore to ${quoted(to)}: ${why}; nothing was written`,
    cause
  })

const asBytes = { encoding: "buffer" } as const

const unlessMissing = <A>(found: Promise<A>): Promise<A | undefined> =>
  found.catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return undefined
    throw cause
  })

/** The folder that `path` leads to, with every symlink followed; undefined when there is nothing. */
const real = async (path: string): Promise<RawPath.RawPath | undefined> => {
  const found = await unlessMissing(fs.realpath(path, asBytes))
  return found === undefined ? undefined : RawPath.fromBuffer(found)
}

/**
 * Looks at DIR, which is made if it is not there, but no folder above it. It must not lie in `keepOut`, where something else
 * than what is restored belongs, whatever path leads there: a folder is what its device and inode say, since the same one may be
 * mounted at several places.
 */
export const lookAtTarget = async (to: string, keepOut: ReadonlyArray<string>): Promise<Target> => {
  try {
    await refusePlanted(to)
    const found = await real(to)
    const target = found === undefined ? await toBeMade(to) : { path: found, id: await folderId(to, found) }
    const kept = await keptFolders(keepOut).catch((cause: unknown) => {
      const where = keepOut.map(quoted).join(" or ")
      throw refuse(
        to,
        `cannot see whether it lies in ${where}, where the archives are: ${explain(cause)}`,
        cause
      )
    })
    for (const above of upwards(target.path)) {
      const within = kept.get(keyOf(await whichFolder(above)))
      if (within !== undefined) throw refuse(to, `it lies in ${within}, where the archives are`)
    }
    const above = found ?? RawPath.fromBuffer(Buffer.from(dirname(resolve(to))))
    await fs.access(RawPath.toBuffer(above), fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK)
    const { bytes } = await spaceAt(RawPath.toBuffer(above))
    return { ...target, free: bytes, isKept: (folder) => kept.has(keyOf(folder)) }
  } catch (cause) {
    if (cause instanceof ExtractError) throw cause
    throw refuse(to, explain(cause), cause)
  }
}

/** The operator may name a symlink; where one leads that somebody else has planted is not the operator's choice. */
const refusePlanted = async (to: string): Promise<void> => {
  const named = await unlessMissing(fs.lstat(resolve(to)))
  const uid = process.geteuid?.()
  if (named?.isSymbolicLink() && uid !== undefined && named.uid !== uid && named.uid !== 0) {
    throw refuse(to, `it is a symlink made by user ${named.uid}; name the folder itself`)
  }
}

const keyOf = (folder: FolderId | undefined): string =>
  folder === undefined ? "" : `${folder.dev}:${folder.ino}`

/** Undefined when there is nothing. */
const whichFolder = async (path: RawPath.RawPath): Promise<FolderId | undefined> => {
  const stats = await unlessMissing(fs.lstat(RawPath.toBuffer(path), { bigint: true }))
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
    for (const name of await fs.readdir(RawPath.toBuffer(path), asBytes).catch(unlessForbidden)) {
      await keep(RawPath.join(path, RawPath.fromBuffer(name)), kept)
    }
  }
  return found
}

/** What may not be listed may be restored from all the same. */
const unlessForbidden = (cause: unknown): ReadonlyArray<Buffer> => {
  if (codeOf(cause) === "EACCES") return []
  throw cause
}

/** The path, and every one above it. */
function* upwards(path: RawPath.RawPath): Generator<RawPath.RawPath> {
  for (let at = path; at !== ""; at = split(at).parent) yield at
  yield RawPath.fromLatin1("/")
}

const folderId = async (to: string, path: RawPath.RawPath): Promise<FolderId> => {
  const stats = await fs.lstat(RawPath.toBuffer(path), { bigint: true })
  if (!stats.isDirectory()) throw refuse(to, "it is not a folder")
  return { dev: stats.dev, ino: stats.ino }
}

const toBeMade = async (to: string): Promise<Pick<Target, "path" | "id">> => {
  const whole = resolve(to)
  const there = await unlessMissing(fs.lstat(whole))
  if (there !== undefined) throw refuse(to, "it is a symlink that leads to nothing")
  const parent = await real(dirname(whole))
  if (parent === undefined) throw refuse(to, `there is no folder ${quoted(dirname(whole))} to make it in`)
  return { path: RawPath.join(parent, RawPath.fromText(basename(whole))), id: undefined }
}

/** What is at a place in DIR. */
interface Standing extends FolderId {
  readonly is: Exclude<Conflict["is"], "archives">
  /** Bytes that become free when it is removed, as far as that can be known. */
  readonly freed: number
}

/** Of `st_blocks`, whatever the file system's own are. */
const blockSize = 512n

/** `lstat`; undefined when there is nothing. */
export const lookAt = async (path: RawPath.RawPath): Promise<Standing | undefined> => {
  try {
    const stats = await fs.lstat(RawPath.toBuffer(path), { bigint: true })
    const { blocks, dev, ino, nlink, size } = stats
    if (stats.isFile()) {
      // Not what a sparse file only says it has, and nothing while there is another name for it.
      const used = blocks * blockSize < size ? blocks * blockSize : size
      return { is: "file", dev, ino, freed: nlink > 1n ? 0 : Number(used) }
    }
    const is = stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "other"
    return { is, dev, ino, freed: 0 }
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined
    throw new ExtractError({
      reason: "Target",
      message: `cannot look at ${quoted(RawPath.display(path))}: ${explain(cause)}; nothing was written`,
      cause
    })
  }
}
