import { fstatSync, fsyncSync } from "node:fs"
import type * as fs from "node:fs/promises"
import { normalize } from "node:path"
import * as Effect from "effect/Effect"
import { codeOf } from "../../domain/Errno.ts"

/** What a file system answers that cannot sync at all. */
const unsupported: ReadonlySet<string> = new Set(["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"])

/** A file system that does not sync: what it does not sync, and the code that it answers with. */
interface NotSynced {
  readonly what: "files" | "folders"
  readonly code: string
}

/**
 * `fsync` of an open file or folder. Undefined when it is done; a file system that cannot do it is no failure, since nothing
 * better can be done there. Of a folder, some network file systems answer that with EPERM.
 */
export const syncOpen = async (file: fs.FileHandle): Promise<NotSynced | undefined> => {
  try {
    await file.sync()
    return undefined
  } catch (cause) {
    return notSynced(cause, (await file.stat()).isDirectory())
  }
}

/** The same of a descriptor, at once: for threads that may wait for a disk. */
export const syncNow = (fd: number): NotSynced | undefined => {
  try {
    fsyncSync(fd)
    return undefined
  } catch (cause) {
    return notSynced(cause, fstatSync(fd).isDirectory())
  }
}

/** Throws what is a failure of the disk. */
const notSynced = (cause: unknown, isFolder: boolean): NotSynced => {
  const code = codeOf(cause)
  if (code === undefined || !(unsupported.has(code) || (isFolder && code === "EPERM"))) throw cause
  return { what: isFolder ? "folders" : "files", code }
}

/** Tells once of files, and once of folders, that a file system does not sync them. */
export const makeTeller = () => {
  const told = new Set<NotSynced["what"]>()
  return (path: string) => (answer: NotSynced | undefined) =>
    Effect.suspend(() => {
      if (answer === undefined || told.has(answer.what)) return Effect.void
      told.add(answer.what)
      return Effect.logInfo(
        `the file system of ${normalize(path)} does not sync ${answer.what} (${answer.code}): how safe they are against a power cut is up to it`
      )
    })
}
