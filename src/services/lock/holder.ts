import { join } from "node:path"
import { isInstant } from "../../domain/Instant.ts"

/** The lock file in a folder of job-wide state. */
export const lockIn = (folder: string): string => join(folder, "lock")

/** Who has the lock, as the lock file says it. */
export interface Holder {
  readonly pid: number
  /** `2025-01-01T12:00:00Z`. */
  readonly since: string
}

/** The lock file's content. */
export const encode = (holder: Holder): string => `pid ${holder.pid}, since ${holder.since}\n`

/** Undefined when the file says nothing (yet): its holder has just started. */
export const decode = (text: string): Holder | undefined => {
  const match = /^pid (\d{1,10}), since (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n$/.exec(text)
  return match?.[1] === undefined || match[2] === undefined || !isInstant(match[2])
    ? undefined
    : { pid: Number(match[1]), since: match[2] }
}

/** In words for a message. */
export const describe = (text: string): string => {
  const holder = decode(text)
  return holder === undefined
    ? "pid unknown (a guard such as flock in the crontab needs a file of its own)"
    : `pid ${holder.pid}, since ${holder.since}`
}
