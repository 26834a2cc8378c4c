import * as Schema from "effect/Schema"
import { Instant } from "./Instant.ts"
import { count } from "./Units.ts"

/**
 * `<state folder>/standing/JOB.locked`: runs of the job that found the lock held and did nothing, since its last run in which all
 * went well. A file of its own: the run that holds the lock may write the job's other state at the same moment.
 */
export const LockedOut = Schema.Struct({
  version: Schema.Literal(1),
  count: Schema.Number.pipe(Schema.int(), Schema.positive()),
  /** When the first and the last of them tried. */
  since_utc: Instant,
  last_utc: Instant,
  /** What the last one found in the lock: `pid 1234, since 2025-01-01T12:00:00Z`. */
  holder: Schema.String,
  lockfile: Schema.String
})
export type LockedOut = typeof LockedOut.Type

/** One more run that found the lock held. */
export const lockedOutAgain = (
  before: LockedOut | undefined,
  found: Pick<LockedOut, "holder" | "last_utc" | "lockfile">
): LockedOut => ({
  version: 1,
  count: (before?.count ?? 0) + 1,
  since_utc: before?.since_utc ?? found.last_utc,
  ...found
})

/** In words: `3 runs since its last success found the lock /run/zipper.lock held, the last by pid 7, since …`. */
export const describeLockedOut = ({ count: runs, holder, lockfile }: LockedOut): string =>
  `${count(runs, "run")} since its last success found the lock ${lockfile} held and did nothing${runs === 1 ? ": by" : ", the last time by"} ${holder}`
