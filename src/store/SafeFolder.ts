import { basename, dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import { type FolderName, parseFolderName } from "../source/FolderName.ts"
import { Disk, DiskError, type DiskStat } from "../system/Disk.ts"
import { explain } from "../system/Errno.ts"
import { storeError } from "./StoreError.ts"

/** Removes a file or a folder with all that is in it, never through a symlink. For our own places only. */
export const discard = (path: string): Effect.Effect<void, DiskError, Disk> =>
  Effect.gen(function* () {
    const disk = yield* Disk
    const stat = yield* disk.stat(path)
    if (stat === undefined) return
    if (stat.kind !== "directory") return yield* disk.remove(path)
    yield* Effect.forEach(yield* disk.list(path), (name) => discard(join(path, name)), { discard: true })
    yield* disk.removeFolder(path)
  })

/** Fails for anything but a folder (by a symlink another user could choose where we write), and with `ours` for another user's. */
export const isFolder = Effect.fnUntraced(function* (path: string, owner?: "ours") {
  const disk = yield* Disk
  const stat = yield* disk.stat(path)
  if (stat === undefined) return false
  if (stat.kind !== "directory") {
    const isMoved = owner === undefined && stat.kind === "symlink"
    const advice = isMoved ? "Put the folder itself in its place" : remove
    return yield* refused(path, `${path} is ${kindOf(stat)}, not a folder`, advice)
  }
  const uid = process.geteuid?.()
  if (owner === "ours" && uid !== undefined && stat.uid !== uid) {
    return yield* refused(path, `${path} belongs to user ${stat.uid}, and this runs as user ${uid}`, remove)
  }
  return true
})

/** What it is, in words. */
export const kindOf = ({ kind }: DiskStat): string =>
  kind === "other" ? "a device, socket or fifo" : `a ${kind === "directory" ? "folder" : kind}`

const remove = "Find out who made it, then remove it"

const refused = (path: string, what: string, advice: string) =>
  storeError("Unsafe", path, `${what}: refused, for safety. ${advice}`)

export const isSameInode = (
  a: Pick<DiskStat, "dev" | "ino"> | undefined,
  b: Pick<DiskStat, "dev" | "ino"> | undefined
): boolean => a !== undefined && a.dev === b?.dev && a.ino === b.ino

/** The first result of `look` for the folder at `path` (depth 0) and those above it, symlinks and mounts followed. */
export const firstAbove = Effect.fnUntraced(function* <A>(
  path: string,
  look: (stat: DiskStat, depth: number) => A | undefined
) {
  const disk = yield* Disk
  let below: DiskStat | undefined
  for (let at = `${path}/.`, depth = 0; ; at = `${at}/..`, depth += 1) {
    const stat = yield* disk.stat(at)
    if (stat === undefined || isSameInode(stat, below)) return undefined
    const found = look(stat, depth)
    if (found !== undefined) return found
    below = stat
  }
})

/** The names in `path` that are those of archived folders with this ending, without it; sorted. */
export const folderNames = Effect.fnUntraced(function* (path: string, ending = "") {
  const disk = yield* Disk
  return (yield* disk.list(path)).flatMap((name): ReadonlyArray<FolderName> => {
    const folder = name.endsWith(ending) ? parseFolderName(name.slice(0, name.length - ending.length)) : undefined
    return folder === undefined ? [] : [folder]
  })
})

/** `link`, or a copy where links are refused by any error that a copy would not meet too (rclone answers EIO). */
export const linkOrCopy = Effect.fnUntraced(function* (existing: string, path: string, sha256?: string) {
  const disk = yield* Disk
  yield* disk.link(existing, path).pipe(
    Effect.catchIf(
      ({ code }) => code === undefined || !alsoOfCopies.has(code),
      (refused) =>
        Effect.mapError(disk.copy(existing, path, sha256), (error) => {
          const message = `${error.message}; it is copied since no hard link can be made there (${explain(refused.cause)})`
          return new DiskError({ ...error, message, cause: error })
        })
    )
  )
})

const alsoOfCopies: ReadonlySet<string> = new Set(["EEXIST", "ENOENT", "ENOSPC", "EDQUOT"])

/** Tries it with an empty file: between two mounts of one file system, which have one device number, nothing can be renamed. */
export const canRename = Effect.fnUntraced(function* (from: string, to: string) {
  const disk = yield* Disk
  yield* disk.remove(from)
  yield* disk.writeUnsynced(from, new Uint8Array())
  return yield* disk.rename(from, to).pipe(
    Effect.zipRight(disk.remove(to)),
    Effect.as(true),
    Effect.catchAll((error) =>
      Effect.logDebug(`archives are put together inside the target: ${error.message}`).pipe(
        Effect.zipRight(disk.remove(from)),
        Effect.as(false)
      )
    )
  )
})

/** Renames what cannot be understood to `<path>.corrupt-<n>`, with the first number that is free; the new path. */
export const setAside = Effect.fnUntraced(function* (path: string) {
  const disk = yield* Disk
  const taken = new Set(yield* disk.list(dirname(path)))
  let n = 1
  while (taken.has(`${basename(path)}.corrupt-${n}`)) n += 1
  const aside = `${path}.corrupt-${n}`
  yield* disk.rename(path, aside)
  return aside
})

/** Can be repeated: nothing at `from` means that it has been done. Of two names of one file `rename` leaves both. */
export const move = Effect.fnUntraced(function* (from: string, to: string) {
  const disk = yield* Disk
  if ((yield* disk.stat(from)) !== undefined) return yield* disk.rename(from, to)
  if ((yield* disk.stat(to)) !== undefined) return
  return yield* storeError("Other", to, `neither ${from} nor ${to} is there any more: something else removed them`)
})
