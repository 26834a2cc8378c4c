import { accessSync, constants, realpathSync, statSync } from "node:fs"
import { resolve } from "node:path"
import type { CronPlace } from "../domain/Crontab.ts"
import { userName } from "../services/zfs/command.ts"

/** This program, this configuration and this user, as a line for cron names them. */
export const cronPlace = (config: string): CronPlace => {
  const zipper = process.argv[1] ?? "zipper"
  return {
    platform: process.platform,
    user: userName(),
    zipper,
    node: startsByItself(zipper) ? undefined : process.execPath,
    config: resolve(config)
  }
}

/**
 * Whether a later process finds the same configuration under this path. A pipe (`<(…)`), standard input and other names of a file
 * that this process has open (/dev/fd, /proc/self) are gone with it.
 */
export const isLasting = (config: string): boolean => {
  const path = resolve(config)
  try {
    return !isPassing(path) && !isPassing(realpathSync(path)) && statSync(path).isFile()
  } catch {
    // Cron could not read it either.
    return false
  }
}

const isPassing = (path: string): boolean => /^\/(?:dev\/(?:fd|std)|proc\/)/.test(path)

/** Whether cron could start it by name: it is executable, and the `node` of its first line is the one that runs now. */
const startsByItself = (zipper: string): boolean => {
  const node = ["/usr/bin/node", "/bin/node"].find(isProgram)
  return isProgram(zipper) && node !== undefined && realpathSync(node) === realpathSync(process.execPath)
}

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // Whatever is in the way, cron could not start it either.
    return false
  }
}
