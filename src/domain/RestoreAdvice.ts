import type { ArchiveSet, SetFinding, Which } from "./ArchiveSet.ts"
import type { FolderName } from "./FolderName.ts"
import { optionWords, shellWords } from "./ShellWord.ts"
import { describeFinding } from "./VerifyResult.ts"

/** What to put back, and where. */
export interface RestoreOptions {
  readonly folder: FolderName
  readonly which: Which
  /** DIR. */
  readonly to: string
  /** Patterns of what is wanted; everything when there are none. */
  readonly only: ReadonlyArray<string>
  readonly overwrite: boolean
  /** It is a dry run; only for the commands that messages give. */
  readonly dryRun: boolean
  /** The configuration file, for the same. */
  readonly config: string
}

/** The archive that is not this one. */
export const otherOf = (which: Which): Which => (which === "current" ? "previous" : "current")

/** The command line that asks for the same of that archive, to be pasted. */
export const restoreCommand = (options: RestoreOptions, which: Which): string =>
  shellWords([
    "zipper",
    "restore",
    options.folder,
    ...(which === "previous" ? ["--prev"] : []),
    ...optionWords("--to", options.to),
    ...options.only.flatMap((pattern) => optionWords("--only", pattern)),
    ...(options.overwrite ? ["--overwrite"] : []),
    ...(options.dryRun ? ["--dry-run"] : []),
    ...optionWords("--config", options.config)
  ])

/** Takes what can be read of a zip that is damaged, and checks nothing but CRCs. */
const unzipCommand = (zip: string, to: string): string =>
  shellWords(["unzip", zip, "-d", to.startsWith("-") ? `./${to}` : to])

/**
 * Why an archive is not restored, and what to do instead: a line each. `other` says whether the folder's other archive is there:
 * what is not is not offered.
 */
export const damageText = (
  options: RestoreOptions,
  set: ArchiveSet,
  findings: ReadonlyArray<SetFinding>,
  other: boolean
): ReadonlyArray<string> => [
  ...findings.map(describeFinding),
  `nothing was written: ${reasonOf(options, set)}; ${wayOut(options, set, other)}`
]

const reasonOf = ({ config }: RestoreOptions, { file, folder, interrupted, obstacles, zip }: ArchiveSet) => {
  if (interrupted) {
    const run = shellWords(["zipper", "run", ...optionWords("--config", config)])
    return `a publication of ${folder} was interrupted, and the next run finishes or undoes it (${run})`
  }
  if (file !== undefined) return `${zip} cannot be relied on`
  return obstacles.some((obstacle) => zip.endsWith(`/${obstacle.file}`))
    ? `${zip} cannot be read`
    : `${zip} is missing`
}

const wayOut = (options: RestoreOptions, set: ArchiveSet, other: boolean): string => {
  const { which } = options
  if (other) {
    const name = which === "current" ? "the archive before" : "the newest archive"
    return `${name} may be good: ${restoreCommand(options, otherOf(which))}`
  }
  const none = which === "current" ? "there is no archive before it" : "there is no newer one"
  return set.file === undefined
    ? none
    : `${none}; unzip takes what can still be read of it: ${unzipCommand(set.zip, options.to)}`
}

/** There is no such archive; `other` as for {@link damageText}. */
export const noArchiveText = (options: RestoreOptions, other: boolean): string => {
  const { folder, which } = options
  const none = `${folder} has no ${which === "current" ? "current" : "previous"} archive`
  if (!other) return none
  const name = which === "current" ? "there is one before it" : "the newest one"
  return `${none}; ${name}: ${restoreCommand(options, otherOf(which))}`
}

/** Nothing is left of the folder's archives; `finding` says so. */
export const lostText = ({ config, folder }: RestoreOptions, finding: string): string => {
  const run = shellWords(["zipper", "run", ...optionWords("--config", config), "--force", "--folder", folder])
  return `${finding}; a new one, if the folder is still in the source: ${run}`
}
