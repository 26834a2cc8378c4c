import * as Effect from "effect/Effect"
import { duration } from "../../domain/Units.ts"
import { ZfsError } from "../zfs/contract.ts"

/** How far a stream is, as its sender tells once a second. */
interface Movement {
  /** Lines of progress so far. */
  readonly lines: number
  /** Bytes sent so far. */
  readonly sent: number
}

/** A receiver may well be busy for minutes, with files that the source destroyed, say: then there is a warning. */
const tenMinutes = 600_000
/** As many of these as make the time that an attempt at a folder may take. */
const patience = 24

/**
 * Warns when nothing moves any more, and fails when that has gone on for hours: also where the sender is done, and the receiver does
 * not come to its end. A sender that tells nothing at all is not judged.
 */
export const standstill = Effect.fnUntraced(function* (movement: () => Movement) {
  let before = movement()
  let looks = 0
  for (;;) {
    yield* Effect.sleep(tenMinutes)
    const now = movement()
    const moved = now.sent !== before.sent || now.lines === 0
    looks = moved ? 0 : looks + 1
    before = now
    if (looks === 1) yield* Effect.logWarning(`${stillFor(looks)}; ${where}`)
    if (looks < patience) continue
    return yield* new ZfsError({
      reason: "Other",
      message: `${stillFor(looks)}, so the stream was ended; ${where}; what was received is kept`,
      transient: false
    })
  }
})

const stillFor = (looks: number): string => `nothing has been sent for ${duration(looks * tenMinutes)}`

const where = "see on both hosts whether a pool is suspended or very busy (zpool status, zpool iostat)"
