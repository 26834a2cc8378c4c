import type { Verdict } from "../runs/VerifyResult.ts"
import type { FolderName } from "../source/FolderName.ts"
import { forcedRun } from "../store/Mounts.ts"
import { namesOf, type Which } from "../store/PublishedArchive.ts"
import { commandOf, shellWords } from "../text/Text.ts"

/** The folder's other archive. `usable`: its zip is good, even if a file beside it is not. */
export type Other = "usable" | "foreign" | "damaged" | "none"

/** How the commands in messages name the archives that were read. */
export interface PlaceWords {
  /** Options of restore, ls and verify: `--config FILE`, or `--from TARGET`. */
  readonly place: ReadonlyArray<string>
  /** Options of `zipper run` for the job that publishes them; undefined where no configuration is known. */
  readonly job: ReadonlyArray<string> | undefined
  /** They are in a snapshot (`--at`), where nothing changes any more. */
  readonly frozen?: true
}

/** The same where there is a configuration. */
export interface JobWords extends PlaceWords {
  readonly job: ReadonlyArray<string>
}

interface Situation extends JobWords {
  readonly verdict: Verdict
  readonly which: Which
  readonly other: Other
  readonly lost: boolean
  readonly target: string
}

/** What to do, a line each; a line that begins with blanks is a command for any shell. */
export const advice = (situation: Situation): ReadonlyArray<string> => {
  const { job, lost, place, target, verdict, which } = situation
  const { findings, folder, result } = verdict
  if (situation.frozen && result !== "good" && result !== "foreign") {
    return [...fromTheOther(situation), "nothing can change in a snapshot; another one may be good: --at"]
  }
  switch (result) {
    case "good":
    case "foreign":
      return []
    case "unsettled":
      return findings.some(({ file }) => file === journal)
        ? ["a run finishes or undoes what was begun; look again afterwards:", run(job), look(situation)]
        : ["look again when that is put right:", look(situation)]
    case "missing":
      if (which === "previous" && !lost && !verdict.remains) {
        return [
          "there is one before the current one from its next change on. The current one:",
          look(situation, "current")
        ]
      }
      return [
        ...fromTheOther(situation),
        ...outOfTheWay(situation),
        ...(which === "previous" && verdict.remains
          ? [takesItsPlace(folder)]
          : ["a new one, if the folder is still in the source:", again(folder, job)]),
        ...(lost
          ? [
              "if it was removed for good, from the source too, then have it forgotten:",
              command(["rm", "-f", `${target}/.zipper/index/${folder}`])
            ]
          : [])
      ]
    case "damaged": {
      const { zip } = namesOf(folder, which)
      const home = `${target}/${folder}`
      const next = [
        ...outOfTheWay(situation),
        ...(which === "current"
          ? [
              "a new archive, of what is in the source now:",
              // A run makes one by itself where a file beside the zip is not there.
              findings.every(({ problem }) => problem === "is missing") ? run(job) : again(folder, job)
            ]
          : [takesItsPlace(folder)])
      ]
      if (!findings.some(({ file }) => file === zip)) {
        return verdict.foreign
          ? [
              ...fromTheOther(situation),
              "another program made the archive, and its entries were not looked at. To check them, and to restore them:",
              command(["unzip", "-t", `${home}/${zip}`]),
              unzip(`${home}/${zip}`),
              ...next
            ]
          : isOfKnownContent(situation)
            ? ["nothing is lost: the archive itself is good, and can be restored", ...next]
            : [
                "no file says what the archive has to be: each entry is as its CRC-32 says, but it may be another archive. What is in it:",
                `  ${commandOf(["zipper", "ls", ...place, ...(which === "previous" ? ["--prev"] : [])], folder)}`,
                ...next
              ]
      }
      const unreadable = verdict.zip_bytes === 0
      const rest =
        situation.other === "usable" || situation.other === "foreign" || unreadable
          ? []
          : ["no other archive of it is good. What can still be read of this one:", unzip(`${home}/${zip}`)]
      return [...fromTheOther(situation), ...rest, ...next]
    }
  }
}

/** The state, or a file beside the zip that is as it should be, says what the zip has to be. */
const isOfKnownContent = ({ verdict: { findings, folder, identity }, which }: Situation): boolean => {
  const { md5, metadata, sha256 } = namesOf(folder, which)
  const isDamaged = (name: string) => findings.some(({ file }) => file === name)
  return identity.zip_sha256 !== undefined || ![md5, sha256, metadata].every(isDamaged)
}

const outOfTheWay = ({ target, verdict: { findings, folder } }: Situation): ReadonlyArray<string> =>
  findings.flatMap(({ file, why }) => {
    const path = `${target}/${folder}/${file}`
    return why === "taken" ? ["what has its name, out of the way:", command(["mv", path, `${path}.away`])] : []
  })

const takesItsPlace = (folder: FolderName): string => `the next archive that is published for ${folder} takes its place`

const fromTheOther = ({ other, place, target, verdict: { folder }, which }: Situation): ReadonlyArray<string> => {
  const [what, prev] = which === "current" ? ["the archive before it", ["--prev"]] : ["the current archive", []]
  const { zip } = namesOf(folder, which === "current" ? "previous" : "current")
  switch (other) {
    case "usable":
      return [
        `${what} is good. Files from there:`,
        `  ${commandOf(["zipper", "restore"], folder, [...prev, "--to", "DIR", ...place])}`
      ]
    case "foreign":
      return [
        `${what} was made by another program, and its checksums are right. Files from there:`,
        unzip(`${target}/${folder}/${zip}`)
      ]
    case "damaged":
    case "none":
      return []
  }
}

/** Name of what an interrupted publication leaves: findings about it are about the folder as a whole. */
export const journal = ".publish"

const command = (words: ReadonlyArray<string>): string => `  ${shellWords(words)}`
const run = (job: ReadonlyArray<string>) => command(["zipper", "run", ...job])
const again = (folder: FolderName, job: ReadonlyArray<string>) => `  ${forcedRun(folder, job)}`
const unzip = (zip: string) => command(["unzip", zip, "-d", "DIR"])
const look = ({ place, verdict, which }: Situation, at: Which = which) =>
  `  ${commandOf(["zipper", "verify", ...place, ...(at === "previous" ? ["--prev"] : [])], verdict.folder)}`
