import { createHash } from "node:crypto"
import { shellWords } from "../text/ShellWord.ts"

/**
 * Lines for cron, ready to be pasted: crontab(5) as cronie, Debian's cron and FreeBSD's have it. A `%` that no backslash
 * precedes ends the command there, and cron takes that backslash away before sh sees the command.
 */

/** The machine, as cron will find it. */
export interface CronPlace {
  /** What `process.platform` says. */
  readonly platform: string
  /** Who is to run it. */
  readonly user: string
  /** Absolute path of this program. */
  readonly zipper: string
  /** Absolute path of node, where cron's PATH (/usr/bin:/bin) would find none or another one. */
  readonly node: string | undefined
  /** Absolute path of the configuration. */
  readonly config: string
}

/** What there is to run. */
export interface CronWork {
  /** Whether there is an archive job. */
  readonly archive: boolean
  /** `lockfile_path`. */
  readonly lockfile: string
  readonly replication: ReadonlyArray<{
    readonly name: string
    readonly direction: "pull" | "push"
    /** It has a retention. */
    readonly prunes: boolean
  }>
}

/** One thing that cron is to do. */
export interface CronLine {
  readonly command: "run" | "pull" | "push" | "prune"
  /** The replication job; undefined for the archive job. */
  readonly job: string | undefined
  /** Minute, hour, day of month, month, day of week. */
  readonly schedule: string
  /** The command for sh, before cron's own escapes. */
  readonly shell: string
  /** All of it, with a user field. */
  readonly line: string
}

/** The file that lines with a user field go into. */
export const crontabOf = (platform: string): string =>
  platform === "linux" ? "/etc/cron.d/zipper" : "/etc/crontab"

/**
 * One line for the archive job, with a guard so that cron starts no second one, and for each replication job one, and one
 * more where it prunes. None when cron could not be told: a path holds a line break or what cannot be seen, or the user's
 * name a space.
 */
export const cronLines = (place: CronPlace, work: CronWork): ReadonlyArray<CronLine> => {
  const { config, node, platform, user, zipper } = place
  const program = node === undefined ? [zipper] : [node, zipper]
  const guard = guardFile(work.lockfile, config)
  const first = minuteOf(config)
  if ([...program, config, guard].some(untellable) || !/^[^\s%#]+$/.test(user)) return []
  const lineOf = (
    words: ReadonlyArray<string>,
    rest: Pick<CronLine, "command" | "job" | "schedule">
  ): CronLine => {
    const shell = shellWords(words)
    return { ...rest, shell, line: `${rest.schedule} ${user} ${forCron(shell)}` }
  }
  const last = ["--config", config, "--quiet"]
  const archive = work.archive
    ? [
        lineOf([...guardedBy(platform, guard), ...program, "run", ...last], {
          command: "run",
          job: undefined,
          schedule: `${first} * * * *`
        })
      ]
    : []
  const replication = work.replication.flatMap(({ direction, name, prunes }, index) => {
    const minute = (first + 5 + 10 * index) % 60
    const hour = direction === "pull" ? 1 : 3
    const words = (command: string) => [...program, command, "--job", name, ...last]
    return [
      lineOf(words(direction), { command: direction, job: name, schedule: `${minute} ${hour} * * *` }),
      ...(prunes
        ? [lineOf(words("prune"), { command: "prune", job: name, schedule: `${minute} 5 * * 0` })]
        : [])
    ]
  })
  return [...archive, ...replication]
}

/**
 * Beside `lockfile_path`, which the program takes itself: who may write that may write this. Each configuration has its own: of two
 * with one guard, cron would never start one, and that one could not say so.
 */
const guardFile = (lockfile: string, config: string): string => {
  const [stem, word] = [lockfile.replace(/\.lock$/, ""), wordOf(config)]
  return `${stem.endsWith(`.${word}`) ? stem : `${stem}.${word}`}.cron.lock`
}

/** Not that of another configuration, as far as 60 minutes go: with one lock file, one of them would not run. */
const minuteOf = (config: string): number => Number.parseInt(wordOf(config), 16) % 60

/** A word that is the same for the same path of a configuration only. */
export const wordOf = (config: string): string =>
  createHash("sha256").update(config).digest("hex").slice(0, 8)

const guardedBy = (platform: string, file: string): ReadonlyArray<string> =>
  platform === "linux"
    ? ["flock", "-n", file]
    : platform === "freebsd"
      ? ["lockf", "-s", "-t", "0", file]
      : []

// A line break ends the line; what cannot be seen cannot be checked by whoever pastes it.
const untellable = (word: string): boolean => /[\p{Cc}\p{Cf}\u2028\u2029]/u.test(word)

/** What crontab(5) makes of it is the command again. Before a `%` there is never a backslash that is meant: see {@link shellWord}. */
const forCron = (shell: string): string => shell.replaceAll("%", "\\%")
