import * as Schema from "effect/Schema"
import { Instant } from "./Instant.ts"
import { type JobStanding, LastRun } from "./Standing.ts"

/**
 * What is kept beside the lock file when a job's standing could not be replaced (its target is away, or full): how the last run
 * ended. It is newer than the standing as long as it is there.
 */
export const StandingAside = Schema.Struct({
  version: Schema.Literal(1),
  last_run: LastRun,
  not_started_since_utc: Schema.optionalWith(Instant, { exact: true })
})
export type StandingAside = typeof StandingAside.Type

/** What is to be kept of a standing. */
export const asideOf = ({ last_run, not_started_since_utc }: JobStanding): StandingAside => ({
  version: 1,
  last_run,
  ...(not_started_since_utc === undefined ? {} : { not_started_since_utc })
})

/** A standing with what was kept aside of a later one. */
export const withAside = (standing: JobStanding, aside: StandingAside | undefined): JobStanding => {
  if (aside === undefined) return standing
  const { last_run, not_started_since_utc } = aside
  const { not_started_since_utc: _, ...rest } = standing
  return {
    ...rest,
    last_run,
    ...(not_started_since_utc === undefined ? {} : { not_started_since_utc })
  }
}
