import { sumAll } from "effect/Number"
import { bytes, count, duration, number, quoted } from "../text/Text.ts"

export interface Conflict {
  readonly path: string
  /** What is there: only a regular file can be replaced. `archives`: the folder that the archives are in. */
  readonly is: "file" | "directory" | "symlink" | "other" | "archives"
  readonly wanted: "file" | "directory"
}

interface Some<A> {
  readonly count: number
  readonly first: ReadonlyArray<A>
}

export type NamePair = readonly [first: string, second: string]

/** What a restore would do, found out without writing anything. Sizes are in bytes, uncompressed. */
export interface RestorePlan {
  /** DIR, with every symlink on the way to it followed. */
  readonly directory: string
  /** Of the file system there: plans on one device share what is free. */
  readonly device: string
  readonly files: number
  readonly bytes: number
  readonly folders: number
  readonly replaced: number
  readonly conflicts: Some<Conflict>
  /** Names in the archive that are one name in DIR: what is written later would replace the other. Nothing is written. */
  readonly meeting: Some<NamePair>
  readonly untried: Some<NamePair>
  readonly unmatched: ReadonlyArray<string>
  readonly privileged: Some<string>
  /** What may be written there; undefined when the file system does not say. */
  readonly free: number | undefined
  /** What is needed in any case, beyond what becomes free on the way. */
  readonly needed: number
  /** What is needed if no file has blocks of zeros, which take no room. */
  readonly neededAtMost: number
  readonly leftovers: Some<string>
}

export interface PlannedFile {
  readonly path: string
  readonly size: number
  /** It takes the place of another file. */
  readonly replaces: boolean
}

export interface RestoreFailure {
  readonly path: string
  readonly error: string
  /** `kept`: the file that it was to replace is unchanged. `attributes`: it is there, but for its mode or time. */
  readonly kind: "missing" | "kept" | "attributes"
  /** What DIR did not let be done; undefined: the archive does not give the content. */
  readonly cannot?: "write" | "replace" | "make the folder" | "set mode and time of" | undefined
}

export interface RestoreOutcome {
  readonly files: number
  readonly bytes: number
  readonly replaced: number
  readonly folders: number
  readonly failures: Some<RestoreFailure>
  readonly missing: number
  readonly kept: number
  /** Those of them that the archive does not give. */
  readonly damaged: number
  /** Messages about files of earlier restores that should have been removed. */
  readonly unremoved: ReadonlyArray<string>
  readonly gaveUp: string | undefined
  /** Why what was written may not be on the disk. */
  readonly unsynced: string | undefined
}

export const nothingRestored: RestoreOutcome = {
  files: 0,
  bytes: 0,
  replaced: 0,
  folders: 0,
  failures: { count: 0, first: [] },
  missing: 0,
  kept: 0,
  damaged: 0,
  unremoved: [],
  gaveUp: undefined,
  unsynced: undefined
}

const namesShown = 10

/** Counts things, and keeps the first of them. */
export const gather = <A>() => {
  const first: Array<A> = []
  let many = 0
  return {
    add: (thing: () => A): void => {
      many += 1
      if (first.length < namesShown) first.push(thing())
    },
    some: (): Some<A> => ({ count: many, first })
  }
}

export const someOf = <A, B>(items: Iterable<A>, show: (item: A) => B): Some<B> => {
  const { add, some } = gather<B>()
  for (const item of items) add(() => show(item))
  return some()
}

const kinds = {
  file: "a file",
  directory: "a folder",
  symlink: "a symlink",
  other: "a device, socket or fifo"
} as const

const describeConflict = ({ is, path, wanted }: Conflict): string => {
  if (is === "archives") return `${path}: this is the folder that the archives are in, which nothing is restored to`
  const belongs = is === "file" && wanted === "file" ? "" : `, where ${kinds[wanted]} belongs`
  return `${path}: there is ${kinds[is]} already${belongs}`
}

const isReplaceable = ({ is, wanted }: Conflict): boolean => is === "file" && wanted === "file"

/** The first few, and behind them `and 12 more files`, unless they are all. */
const listed = <A>({ count: all, first }: Some<A>, show: (item: A) => string, noun: string, plural = `${noun}s`) => {
  const more = all - first.length
  return more > 0 ? [...first.map(show), `and ${count(more, `more ${noun}`, `more ${plural}`)}`] : first.map(show)
}

const asItIs = (name: string): string => name

/** What prevents a restore: a line each, the last of them says what to do. Empty when nothing does. */
export const obstacleLines = (
  plan: RestorePlan,
  { overwrite, zip }: { readonly overwrite: boolean; readonly zip: string }
): ReadonlyArray<string> => {
  const { conflicts, directory, meeting, unmatched } = plan
  if (unmatched.length > 0) return unmatchedLines(unmatched, zip)
  if (conflicts.count > 0) {
    const wayOut =
      overwrite && conflicts.first.every(({ is }) => is !== "archives")
        ? "--overwrite replaces regular files only"
        : conflicts.first.every(isReplaceable)
          ? "restore to an empty folder, or give --overwrite to replace files"
          : "restore to an empty folder"
    return [
      ...listed(conflicts, describeConflict, "name"),
      `nothing was written: ${count(conflicts.count, "name")} of the archive ${conflicts.count === 1 ? "is" : "are"} taken in ${directory}; ${wayOut}`
    ]
  }
  if (meeting.count > 0) {
    return [
      ...listed(meeting, (pair) => `${pairText(pair)}: one name in ${directory}`, "pair of names", "pairs of names"),
      `nothing was written: ${directory} does not tell apart ${count(meeting.count, "pair of names", "pairs of names")} of the archive (upper and lower case, forms of one letter, or one folder at two places), and one of each pair would be lost; restore to a file system that does, or with --only one of each pair`
    ]
  }
  return roomLines([plan])
}

/** That patterns match nothing in what was looked at, and what to do. */
export const unmatchedLines = (patterns: ReadonlyArray<string>, where: string): ReadonlyArray<string> => [
  ...patterns.map((pattern) => `--only ${quoted(pattern)}: nothing in ${where} has that name`),
  "nothing was written; zipper ls shows the names"
]

/** That the plans, all on one device, need more room together than is free there; empty when they do not. */
export const roomLines = (plans: readonly [RestorePlan, ...ReadonlyArray<RestorePlan>]): ReadonlyArray<string> => {
  const [{ directory, free }, ...others] = plans
  const needed = sumAll(plans.map((plan) => plan.needed))
  if (free === undefined || needed <= free) return []
  const where = others.length === 0 ? directory : `${directory} and ${count(others.length, "other folder")}`
  return [`nothing was written: ${bytes(needed)} are needed in ${where}, and ${bytes(free)} are free there`]
}

const pairText = ([first, second]: NamePair): string => `${first} and ${second}`

/** That the room is enough only if files have blocks of zeros; undefined when it is enough in any case. */
export const spaceText = ({ directory, free, neededAtMost }: RestorePlan): string | undefined =>
  free === undefined || neededAtMost <= free
    ? undefined
    : `up to ${bytes(neededAtMost)} are needed in ${directory}, and ${bytes(free)} are free there: it is enough only if the files are sparse (blocks of zeros take no room)`

/** Names that may be one in DIR, which a dry run does not try; undefined when there are none. */
export const untriedText = ({ directory, untried }: RestorePlan): string | undefined =>
  untried.count === 0
    ? undefined
    : `whether ${directory} tells these names apart is tried by a real restore, which is refused if it does not: ${listed(untried, pairText, "pair").join(", ")}`

/** `setuid and setgid bits are not restored: bin/su, and 3 more names`; undefined when there is nothing to say. */
export const privilegedText = ({ privileged }: RestorePlan): string | undefined =>
  privileged.count === 0
    ? undefined
    : `setuid and setgid bits are not restored: ${listed(privileged, asItIs, "name").join(", ")}`

/** Files that restores left when they were killed; undefined when there are none. */
export const leftoverText = ({ directory, leftovers }: RestorePlan, removed: boolean): string | undefined => {
  if (leftovers.count === 0) return undefined
  const isRemoved = leftovers.count === 1 ? "is removed" : "are removed"
  const outcome = removed ? isRemoved : "can be removed, which --overwrite does"
  const names = listed(leftovers, asItIs, "file").join(", ")
  return `${count(leftovers.count, "temporary file")} in ${directory}, left by a restore that was killed, ${outcome}: ${names}`
}

/** A file of a dry run. */
export const plannedText = ({ path, replaces, size }: PlannedFile): string =>
  `would ${replaces ? "replace" : "write"} ${path} (${bytes(size)})`

/** `restored 1,204 files, 3.4 GiB to DIR, 12 s`; of a dry run what would be. */
export const summaryText = (
  { directory }: RestorePlan,
  { bytes: size, files, folders, replaced }: RestoreOutcome,
  options: { readonly seconds: number; readonly dryRun: boolean }
): string => {
  const figures = `${count(files, "file")}, ${bytes(size)} to ${directory}`
  return options.dryRun
    ? `would restore ${figures} (${count(folders, "folder")} made, ${count(replaced, "file")} replaced)`
    : `restored ${figures}, ${duration(options.seconds * 1000)}`
}

const describeFailure = ({ cannot, error, kind, path }: RestoreFailure): string =>
  `${cannot === undefined ? "" : `cannot ${cannot} `}${path}: ${error}${kind === "kept" ? "; the file that was there is unchanged" : ""}`

const failuresOf = ({ failures }: RestoreOutcome): ReadonlyArray<string> => listed(failures, describeFailure, "failure")

const progressOf = (plan: RestorePlan, { files, replaced }: RestoreOutcome): string => {
  const left = plan.replaced - replaced
  const [was, is] = left === 1 ? ["was", "is"] : ["were", "are"]
  const rest = left > 0 ? `; ${count(left, "file")} that ${was} to be replaced ${is} as before` : ""
  return `${number(files)} of ${count(plan.files, "file")} ${files === 1 || plan.files === 1 ? "is" : "are"} restored${rest}`
}

/** What is not in DIR as it is in the archive: a line each, the last of them says how much. Empty when all is well. */
export const failureLines = (plan: RestorePlan, restored: RestoreOutcome): ReadonlyArray<string> => {
  const { failures, gaveUp, kept, missing, unsynced } = restored
  const notSynced = unsynced === undefined ? [] : [unsyncedText(plan, unsynced)]
  if (failures.count === 0) return notSynced
  const left = gaveUp === undefined ? "" : `; stopped: ${gaveUp}`
  return [
    ...failuresOf(restored),
    ...notSynced,
    missing + kept === 0
      ? `${plan.directory} has every file, but ${count(failures.count, "file or folder", "files and folders")} without the right mode and time`
      : `${plan.directory} is INCOMPLETE: ${progressOf(plan, restored)}${left}; what was written of files that failed was removed`
  ]
}

const unsyncedText = ({ directory }: RestorePlan, why: string): string =>
  `cannot sync ${directory}: ${why}; the files are there, but the disk may not have all of them: look at the disk, and restore again, with --overwrite or into another folder`

/** The same of a restore that a signal stopped. */
export const stoppedLines = (plan: RestorePlan, restored: RestoreOutcome): ReadonlyArray<string> => [
  ...failuresOf(restored),
  restored.unsynced === undefined
    ? `stopped by a signal: ${restored.files + restored.failures.count === 0 ? noneText(plan, restored) : someText(plan, restored)}`
    : `stopped by a signal: ${plan.directory} was not synced: ${progressOf(plan, restored)}, and a power cut may lose some of it`
]

const noneText = ({ directory }: RestorePlan, { folders }: RestoreOutcome): string =>
  `no file was restored to ${directory}${folders === 0 ? "" : `, only ${count(folders, "folder")} made there`}; the files at work were removed`

const someText = (plan: RestorePlan, restored: RestoreOutcome): string =>
  `${plan.directory} is INCOMPLETE: ${progressOf(plan, restored)}; the files at work were removed, and what is there counts as taken for the next restore`
