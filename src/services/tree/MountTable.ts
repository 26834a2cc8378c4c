import * as fs from "node:fs/promises"
import { codeOf } from "../../domain/Errno.ts"
import * as RawPath from "../../domain/RawPath.ts"
import { isLasting, parseMountInfo } from "../../domain/ZfsList.ts"
import { failed } from "./Reading.ts"

/**
 * Where file systems are mounted at or below a folder, relative to it, by the kernel's own list: a bind mount has the device of its
 * surroundings. Only Linux has that list and such mounts; elsewhere, and where there is no /proc, devices have to tell.
 */
export const mountsBelow = async (folder: RawPath.RawPath): Promise<ReadonlyArray<RawPath.RawPath>> => {
  if (process.platform !== "linux") return []
  const list = "/proc/self/mountinfo"
  const text = await fs.readFile(list, "latin1").catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return ""
    throw failed({ frozen: false }, "read", RawPath.here, RawPath.fromText(list), cause)
  })
  return parseMountInfo(text)
    .filter(isLasting)
    .flatMap(({ mountpoint }) => RawPath.relativeTo(folder, mountpoint) ?? [])
}
