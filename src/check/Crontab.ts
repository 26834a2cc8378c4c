import { createHash } from "node:crypto"
import * as Schema from "effect/Schema"
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

export const CronLine = Schema.Struct({
  command: Schema.Literal("run", "pull", "push", "prune"),
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

/**
 * One line for the archive job, with a guard so that cron starts no second one, one for each replication job, and one
 * more where it prunes. None for what a crontab cannot hold: line breaks, invisible characters, a space in the user.
 */
export const cronLines = (place: CronPlace, work: CronWork): ReadonlyArray<CronLine> => {
  const { config, node, platform, user, zipper } = place
  const program = node === undefined ? [zipper] : [node, zipper]
  const guard = guardFile(work.lockfile, config)
  const first = minuteOf(config)
  if ([...program, config, guard].some(isUnfit) || !/^[^\s%#]+$/.test(user)) return []
  const lineOf = (words: ReadonlyArray<string>, rest: Pick<CronLine, "command" | "job" | "schedule">): CronLine => {
    const shell = shellWords(words)
    return { ...rest, user, shell, line: `${rest.schedule} ${user} ${forCron(shell)}` }
  }
  const last = ["--config", config, "--quiet"]
  const run = [...guardedBy(platform, guard), ...program, "run", ...last]
  const hourly = { command: "run", job: null, schedule: `${first} * * * *` } as const
  const replication = work.replication.flatMap(({ direction, name, prunes }, index) => {
    const minute = (first + 5 + 10 * index) % 60
    const hour = direction === "pull" ? 1 : 3
    const words = (command: string) => [...program, command, "--job", name, ...last]
    return [
      lineOf(words(direction), { command: direction, job: name, schedule: `${minute} ${hour} * * *` }),
      ...(prunes ? [lineOf(words("prune"), { command: "prune", job: name, schedule: `${minute} 5 * * 0` })] : [])
    ]
  })
  return [...(work.archive ? [lineOf(run, hourly)] : []), ...replication]
}

/** Beside `lockfile_path`, which the program takes. Of two configurations with one guard, cron would start one only. */
const guardFile = (lockfile: string, config: string): string => {
  const [stem, word] = [lockfile.replace(/\.lock$/, ""), wordOf(config)]
  return `${stem.endsWith(`.${word}`) ? stem : `${stem}.${word}`}.cron.lock`
}

/** Not that of another configuration, as far as 60 minutes go: with one lock file, one of them would not run. */
const minuteOf = (config: string): number => Number.parseInt(wordOf(config), 16) % 60

/** A word that is the same for the same path of a configuration only. */
export const wordOf = (config: string): string => createHash("sha256").update(config).digest("hex").slice(0, 8)

const guardedBy = (platform: string, file: string): ReadonlyArray<string> =>
  platform === "linux" ? ["flock", "-n", file] : platform === "freebsd" ? ["lockf", "-s", "-t", "0", file] : []

// A line break ends the line; the user who pastes it cannot check an invisible character.
const isUnfit = (word: string): boolean => /[\p{Cc}\p{Cf}\u2028\u2029]/u.test(word)

/** Before a `%` there is never a backslash that is meant: see {@link shellWord}. */
const forCron = (shell: string): string => shell.replaceAll("%", "\\%")
