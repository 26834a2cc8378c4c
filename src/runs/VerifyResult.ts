import * as Arr from "effect/Array"
import { sumAll } from "effect/Number"
import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import type { ArchiveIdentity } from "../store/FolderState.ts"
import { type ArchiveFinding, namesOf, type Which } from "../store/PublishedArchive.ts"
import { countField, document, errors, optional, seconds, text, undelivered } from "../text/Document.ts"
import { bytes, count, duration, firstNames, shellWord } from "../text/Text.ts"

const VerifyFinding = Schema.Struct({
  file: text("the file in the folder that it is about"),
  entry: optional(text("the entry of the zip, in quotes, with what cannot be seen escaped")),
  problem: text("what is wrong, to be read after the file or the entry")
})

const VerifyFolder = Schema.Struct({
  folder: FolderName,
  result: Schema.Literal("good", "foreign", "damaged", "missing", "unsettled").annotations({
    description:
      "foreign: made by another program, and its checksums are right; missing: there is no such archive; unsettled: a publication was interrupted, the archive was replaced each time while it was read, or it cannot be looked at or may not be read"
  }),
  files: countField("regular files in the archive, as far as it could be read"),
  bytes: countField("their size, uncompressed"),
  zip_bytes: countField("size of the archive"),
  seconds: seconds("time it took"),
  findings: Schema.Array(VerifyFinding).annotations({
    description: "all that is wrong; none when it is good"
  })
})

export const VerifyDocument = document({
  which: Schema.Literal("current", "previous"),
  good: countField("archives of which every bit is what was published"),
  foreign: countField(
    "archives that another program made, and whose checksums are right; their entries are not looked at"
  ),
  damaged: countField("archives of which something is not; above 0 the exit status is 1, as with the two below"),
  missing: countField("archives that are not there"),
  unsettled: countField("archives of which nothing can be said yet"),
  bytes: countField("size of all these archives"),
  seconds: seconds("time it took"),
  unread: optional(
    Schema.Array(text("why archives that were published may be missed: the exit status is 1")).annotations({
      description: "records of what was published that could not be read"
    })
  ),
  not_due: optional(countField("with --max-age or --limit: archives whose last check is not old enough")),
  waiting: optional(
    countField("with --max-age or --limit: archives that are due, and left to a later call by --limit")
  ),
  known_bad: optional(
    countField("of those that wait, how many were not good at their last check; above 0 the exit status is 1")
  ),
  undelivered,
  errors,
  folders: Schema.Array(VerifyFolder)
})
export type VerifyDocument = typeof VerifyDocument.Type

/** One archive. `unsettled` does not say that anything is damaged. */
export type Verdict = Omit<VerifyDocument["folders"][number], "findings"> & {
  readonly findings: ReadonlyArray<ArchiveFinding>
  /** Some file of it is there. */
  readonly remains: boolean
  /** Another program made the zip: its entries were not looked at. */
  readonly foreign: boolean
  readonly identity: ArchiveIdentity
}

export interface VerifySummary extends Omit<VerifyDocument, "folders"> {
  readonly folders: ReadonlyArray<Verdict>
  /** Folders whose archive is not due, or waits. */
  readonly left?: ReadonlyArray<FolderName>
}

export const summarize = (
  all: Pick<
    VerifySummary,
    "which" | "folders" | "left" | "seconds" | "unread" | "not_due" | "waiting" | "known_bad" | "errors"
  >
): VerifySummary => {
  const counted = (which: Verdict["result"]) => all.folders.filter(({ result }) => result === which).length
  return {
    version: 1,
    ...all,
    good: counted("good"),
    foreign: counted("foreign"),
    damaged: counted("damaged"),
    missing: counted("missing"),
    unsettled: counted("unsettled"),
    bytes: sumAll(all.folders.map(({ zip_bytes }) => zip_bytes))
  }
}

/** Whether there was an archive, none is known to be not good, and all that was published is known. */
export const allGood = ({ folders, known_bad = 0, left = [], unread = [] }: VerifySummary): boolean =>
  folders.length + left.length > 0 && folders.every(isGood) && known_bad === 0 && unread.length === 0

const isGood = ({ result }: Verdict): boolean => result === "good" || result === "foreign"

/** The name of the failure that the records of what was published could not be read. */
export const unreadRecords = "records of what was published"

/** The archives that are not good: the name of each zip, with its first finding; and the records that could not be read. */
export const failuresOf = ({ folders, unread = [], which }: VerifySummary) => [
  ...(unread.length === 0 ? [] : [{ name: unreadRecords, reason: unread.join("; ") }]),
  ...folders.flatMap((verdict) => {
    if (isGood(verdict)) return []
    const { findings, folder, result } = verdict
    const [first] = findings
    const more = findings.length > 1 ? ` (and ${count(findings.length - 1, "other finding")})` : ""
    const reason = `${result}: ${first === undefined ? "nothing more is known" : describeFinding(first)}${more}`
    return [{ name: namesOf(folder, which).zip, reason }]
  })
]

/** An archive that is good, for the log: `1,204 files, 3.4 GiB, good (12 s)`. */
export const describe = (verdict: Verdict): string =>
  `${count(verdict.files, "file")}, ${bytes(verdict.bytes)}, ${verdict.result} (${duration(verdict.seconds * 1000)})`

/** One finding for the log: `ABCD.zip at "docs/a.txt": its CRC-32 is wrong`. */
export const describeFinding = ({ entry, file, problem }: ArchiveFinding): string => {
  if (entry !== undefined) return `${file} at ${entry}: ${problem}`
  return /^(?:is|has|was|cannot) /.test(problem) ? `${file} ${problem}` : `${file}: ${problem}`
}

/** Findings for the log; entries with the same problem share a line: `ABCD.zip at "a", "b" and 7 more: its …`. */
export const describeFindings = (findings: ReadonlyArray<ArchiveFinding>): ReadonlyArray<string> => {
  const groups = Arr.groupBy(findings, ({ entry, file, problem }) =>
    JSON.stringify([file, problem, entry === undefined])
  )
  return Object.values(groups).map(([first, ...rest]) => {
    const entries = [first, ...rest].flatMap(({ entry }) => entry ?? [])
    return describeFinding(entries.length === 0 ? first : { ...first, entry: firstNames(entries, entriesNamed) })
  })
}

const entriesNamed = 5

/** `3 good, 1 damaged; 5.2 GiB read in 34 s; 11 not due`. */
export const totals = (summary: VerifySummary): string => {
  const { damaged, foreign, good, missing, not_due = 0, unsettled, waiting = 0 } = summary
  const counts = [
    `${good} good`,
    ...(foreign > 0 ? [`${foreign} of another program`] : []),
    `${damaged} damaged`,
    ...(missing > 0 ? [`${missing} missing`] : []),
    ...(unsettled > 0 ? [`${unsettled} unsettled`] : [])
  ]
  const which = summary.which === "current" ? "" : "archives before the current ones: "
  const left = not_due > 0 ? `; ${not_due} not due` : ""
  if (summary.folders.length === 0 && not_due + waiting > 0) {
    return `${which}nothing was read: ${waiting > 0 ? "the limit of this hour is reached" : "no archive is due"}${left}`
  }
  return `${which}${counts.join(", ")}; ${bytes(summary.bytes)} read in ${duration(summary.seconds * 1000)}${left}`
}

/** The finding of an archive that is not there; `lost`: runs published archives of the folder, and none is left. */
export const absent = (folder: FolderName, which: Which, lost: boolean): ArchiveFinding => ({
  file: namesOf(folder, which).zip,
  problem: lost
    ? "is missing: nothing is left of the archives of this folder, and runs have published some"
    : which === "current"
      ? "is missing: there is no current archive"
      : "is missing: there is no archive before the current one"
})

/** About a zip of another program at the path `zip`; to be read after the folder's name. */
export const foreignText = (zip: string): string =>
  `made by another program, and its checksums are right; ${unzipText(zip)}`

/** What to do with such a zip. */
export const unzipText = (zip: string): string => {
  const path = shellWord(zip)
  return `\`unzip -t ${path}\` checks its entries, \`unzip ${path} -d DIR\` restores it`
}
