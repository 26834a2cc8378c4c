import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { valueOr } from "../system/Errno.ts"

/** Work that hangs in the kernel, as on a suspended pool: no signal ends it, and this process cannot end before it does. */
interface StallService {
  /** Ends when a thread of this process, or of a program that it started, hangs. */
  readonly found: Effect.Effect<Hang>
  /** Exits with 1, as far as the kernel lets it, and keeps the lock: what hangs may still write. `why` is for the output. */
  readonly leave: (why: string) => Effect.Effect<never>
}

export interface Hang {
  /** Its program; ours is "zipper". */
  readonly program: string
  readonly seconds: number
}

/** Notices what hangs; without a layer, nothing. */
export class Stall extends Context.Reference<Stall>()("zipper/Stall", {
  defaultValue: (): StallService => ({ found: Effect.never, leave: () => Effect.never })
}) {
  /** What hangs for so many seconds, by /proc, which Linux has; elsewhere nothing is noticed. */
  static readonly layer = (seconds: number, proc = "/proc"): Layer.Layer<never> =>
    Layer.succeed(Stall, {
      found: Effect.gen(function* () {
        let waits: Waits = new Map()
        for (;;) {
          yield* Effect.sleep(Duration.seconds(seconds / looks))
          waits = lookAgain(waits, threadsOf(proc, process.pid))
          const wait = stalled(waits, looks)
          if (wait !== undefined) return { program: wait.name, seconds }
        }
      }),
      leave: () =>
        Effect.zipRight(
          Effect.sleep(logFlushTime),
          Effect.async<never>(() => process.exit(1))
        )
    })
}

/** How often a thread is looked at in the time after which it counts as hanging. */
const looks = 20

/** The time in which the last lines reach syslog. */
const logFlushTime: Duration.DurationInput = "2 seconds"

/** When work counts as hanging, in seconds: at least 300, as a busy pool takes a minute or two; at most 1800. */
export const stallSeconds = (taskTimeout: number): number => Math.max(300, Math.min(1800, taskTimeout))

export interface ThreadLook {
  readonly id: string
  readonly name: string
  /** It waits in the kernel for something that no signal ends: Linux calls that "disk sleep". */
  readonly waiting: boolean
  readonly switches: number
}

/** A thread that waited at each of the last looks and did nothing in between. */
interface Wait {
  readonly name: string
  readonly looks: number
  readonly switches: number
}

export type Waits = ReadonlyMap<string, Wait>

/** Reads `/proc/PID/task/TID/status`; undefined when it does not say. */
export const readThread = (id: string, status: string): ThreadLook | undefined => {
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S.*)$`, "m").exec(status)?.[1]
  const state = field("State")
  const switches = Number(field("voluntary_ctxt_switches"))
  if (state === undefined || !Number.isSafeInteger(switches)) return undefined
  return { id, name: field("Name") ?? "", waiting: state.startsWith("D"), switches }
}

// A slow disk lets a thread go on between two looks, which ends its wait. ZFS wakes a thread that waits for a pool every few
// minutes, only to wait on, which does not.
export const lookAgain = (before: Waits, threads: ReadonlyArray<ThreadLook>): Waits => {
  const after = new Map<string, Wait>()
  for (const { id, name, switches, waiting } of threads) {
    if (!waiting) continue
    const known = before.get(id)
    const still = known !== undefined && switches - known.switches < known.looks
    after.set(id, still ? { ...known, looks: known.looks + 1 } : { name, looks: 1, switches })
  }
  return after
}

export const stalled = (waits: Waits, looks: number): Wait | undefined =>
  [...waits.values()].find((wait) => wait.looks >= looks)

/** The threads of a process and of all that it started, from `proc`. Synchronous: node's threads for other calls may hang. */
const threadsOf = (proc: string, pid: number): ReadonlyArray<ThreadLook> => {
  const found: Array<ThreadLook> = []
  const seen = new Set<string>()
  const waiting = [String(pid)]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    const tasks = join(proc, next, "task")
    for (const task of namesIn(tasks)) {
      const look = readThread(`${next}/${task}`, textOf(join(tasks, task, "status")))
      if (look !== undefined) found.push(next === String(pid) ? { ...look, name: "zipper" } : look)
      waiting.push(
        ...textOf(join(tasks, task, "children"))
          .split(/\s+/)
          .filter((child) => child !== "")
      )
    }
  }
  return found
}

// A process may end at any time, and other systems have no /proc.
const namesIn = (folder: string): ReadonlyArray<string> => valueOr(() => readdirSync(folder), [])
const textOf = (file: string): string => valueOr(() => readFileSync(file, "latin1"), "")
