import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { lookAgain, stalled, type Waits } from "../domain/Stall.ts"
import { threadsOf } from "./stall/threads.ts"

/** How often a thread is looked at in the time after which it counts as hanging. */
const looks = 20

/** Longer than a disk that works takes to answer, also one that is slow, with gigabytes to write first. */
const limit = 1800

/** A pool that is busy, or whose disks are slow to be written anew, lets a program wait for a minute or two. */
const least = 300

/** What counts as hanging where so long a time is given to a folder (`task_timeout_seconds`): 300 to 1800 seconds. */
export const stallSeconds = (taskTimeout: number): number => Math.max(least, Math.min(limit, taskTimeout))

/** How long the last lines may take to get to syslog. */
const farewell: Duration.DurationInput = "2 seconds"

/**
 * Work that hangs in the kernel, as on a pool that is suspended, or on a disk or a share that does not answer: no signal ends it,
 * it holds up whoever waits for it, and this process cannot end before it does.
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
          Effect.sleep(farewell),
          Effect.async<never>(() => process.exit(1))
        )
    })
}
