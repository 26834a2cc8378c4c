import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A thread at one moment, as the kernel describes it. */
export interface ThreadLook {
  /** Process and thread. */
  readonly id: string
  /** Its program. */
  readonly name: string
  /** It waits in the kernel for something that no signal ends: Linux calls that "disk sleep". */
  readonly waiting: boolean
  /** How often it has been put to sleep so far. */
  readonly switches: number
}

/** A thread that has been found waiting, look after look, without doing anything in between. */
interface Wait {
  readonly name: string
  readonly looks: number
  /** At the first of them. */
  readonly switches: number
}

/** The waits of threads, by their ids. */
export type Waits = ReadonlyMap<string, Wait>

/** Reads `/proc/PID/task/TID/status`; undefined when it does not say. */
export const readThread = (id: string, status: string): ThreadLook | undefined => {
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S.*)$`, "m").exec(status)?.[1]
  const state = field("State")
  const switches = Number(field("voluntary_ctxt_switches"))
  if (state === undefined || !Number.isSafeInteger(switches)) return undefined
  return { id, name: field("Name") ?? "", waiting: state.startsWith("D"), switches }
}

/**
 * What is known after one more look. Disks that are slow let a thread go on between two looks; ZFS wakes one that waits for a
 * pool every few minutes, only to wait on, and that is none.
 */
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

/** The first of those that waited for that many looks. */
export const stalled = (waits: Waits, looks: number): Wait | undefined =>
  [...waits.values()].find((wait) => wait.looks >= looks)

/**
 * The threads of a process and of all that it started, from Linux's /proc (`proc`); none where there is no such thing.
 * Synchronous: node has four threads for what is not, and those may be the ones that hang.
 */
export const threadsOf = (proc: string, pid: number): ReadonlyArray<ThreadLook> => {
  const found: Array<ThreadLook> = []
  const seen = new Set<string>()
  const waiting = [String(pid)]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    const tasks = join(proc, next, "task")
    for (const task of namesIn(tasks)) {
      const look = readThread(`${next}/${task}`, textOf(join(tasks, task, "status")))
      // Node gives its threads names of its own.
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

const namesIn = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder)
  } catch {
    // It has ended meanwhile, or this system has no /proc.
    return []
  }
}

const textOf = (file: string): string => {
  try {
    return readFileSync(file, "latin1")
  } catch {
    // It has ended meanwhile; a kernel may also lack the file of children.
    return ""
  }
}

/** How often a thread is looked at in the time after which it counts as hanging. */
const looks = 20

/** Longer than a disk that works takes to answer, also one that is slow, with gigabytes to write first. */
const limit = 1800

/** A pool that is busy, or whose disks are slow to be written anew, lets a program wait for a minute or two. */
const least = 300

/** What counts as hanging where so long a time is given to a folder (`task_timeout_seconds`): 300 to 1800 seconds. */
export const stallSeconds = (taskTimeout: number): number => Math.max(least, Math.min(limit, taskTimeout))

/** The time in which the last lines reach syslog. */
const logFlushTime: Duration.DurationInput = "2 seconds"

/**
 * Work that hangs in the kernel, as on a pool that is suspended, or on a disk or a share that does not answer: no signal ends it,
 * everything that waits for it waits too, and this process cannot end before it does.
 */
interface StallService {
  /** Comes to its end when a thread of ours, or of a program that we started, hangs. */
  readonly found: Effect.Effect<Found>
  /**
   * Ends the process with status 1, as far as the kernel lets it, and without letting go of anything: what hangs may still write
   * when it goes on, and our lock is there to keep the next run out until then. `why` is for those who wait for its output.
   */
  readonly leave: (why: string) => Effect.Effect<never>
}

export interface Found {
  /** Its program; ours is "zipper". */
  readonly program: string
  /** For how long, at least. */
  readonly seconds: number
}

/** Notices what hangs; unless a layer says otherwise, nothing ever does. */
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
