import * as fs from "node:fs"
import { opendir } from "node:fs/promises"
import { codeOf, explain } from "../domain/Errno.ts"
import * as RawPath from "../domain/RawPath.ts"
import { quoted } from "../domain/Text.ts"
import { isRunning } from "../services/process/alive.ts"
import type { Folder } from "./ExtractEntries.ts"
import { ExtractError } from "./ExtractError.ts"
import { makeOpener } from "./ExtractFolder.ts"
import { lookAt } from "./ExtractTarget.ts"

/**
 * Begins the names of files that take the place of others once they are complete; goes on with `id`, twelve hex digits, and the
 * process that writes them.
 */
export const temporaryName = (id: string): string => `.zipper-restore-${id}-${process.pid}-`

const pattern = /^\.zipper-restore-[0-9a-f]{12}-([0-9]{1,10})-[0-9]+$/

/** Left by a process that is there no more: another restore may be at work in the same place. */
const isLeft = (name: string): boolean => {
  const pid = pattern.exec(name)?.[1]
  return pid !== undefined && !isRunning(Number(pid))
}

/** A file that a restore was writing when it was killed. */
export interface Leftover {
  readonly folder: Folder
  /** In that folder. */
  readonly name: RawPath.RawPath
  /** Bytes that become free when it is removed. */
  readonly freed: number
}

/** Names that are read of a folder at a time. */
const bufferSize = 1024

/** Those directly in a folder that stands at `path`. */
export const findLeftovers = async (
  path: RawPath.RawPath,
  folder: Folder
): Promise<ReadonlyArray<Leftover>> => {
  const found: Array<Leftover> = []
  try {
    for await (const entry of await opendir(RawPath.toBuffer(path), { bufferSize })) {
      if (!isLeft(entry.name) || !entry.isFile()) continue
      const name = RawPath.fromText(entry.name)
      const standing = await lookAt(RawPath.join(path, name))
      if (standing?.is === "file") found.push({ folder, name, freed: standing.freed })
    }
    return found
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return found
    if (cause instanceof ExtractError) throw cause
    throw new ExtractError({
      reason: "Target",
      message: `cannot look at ${quoted(RawPath.display(path))}: ${explain(cause)}; nothing was written`,
      cause
    })
  }
}

/** Where it is, relative to DIR. */
export const pathOf = ({ folder, name }: Leftover): RawPath.RawPath => RawPath.join(folder.path, name)

/** Removes them from DIR, which is `root`; gives a message for each that is left. */
export const removeLeftovers = (
  root: RawPath.RawPath,
  leftovers: ReadonlyArray<Leftover>
): ReadonlyArray<string> => {
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
        return [
          `${RawPath.display(pathOf(leftover))}, left by a restore that was killed, cannot be removed: ${explain(cause)}`
        ]
      }
    })
  } finally {
    opener.close()
  }
}
