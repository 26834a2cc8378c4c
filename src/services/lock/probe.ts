import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { dirname } from "node:path"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import type { Process } from "../Process.ts"
import { hasExlock, runFlock } from "./flock.ts"
import { unusable } from "./LockError.ts"

/** Whether the lock could be used, without taking it or making its file. */
export const makeProbe = (runner: typeof Process.Service) =>
  Effect.fn("Lock.probe")(function* (path: string) {
    yield* Effect.tryPromise({ try: () => look(path), catch: (cause) => unusable(path, cause) })
    if (!hasExlock) yield* runFlock(runner, path, { args: ["--version"] })
  })

const look = async (path: string): Promise<void> => {
  try {
    const stat = await fs.lstat(path)
    if (stat.isDirectory()) throw Object.assign(new Error("is a directory"), { code: "EISDIR" })
    if (stat.isSymbolicLink()) throw Object.assign(new Error("is a symbolic link"), { code: "ELOOP" })
    if (!stat.isFile()) throw new Error("it is not a regular file")
    await fs.access(path, constants.R_OK | constants.W_OK)
  } catch (cause) {
    if (Errno.codeOf(cause) !== "ENOENT") throw cause
    await fs.access(dirname(path), constants.W_OK | constants.X_OK)
  }
}
