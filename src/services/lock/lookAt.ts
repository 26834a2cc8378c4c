import * as Effect from "effect/Effect"
import { isRunning } from "../process/alive.ts"
import { withRegular } from "../regularFile.ts"
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

// Not there or not readable: then there is nothing to say. A real run will report what is wrong with it.
const readText = (path: string): Promise<string> =>
  withRegular(path, (file) => file.readFile("utf8")).catch(() => "")
