import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { describeFindings } from "../runs/VerifyResult.ts"
import { FolderName } from "../source/FolderName.ts"
import { forcedRun } from "../store/Mounts.ts"
import type { ArchiveFinding, PublishedArchive, Which } from "../store/PublishedArchive.ts"
import { countField, document, flag, orNull, seconds, text } from "../text/Document.ts"
import { commandOf, optionWords, shellWords } from "../text/Text.ts"
import type { PlaceWords } from "../verify/Advice.ts"
import { nothingRestored, type RestoreOutcome, type RestorePlan } from "../zip/RestorePlan.ts"

export interface RestoreOptions extends PlaceWords {
  readonly folder: FolderName
  readonly which: Which
  readonly to: string
  /** Into a folder of its own name below `to`. */
  readonly below: boolean
  /** Patterns of what is wanted; everything when there are none. */
  readonly only: ReadonlyArray<string>
  readonly overwrite: boolean
  readonly sync: boolean
  /** For the commands that messages give. */
  readonly dryRun: boolean
}

/** An archive that a command asks for; `command` is the line that asks for that one of the folder's two. */
export interface WantedArchive extends Pick<PlaceWords, "job"> {
  readonly folder: FolderName
  readonly which: Which
  readonly command: (which: Which) => string
}

export const otherOf = (which: Which): Which => (which === "current" ? "previous" : "current")

/** Several folders at once; none are all. */
export interface RestoreRequest extends Omit<RestoreOptions, "folder"> {
  readonly folders: ReadonlyArray<FolderName>
}

/** DIR of one folder. */
const directoryOf = ({ below, folder, to }: RestoreOptions): string => (below ? `${to}/${folder}` : to)

/** The command line that asks for the same of that archive, to be pasted. */
export const restoreCommand = (options: RestoreOptions, which: Which): string =>
  makesTo(options) +
  commandOf(["zipper", "restore"], options.folder, [
    ...(which === "previous" ? ["--prev"] : []),
    ...optionWords("--to", directoryOf(options)),
    ...options.only.flatMap((pattern) => optionWords("--only", pattern)),
    ...(options.overwrite ? ["--overwrite"] : []),
    ...(options.sync ? [] : ["--no-sync"]),
    ...(options.dryRun ? ["--dry-run"] : []),
    ...options.place
  ])

/** Neither restore nor unzip makes a folder above DIR: that of several folders may not be there by then. */
const makesTo = ({ below, to }: RestoreOptions): string =>
  below ? `${shellWords(["mkdir", "-p", operand(to)])} && ` : ""

const operand = (path: string): string => (path.startsWith("-") ? `./${path}` : path)

/** Why an archive is not restored, and what to do instead, a line each. `other`: the folder's other archive is there. */
export const damageText = (
  options: RestoreOptions,
  set: PublishedArchive,
  findings: ReadonlyArray<ArchiveFinding>,
  other: boolean
): ReadonlyArray<string> => [
  ...describeFindings(findings),
  `nothing was written: ${reasonOf(options, set)}; ${wayOut(options, set.file && set.zip, other)}`
]

/** What to do about files that an archive does not give, while others of it are in DIR; `other` as for {@link damageText}. */
export const incompleteText = (options: RestoreOptions, zip: string, other: boolean): string =>
  `${zip} is damaged; ${wayOut({ ...options, to: "DIR", below: false }, zip, other)}`

const reasonOf = ({ job }: RestoreOptions, { file, folder, interrupted, obstacles, zip }: PublishedArchive) => {
  if (interrupted) {
    const run = job && shellWords(["zipper", "run", ...job])
    const begun = `a publication of ${folder} was interrupted`
    return run === undefined ? begun : `${begun}, and the next run finishes or undoes it (${run})`
  }
  if (file !== undefined) return `${zip} cannot be relied on`
  return obstacles.some((obstacle) => zip.endsWith(`/${obstacle.file}`)) ? `${zip} cannot be read` : `${zip} is missing`
}

const wayOut = (options: RestoreOptions, zip: string | undefined, other: boolean): string => {
  const isCurrent = options.which === "current"
  const unzip = (what: string): string =>
    zip === undefined
      ? ""
      : `; unzip takes what can still be read of ${what}: ${makesTo(options)}${shellWords(["unzip", zip, "-d", operand(directoryOf(options))])}`
  if (!other) return `${isCurrent ? "there is no archive before it" : "there is no newer one"}${unzip("it")}`
  const command = restoreCommand(options, otherOf(options.which))
  // A failed restore of the newest one leads to the one before: both may be damaged.
  return isCurrent
    ? `the archive before may be good: ${command}`
    : `the newest archive may be good: ${command}${unzip("this one")}`
}

/** `other` as for {@link damageText}. */
export const noArchiveText = (
  { command, folder, which }: Pick<WantedArchive, "command" | "folder" | "which">,
  other: boolean
): string => {
  const none = `${folder} has no ${which === "current" ? "current" : "previous"} archive`
  if (!other) return none
  const name = which === "current" ? "there is one before it" : "the newest one"
  return `${none}; ${name}: ${command(otherOf(which))}`
}

/** `finding` says that nothing is left of the folder's archives. */
export const lostText = ({ folder, job }: Pick<WantedArchive, "folder" | "job">, finding: string): string => {
  if (job === undefined) return finding
  return `${finding}; a new one, if the folder is still in the source: ${forcedRun(folder, job)}`
}

export interface RestoreSummary {
  readonly folder: FolderName
  readonly which: Which
  readonly zip: string
  /** `refused`: nothing was written. `incomplete`: not everything is there as it is in the archive. */
  readonly result: "restored" | "incomplete" | "refused"
  readonly plan: RestorePlan | undefined
  readonly restored: RestoreOutcome | undefined
  /** The errors that were logged, a line each. */
  readonly problems: ReadonlyArray<string>
  readonly seconds: number
}

const some = <A, I>(schema: Schema.Schema<A, I>, description: string) =>
  Schema.Struct({ count: countField("how many"), first: Schema.Array(schema) }).annotations({ description })

const path = text("relative to the directory; what is no plain text in it is escaped")

const dry_run = flag("nothing was written: restored is what a restore would do")

const restoredFolder = {
  folder: FolderName,
  archive: Schema.Literal("current", "previous"),
  zip: text("the archive's file"),
  result: Schema.Literal("restored", "incomplete", "refused").annotations({
    description: "refused: nothing was written; anything but restored: exit status 1"
  }),
  directory: orNull(text("where to, symlinks followed; null when that was not looked at")),
  files: countField("files that are complete in the directory"),
  bytes: countField("their size"),
  folders: countField("folders that were made"),
  replaced: countField("files among them that took the place of others"),
  seconds: seconds("time it took, checking included"),
  conflicts: some(
    Schema.Struct({
      path,
      is: Schema.Literal("file", "directory", "symlink", "other", "archives").annotations({
        description: "what is there; archives: the folder that the archives are in"
      }),
      wanted: Schema.Literal("file", "directory").annotations({ description: "what belongs there" })
    }),
    "what is in the way, the first of them by name"
  ),
  failures: some(
    Schema.Struct({
      path,
      kind: Schema.Literal("missing", "kept", "attributes").annotations({
        description:
          "missing: it is not there; kept: the file that it was to take the place of is there, unchanged; attributes: it is there without its mode or time"
      }),
      error: text("why")
    }),
    "what is not as in the archive, the first of them by name"
  ),
  problems: Schema.Array(text("what there is to say of it, as on standard error"))
}

/** Printed by `restore --json` for one folder. */
const RestoreDocument = document({ dry_run, ...restoredFolder })

/** For several, and for `--all`. */
const RestoresDocument = document({
  dry_run,
  result: Schema.Literal("restored", "incomplete", "refused").annotations({
    description: "restored: every folder; refused: nothing was written; anything but restored: exit status 1"
  }),
  restores: Schema.Array(Schema.Struct(restoredFolder)).annotations({
    description: "the folders by name, each with the keys that the document of one folder has"
  })
})

export const RestoreDocuments = Schema.Union(RestoreDocument, RestoresDocument)

export const restoreDocument = (
  { below, dryRun }: Pick<RestoreRequest, "below" | "dryRun">,
  summaries: ReadonlyArray<RestoreSummary>
): typeof RestoreDocuments.Type => {
  const restores = summaries.map(restoredOf)
  const [first] = restores
  if (first !== undefined && !below) return { version: 1, dry_run: dryRun, ...first }
  return { version: 1, dry_run: dryRun, result: resultOf(summaries), restores }
}

/** What became of all of them. */
export const resultOf = (summaries: ReadonlyArray<RestoreSummary>): RestoreSummary["result"] => {
  const [first = "refused", ...others] = new Set(summaries.map(({ result }) => result))
  return others.length > 0 ? "incomplete" : first
}

const restoredOf = ({ plan, restored = nothingRestored, which, ...summary }: RestoreSummary) => ({
  ...summary,
  archive: which,
  directory: plan?.directory ?? null,
  ...Struct.pick(restored, "files", "bytes", "folders", "replaced", "failures"),
  seconds: Math.max(0, summary.seconds),
  conflicts: plan?.conflicts ?? { count: 0, first: [] }
})
