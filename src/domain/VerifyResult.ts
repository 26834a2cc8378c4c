import { namesOf, type SetFinding, type Which } from "./ArchiveSet.ts"
import { secondsOf } from "./documents/Fields.ts"
import type { VerifyDocument } from "./documents/Verify.ts"
import type { FolderName } from "./FolderName.ts"
import { bytes, count, duration } from "./Units.ts"
import type { ArchiveIdentity } from "./Verification.ts"

/** What one archive turned out to be. */
export interface Verdict {
  readonly folder: FolderName
  /**
   * `foreign`: another program made it, and it has the checksums that are known of it. `missing`: there is no zip.
   * `unsettled`: a publication was interrupted, the archive was replaced each time it was being read, or it may not be
   * read, or its folder not be looked at; none of them says that anything is damaged.
   */
  readonly result: "good" | "foreign" | "damaged" | "missing" | "unsettled"
  /** Files in the archive and their uncompressed bytes, as far as it could be read. */
  readonly files: number
  readonly bytes: number
  readonly zipBytes: number
  readonly millis: number
  readonly findings: ReadonlyArray<SetFinding>
  /** Something of it is there, if only a file beside it. */
  readonly remains: boolean
  /** Which archive it is, as far as its own files say. */
  readonly identity: ArchiveIdentity
}

/** All archives that were asked for. */
export interface VerifySummary {
  readonly which: Which
  readonly verdicts: ReadonlyArray<Verdict>
  /** Folders that have archives, but none before the current one; nobody asked for those by name. */
  readonly without: ReadonlyArray<FolderName>
  readonly millis: number
  /** Why a message about it could not be delivered, once that was tried. */
  readonly undelivered?: string
}

const tally = ({ verdicts }: VerifySummary) => {
  const of = (result: Verdict["result"]) => verdicts.filter((verdict) => verdict.result === result).length
  return {
    good: of("good"),
    foreign: of("foreign"),
    damaged: of("damaged"),
    missing: of("missing"),
    unsettled: of("unsettled")
  }
}

const zipBytesOf = ({ verdicts }: VerifySummary): number =>
  verdicts.reduce((sum, { zipBytes }) => sum + zipBytes, 0)

/** Whether nothing is wrong with any archive that was asked for, as far as can be told, and there was one. */
export const allGood = ({ verdicts }: VerifySummary): boolean =>
  verdicts.length > 0 && verdicts.every(({ result }) => result === "good" || result === "foreign")

/** The archives of which something is wrong, or nothing can be said: the name of each zip, with the first thing that is wrong. */
export const failuresOf = ({ verdicts, which }: VerifySummary) =>
  verdicts.flatMap(({ findings, folder, result }) => {
    if (result === "good" || result === "foreign") return []
    const [first] = findings
    const more = findings.length > 1 ? ` (and ${count(findings.length - 1, "other finding")})` : ""
    const reason = `${result}: ${first === undefined ? "nothing more is known" : describeFinding(first)}${more}`
    return [{ name: namesOf(folder, which).zip, reason }]
  })

/** `1,204 files, 3.4 GiB, good (12 s)`: what an archive that is good gets said of it. */
export const describe = (verdict: Verdict): string =>
  `${count(verdict.files, "file")}, ${bytes(verdict.bytes)}, ${verdict.result} (${duration(verdict.millis)})`

/** `ABCD.zip at "docs/a.txt": its CRC-32 is wrong`: one finding for the log. */
export const describeFinding = ({ entry, file, problem }: SetFinding): string => {
  if (entry !== undefined) return `${file} at ${entry}: ${problem}`
  return /^(?:is|has|was|cannot) /.test(problem) ? `${file} ${problem}` : `${file}: ${problem}`
}

/** `3 good, 1 damaged; 5.2 GiB read in 34 s`: the last line. */
export const totals = (summary: VerifySummary): string => {
  const { damaged, foreign, good, missing, unsettled } = tally(summary)
  const counts = [
    `${good} good`,
    ...(foreign > 0 ? [`${foreign} of another program`] : []),
    `${damaged} damaged`,
    ...(missing > 0 ? [`${missing} missing`] : []),
    ...(unsettled > 0 ? [`${unsettled} unsettled`] : [])
  ]
  const which = summary.which === "current" ? "" : "archives before the current ones: "
  return `${which}${counts.join(", ")}; ${bytes(zipBytesOf(summary))} read in ${duration(summary.millis)}`
}

/** The document of `verify --json`; documented in the README. */
export const documentOf = (summary: VerifySummary): VerifyDocument => ({
  version: 1,
  which: summary.which,
  ...tally(summary),
  bytes: zipBytesOf(summary),
  seconds: secondsOf(summary.millis),
  ...(summary.undelivered === undefined ? {} : { undelivered: summary.undelivered }),
  folders: summary.verdicts.map((verdict) => ({
    folder: verdict.folder,
    result: verdict.result,
    files: verdict.files,
    bytes: verdict.bytes,
    zip_bytes: verdict.zipBytes,
    seconds: secondsOf(verdict.millis),
    findings: verdict.findings
  }))
})

/** What is said of an archive that is not there; `lost`: nothing is left of the folder's archives, and there were some. */
export const absent = (folder: FolderName, which: Which, lost: boolean): SetFinding => ({
  file: namesOf(folder, which).zip,
  problem: lost
    ? "is missing: nothing is left of the archives of this folder, and runs have published some"
    : which === "current"
      ? "is missing: there is no current archive"
      : "is missing: there is no archive before the current one"
})
