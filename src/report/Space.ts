import { bytes, count, number } from "../text/Text.ts"
import { dayMillis } from "../text/Time.ts"
import { runsUntil, type TimedRun } from "./Jobs.ts"

/**
 * How long the target lasts. What counts is by how much its archives grew, not what was written: a new archive takes the place of
 * the one before the last. Snapshots of the target, and what else is on its pool, are not known here.
 */
interface TargetSpace {
  readonly free: number
  /** Bytes by which the archives grew in the last `days`; undefined where the history is too short to say. */
  readonly growth: { readonly bytes: number; readonly days: number } | undefined
  /** Days until the target is full at this rate; undefined when it does not fill up. */
  readonly left: number | undefined
}

const mostDays = 28
const fewestDays = 14

/** `free`: bytes; `runs` of all jobs and of the whole history. */
export const spaceOf = (free: number, runs: ReadonlyArray<TimedRun>, now: number): TargetSpace => {
  const growth = growthOf(runs, now)
  const left = free === 0 ? 0 : growth && growth.bytes > 0 ? (free / growth.bytes) * growth.days : undefined
  return { free, growth, left }
}

const growthOf = (all: ReadonlyArray<TimedRun>, now: number): TargetSpace["growth"] => {
  const runs = runsUntil(now, all, "archive")
  const days = Math.min(mostDays, (now - (runs[0]?.ended ?? now)) / dayMillis)
  if (days < fewestDays) return undefined
  const from = now - days * dayMillis
  const sizes = new Map<string, { readonly base: number; readonly current: number; readonly previous: number }>()
  for (const { ended, items } of runs) {
    for (const { name, result, zip_bytes: current } of items) {
      if (result !== "archived" || current === undefined) continue
      const known = sizes.get(name)
      // Of the first archive that is known, the one before counts as just as large: a folder that is new grows from there on.
      const previous = known?.current ?? current
      const base = known === undefined || ended < from ? current + previous : known.base
      sizes.set(name, { base, current, previous })
    }
  }
  const grown = [...sizes.values()].reduce((sum, { base, current, previous }) => sum + current + previous - base, 0)
  return { bytes: grown, days }
}

/** A target that is full sooner than that (in days) needs a look. */
const soon = 60

/** `snapshots`: those of the target keep what is replaced. */
export const spaceProblem = (space: TargetSpace, snapshots: boolean): string | undefined =>
  space.left === undefined || space.left > soon ? undefined : describeSpace(space, snapshots)

/** "12.0 GiB are free, and its archives grew by 8.4 GiB in the last 28 days: full in 40 days at this rate". */
export const describeSpace = ({ free, growth, left }: TargetSpace, snapshots: boolean): string => {
  if (free === 0) return "no space is left, so nothing more can be written"
  const room = `${bytes(free)} are free`
  if (growth === undefined) return room
  const days = count(Math.floor(growth.days), "day")
  if (left === undefined) return `${room}, and its archives did not grow in the last ${days}`
  const sooner = snapshots ? ", or sooner: its snapshots (target_snapshots) keep what is replaced" : ""
  return `${room}, and its archives grew by ${bytes(growth.bytes)} in the last ${days}: full ${time(left)} at this rate${sooner}`
}

const time = (left: number): string => {
  if (left < 1) return "in less than a day"
  return left < 3653 ? `in ${count(Math.floor(left), "day")}` : `in ${number(Math.floor(left / 365.25))} years`
}
