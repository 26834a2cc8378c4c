import * as Schema from "effect/Schema"
import { shortDigest } from "../config/ReplicationJob.ts"
import { orNull, text } from "../text/Document.ts"
import { shellWords } from "../text/Text.ts"

/**
 * Lines for cron, ready to be pasted: crontab(5) as cronie, Debian's cron and FreeBSD's have it. There a `%` that no
 * backslash precedes ends the command, and cron takes that backslash away before sh sees the command.
 */

export interface CronPlace {
  readonly platform: string
  readonly user: string
  /** Absolute path of this program. */
  readonly zipper: string
  /** Absolute path of node, where cron's PATH (/usr/bin:/bin) would find none or another one. */
  readonly node: string | undefined
  /** Absolute path of the configuration. */
  readonly config: string
}

export interface CronWork {
  readonly archive: boolean
  readonly lockfile: string
  readonly replication: ReadonlyArray<{
    readonly name: string
    readonly direction: "pull" | "push"
    readonly prunes: boolean
  }>
}

export const ScheduledCommand = Schema.Literal("run", "verify", "pull", "push", "prune")

export const CronLine = Schema.Struct({
  command: ScheduledCommand,
  job: orNull(text("the replication job")),
  schedule: text("minute, hour, day of month, month, day of week"),
  user: text("who runs it: the one who ran the check"),
  // For sh, before cron's own escapes.
  shell: text("the command for a shell, as a form such as TrueNAS's takes it when it escapes % by itself"),
  line: text("the whole line for a crontab with a user field, to be pasted as it is")
})
export type CronLine = typeof CronLine.Type

/** The file that lines with a user field go into. */
export const crontabOf = (platform: string): string => (platform === "linux" ? "/etc/cron.d/zipper" : "/etc/crontab")

/** A command that starts again and again. */
export interface Scheduled {
  readonly command: typeof ScheduledCommand.Type
  readonly job: string | null
  readonly every: "hour" | "day" | "week"
  /** Ignored by what starts every hour. */
  readonly hour: number
  readonly minute: number
  /** The whole command line, by absolute paths. */
  readonly words: ReadonlyArray<string>
}

/** When each job starts: the same for the same path of a configuration, at minutes that spread over the hour. */
export const scheduleOf = (place: CronPlace, work: CronWork): ReadonlyArray<Scheduled> => {
  const { config, node, zipper } = place
  const first = minuteOf(config)
  const scheduled = (
    command: Scheduled["command"],
    job: string | null,
    every: Scheduled["every"],
    hour: number,
    minute: number
  ): Scheduled => {
    const own = job !== null ? ["--job", job] : command === "verify" ? ["--max-age", "30d"] : []
    const words = [...(node === undefined ? [] : [node]), zipper, command, ...own, "--config", config, "--quiet"]
    return { command, job, every, hour, minute: minute % 60, words }
  }
  const archive = [scheduled("run", null, "hour", 0, first), scheduled("verify", null, "week", 6, first + 30)]
  const replication = work.replication.flatMap(({ direction, name, prunes }, index) => {
    const minute = first + 5 + 10 * index
    return [
      scheduled(direction, name, "day", direction === "pull" ? 1 : 3, minute),
      ...(prunes ? [scheduled("prune", name, "week", 5, minute)] : []),
      scheduled("verify", name, "week", 7, minute)
    ]
  })
  return [...(work.archive ? archive : []), ...replication]
}

/**
 * A line for each job and when it starts; the archive job has a guard, so that cron starts no second one. None for what a
 * crontab cannot hold: line breaks, invisible characters, a space in the user.
 */
export const cronLines = (place: CronPlace, work: CronWork): ReadonlyArray<CronLine> => {
  const { config, platform, user } = place
  const guard = guardFile(work.lockfile, config)
  const scheduled = scheduleOf(place, work)
  if ([guard, ...scheduled.flatMap(({ words }) => words)].some(isUnfit) || !isFitUser(user)) return []
  return scheduled.map(({ command, every, hour, job, minute, words }) => {
    const shell = shellWords([...(command === "run" ? guardedBy(platform, guard) : []), ...words])
    const days = { hour: "* * *", day: "* * *", week: "* * 0" }[every]
    const schedule = `${minute} ${every === "hour" ? "*" : hour} ${days}`
    return { command, job, schedule, user, shell, line: `${schedule} ${user} ${forCron(shell)}` }
  })
}

/** Beside `lockfile_path`, which the program takes. Of two configurations with one guard, cron would start one only. */
const guardFile = (lockfile: string, config: string): string => {
  const [stem, word] = [lockfile.replace(/\.lock$/, ""), shortDigest(config)]
  return `${stem.endsWith(`.${word}`) ? stem : `${stem}.${word}`}.cron.lock`
}

/** Not that of another configuration, as far as 60 minutes go: with one lock file, one of them would not run. */
const minuteOf = (config: string): number => Number.parseInt(shortDigest(config), 16) % 60

const guardedBy = (platform: string, file: string): ReadonlyArray<string> =>
  platform === "linux" ? ["flock", "-n", file] : platform === "freebsd" ? ["lockf", "-s", "-t", "0", file] : []

/** A line break ends the line; the user who pastes it cannot check an invisible character. */
export const isUnfit = (word: string): boolean => /[\p{Cc}\p{Cf}\u2028\u2029]/u.test(word)

export const isFitUser = (user: string): boolean => /^[^\s%#]+$/.test(user)

/** Before a `%` there is never a backslash that is meant: see {@link shellWord}. */
const forCron = (shell: string): string => shell.replaceAll("%", "\\%")
