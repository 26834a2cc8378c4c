import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import { decode } from "./holder.ts"

/**
 * Says when a run is at work. Goes by the file's content and not by the lock: to test the lock is to hold it
 * for an instant, in which a real run would find it taken.
 */
export const lookAt = Effect.fn("Lock.lookAt")(function* (path: string) {
  const text = yield* Effect.promise(() => readText(path))
  const holder = decode(text)
  if (holder !== undefined && isRunning(holder.pid)) {
    yield* Effect.logWarning(`another run is at work: pid ${holder.pid}, since ${holder.since}`)
  }
})

const readText = async (path: string): Promise<string> => {
  try {
    const file = await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      return (await file.stat()).isFile() ? await file.readFile("utf8") : ""
    } finally {
      await file.close()
    }
  } catch {
    // Not there or not readable: then there is nothing to say. A real run will report what is wrong with it.
    return ""
  }
}

const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return Errno.codeOf(cause) === "EPERM"
  }
}
