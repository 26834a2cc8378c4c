import { uptime } from "node:os"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import { isRunning } from "../process/alive.ts"
import { withRegular } from "../regularFile.ts"
import { decode, type Holder } from "./holder.ts"

/** A clock that was set a little after the machine was started (milliseconds). */
const settling = 60_000

/** Whether a holder is alive. One from before the machine was started is not: somebody else has its pid now. */
const isAtWork = ({ pid, since }: Holder): boolean =>
  Date.parse(since) >= Date.now() - uptime() * 1000 - settling && isRunning(pid)

/**
 * Says when a run is at work. Goes by the file's content and not by the lock: to test the lock is to hold it
 * for an instant, in which a real run would find it taken.
 */
export const lookAt = Effect.fn("Lock.lookAt")(function* (path: string) {
  const text = yield* Effect.promise(() => readText(path))
  const holder = decode(text)
  if (holder !== undefined && isAtWork(holder)) {
    yield* Effect.logWarning(`another run is at work: pid ${holder.pid}, since ${holder.since}`)
  }
})

/** Lock.holder. */
export const holderOf = Effect.fn("Lock.holder")(function* (path: string, last?: Holder) {
  const holder = yield* Effect.promise(() =>
    withRegular(path, (file) => file.readFile("utf8")).then(decode, (cause: unknown) =>
      Errno.codeOf(cause) === "EACCES" ? last : undefined
    )
  )
  return holder !== undefined && isAtWork(holder) ? holder : undefined
})

// Not there or not readable: then there is nothing to say. A real run will report what is wrong with it.
const readText = (path: string): Promise<string> =>
  withRegular(path, (file) => file.readFile("utf8")).catch(() => "")
