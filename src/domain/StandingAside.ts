import type { JobStanding } from "./Standing.ts"

/**
 * A standing with what was kept beside the lock file of a later run, whose standing could not be written (its target was away, or
 * full). What that run knew of single folders and datasets counts only where there is nothing else: it could not read what
 * failed before it, so that nobody has been told yet of what works again.
 */
export const withAside = (
  standing: JobStanding | undefined,
  aside: JobStanding | undefined
): JobStanding | undefined => {
  if (standing === undefined || aside === undefined) return standing ?? aside
  const { last_run, not_started_since_utc } = aside
  const { not_started_since_utc: _, ...rest } = standing
  return {
    ...rest,
    last_run,
    ...(not_started_since_utc === undefined ? {} : { not_started_since_utc })
  }
}
