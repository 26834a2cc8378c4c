import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { archiveJobKey } from "../config/ReplicationJob.ts"
import { Ping } from "../notify/Ping.ts"
import { JobStates } from "../runs/JobState.ts"
import { withMessages } from "../runs/Messages.ts"
import { type MessageOptions, verifyMessages } from "../runs/MessageTexts.ts"
import { Metrics } from "../runs/Metrics.ts"
import { publishedFolders } from "../runs/PublishedFolders.ts"
import { makeWorkList, shortened, stoppedBySignal } from "../runs/Run.ts"
import {
  absent,
  describe,
  describeFinding,
  describeFindings,
  foreignText,
  summarize,
  totals,
  type Verdict,
  type VerifySummary
} from "../runs/VerifyResult.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { Verified } from "../store/FolderState.ts"
import {
  type ArchivesError,
  identityOf,
  isSameArchive,
  namesOf,
  type PublishedArchive,
  PublishedArchives,
  type Which
} from "../store/PublishedArchive.ts"
import { adviceOnReading, codeOf, isAboutUs } from "../system/Errno.ts"
import type { HashError } from "../system/Hasher.ts"
import { Progress } from "../system/Progress.ts"
import { secondsOf } from "../text/Document.ts"
import { commandOf } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import type { ArchiveError } from "../zip/ZipError.ts"
import { advice, type JobWords, journal, type Other } from "./Advice.ts"
import { type Chosen, type DueOptions, selectDue, waitingText } from "./Due.ts"
import { type Examined, examineArchive } from "./VerifyArchive.ts"

/** There is nothing to verify, which is not the same as "all is well". */
class NothingToVerify extends Data.TaggedError("NothingToVerify")<{ readonly message: string }> {}

/** Folders were asked for of which the target has no archives. */
export class UnknownFolders extends Data.TaggedError("UnknownFolders")<{
  readonly folders: ReadonlyArray<FolderName>
  readonly known: ReadonlyArray<FolderName>
  readonly message: string
}> {}

interface VerifyOptions extends Partial<DueOptions> {
  /** Only these folders; none: all that have archives. */
  readonly folders: ReadonlyArray<FolderName>
  readonly which: Which
  readonly words: JobWords
  /** Gets what was read before a signal ended it. */
  readonly onUnfinished?: (summary: VerifySummary) => Effect.Effect<void>
}

/** An archive that a run replaces while it is read is looked at again, so many times in all. */
const mostLooks = 3

/** Reads archives back and compares them with all that is known; damage is in the summary. Fails with an error above, or ArchivesError. */
export const verify = Effect.fn("Verify")(function* (options: VerifyOptions) {
  const { which, words } = options
  const started = yield* Clock.currentTimeMillis
  const kept = "no archive was changed"
  const list = makeWorkList({ noun: "archive", done: "read", kept: [kept, kept] })
  const done: Array<Verdict> = []
  let unknown: { readonly unread?: ReadonlyArray<string> } = {}
  const seconds = Effect.map(Clock.currentTimeMillis, (now) => secondsOf(now - started))
  yield* Effect.addFinalizer(
    Effect.fnUntraced(function* (exit: Exit.Exit<unknown, unknown>) {
      if (!Exit.isInterrupted(exit)) return
      yield* Effect.logError(list.stopped())
      const errors = [stoppedBySignal] as const
      const summary = summarize({ which, folders: done, ...unknown, seconds: yield* seconds, errors })
      if (done.length > 0) yield* options.onUnfinished?.(summary) ?? Effect.void
    })
  )
  const { lost, unread, ...all } = yield* choose(options)
  if (unread.length > 0) unknown = { unread }
  const { chosen, due } = yield* dueOf(all.chosen, options)
  list.begin(chosen)
  const show = yield* startProgress(chosen, which)
  const verdicts = yield* Effect.forEach(chosen, (folder) =>
    verifyFolder(folder, which, lost.has(folder), show).pipe(
      Effect.tap((verdict) => report({ verdict, which, words, lost: lost.has(folder) })),
      Effect.tap((verdict) => saveResult(which, verdict)),
      Effect.tap((verdict) => done.push(verdict)),
      Effect.tap(() => list.end(folder)),
      Effect.annotateLogs("folder", folder)
    )
  ).pipe(Effect.ensuring(Effect.forEach(unread, (problem) => Effect.logError(problem), { discard: true })))
  const summary = summarize({
    which,
    folders: verdicts,
    ...unknown,
    ...(due === undefined ? {} : countsOf(due)),
    seconds: yield* seconds
  })
  yield* Effect.logInfo(totals(summary))
  if (due !== undefined && due.waiting.length > 0) yield* Effect.logInfo(waitingText(due))
  yield* Effect.forEach(knownBad(due), ({ folder }) => Effect.logError(leftOutText(folder, words)), { discard: true })
  return summary
}, Effect.scoped)

/** Those of the folders that this call reads, in order; all without --max-age and --limit. */
const dueOf = Effect.fnUntraced(function* (
  folders: ReadonlyArray<FolderName>,
  { limit, maxAge, which }: VerifyOptions
) {
  if (limit === undefined && maxAge === undefined) return { chosen: folders, due: undefined }
  const due = yield* selectDue(folders, which, { limit, maxAge })
  return { chosen: due.read.map(({ folder }) => folder), due }
})

const countsOf = (due: Chosen) => ({
  not_due: due.fresh.length,
  waiting: due.waiting.length,
  known_bad: knownBad(due).length,
  left: [...due.fresh, ...due.waiting].map(({ folder }) => folder)
})

/** What waits, and was not good when it was last read. */
const knownBad = (due: Chosen | undefined) => due?.waiting.filter(({ isBad }) => isBad === true) ?? []

const leftOutText = (folder: FolderName, { place }: JobWords): string =>
  `${folder}: its archive was not good at its last check, and waits by --limit; to read it now: ${commandOf(["zipper", "verify", ...place], folder)}`

/** The same with metrics, messages, and a ping of a failure. A ping of a good end would stand in for that of a run. */
export const runVerify = Effect.fn("Verify.run")(function* (options: VerifyOptions & MessageOptions) {
  const { folders, reminder_hours, run } = options
  const ping = yield* Ping
  return yield* verify(options).pipe(
    Effect.tap(() => Effect.flatMap(Metrics, ({ rewrite }) => rewrite)),
    withMessages(
      { of: { job: archiveJobKey, task: "verify" }, reminder_hours },
      verifyMessages(options, folders.length === 0),
      // A name that was mistyped is for the user who typed it.
      (error) => !(error instanceof UnknownFolders),
      (report) => ping.fail(`${report}\nrun ${run}`)
    )
  )
})

/** The folders to look at: those of the options, or all that have such an archive, and those that lost theirs. */
const choose = Effect.fnUntraced(function* ({ folders, which }: VerifyOptions) {
  const archives = yield* PublishedArchives
  const there = yield* archives.folders
  const published = yield* publishedFolders
  // Of chosen folders, it only matters that they are known.
  const unread = folders.length > 0 ? [] : published.unread
  const note = Effect.forEach(published.unread, (problem) => Effect.logError(problem), { discard: true })
  const lost = new Set(published.folders.filter((folder) => !there.includes(folder)))
  const known = [...there, ...lost].sort()
  if (folders.length > 0) {
    const unknown = folders.filter((folder) => !known.includes(folder))
    if (unknown.length === 0) return { chosen: [...new Set(folders)].sort(), lost, unread }
    const message = `there are no archives of ${unknown.join(", ")} in ${archives.target}`
    yield* note
    return yield* new UnknownFolders({ folders: unknown, known, message })
  }
  if (known.length === 0) {
    const message = `there are no archives in ${archives.target}: nothing to verify; has a run ever archived something there?`
    yield* note
    return yield* new NothingToVerify({ message })
  }
  if (which === "current") return { chosen: known, lost, unread }
  // A folder that was archived once has nothing before that, and nothing is wrong with it.
  const has = (folder: FolderName) =>
    Effect.map(
      Effect.either(archives.open(folder, which)),
      (found) => found._tag === "Left" || found.right !== undefined
    )
  const chosen = new Set(yield* Effect.filter(there, has))
  const without = there.filter((folder) => !chosen.has(folder))
  if (without.length > 0) {
    yield* Effect.logInfo(`${without.join(", ")}: no archive before the current one yet`)
  }
  if (chosen.size + lost.size === 0) {
    const message = `no folder in ${archives.target} has an archive before the current one: nothing to verify`
    yield* note
    return yield* new NothingToVerify({ message })
  }
  return { chosen: [...chosen, ...lost].sort(), lost, unread }
})

/** Shows bytes read of all; takes those of the folder that is being read. */
const startProgress = Effect.fnUntraced(function* (folders: ReadonlyArray<FolderName>, which: Which) {
  const archives = yield* PublishedArchives
  const sizes = yield* Effect.forEach(folders, (folder) => archives.size(folder, which))
  const sum = (count: number) => sizes.slice(0, count).reduce((all, size) => all + size, 0)
  const total = sum(sizes.length)
  const update = yield* (yield* Progress).start("verifying")
  return (folder: FolderName) => {
    const before = sum(folders.indexOf(folder))
    return (bytes: number) => update({ done: before + bytes, total, label: `verifying ${folder}` })
  }
})

const unexamined = { files: 0, bytes: 0, zip_bytes: 0, seconds: 0, identity: {}, remains: true, foreign: false }

/** One archive, looked at again when it was replaced while it was being read. */
const verifyFolder = Effect.fnUntraced(
  function* (folder: FolderName, which: Which, lost: boolean, show: (folder: FolderName) => (bytes: number) => void) {
    const archives = yield* PublishedArchives
    const started = yield* Clock.currentTimeMillis
    const verdict = Effect.fnUntraced(function* (
      result: Verdict["result"],
      findings: Verdict["findings"],
      set?: PublishedArchive,
      examined?: Examined
    ) {
      return {
        folder,
        result,
        files: examined?.files ?? 0,
        bytes: examined?.bytes ?? 0,
        zip_bytes: set?.file?.size ?? 0,
        seconds: secondsOf((yield* Clock.currentTimeMillis) - started),
        findings,
        identity: identityOf(set),
        remains: set !== undefined,
        foreign: examined?.foreign === true
      } satisfies Verdict
    })

    for (let left = mostLooks; ; left -= 1) {
      const set = yield* archives.open(folder, which)
      if (set === undefined) return yield* verdict("missing", [absent(folder, which, lost)])
      const examined = yield* examineArchive(set, "content", show(folder))
      const { findings, flawed, foreign } = examined
      if (findings.length === 0) return yield* verdict(foreign ? "foreign" : "good", [], set, examined)
      if (isSameArchive(set, yield* archives.open(folder, which))) {
        if (!set.interrupted) {
          const unread = findings.every(({ why }) => why === "denied")
          return yield* verdict(isGone(set) ? "missing" : unread ? "unsettled" : "damaged", findings, set, examined)
        }
        // A publication changes names of whole files: it does not damage one.
        return yield* verdict(flawed ? "damaged" : "unsettled", [interrupted, ...findings], set, examined)
      }
      if (left === 1) return yield* verdict("unsettled", [replaced], set, examined)
      yield* Effect.logDebug("it was replaced while it was being read: once more")
    }
  },
  (effect, folder, which) =>
    Effect.catchIf(effect, isNotTheArchive, (error) => {
      const advice = error._tag === "ArchivesError" ? "" : adviceOnReading(codeOf(error.cause))
      const problem = `cannot be verified: ${error.message}${advice}`
      const findings = [{ file: namesOf(folder, which).zip, problem }]
      return Effect.succeed<Verdict>({ ...unexamined, folder, result: "unsettled", findings })
    })
)

/** Writes the result down, for status, report and metrics. A failure to do so is only a warning. */
const saveResult = Effect.fnUntraced(function* (which: Which, { findings, folder, identity, result }: Verdict) {
  const [first] = findings
  const found: Verified = {
    ...identity,
    verified_at_utc: utcSeconds(yield* Clock.currentTimeMillis),
    result,
    ...(first === undefined ? {} : { problem: shortened(describeFinding(first)) })
  }
  yield* (yield* JobStates)
    .saveVerified(folder, which, found)
    .pipe(Effect.catchAll((error) => Effect.logWarning(error.message)))
})

const isNotTheArchive = (error: ArchivesError | ArchiveError | HashError): boolean =>
  error._tag === "ArchivesError" || isAboutUs(codeOf(error.cause))

/** There is no zip, nor anything else in its place. */
const isGone = ({ file, folder, obstacles, which }: PublishedArchive): boolean =>
  file === undefined && !obstacles.some((obstacle) => obstacle.file === namesOf(folder, which).zip)

const interrupted = {
  file: journal,
  problem:
    "a publication was interrupted, and the files may be partly those of the one archive and partly those of the other: the next run finishes or undoes it"
}

const replaced = {
  file: journal,
  problem: `the archive was replaced each of the ${mostLooks} times that it was being read`
}

const report = Effect.fnUntraced(function* (reported: {
  readonly verdict: Verdict
  readonly which: Which
  readonly words: JobWords
  readonly lost: boolean
}) {
  const { verdict, which, words } = reported
  const { findings, folder, result } = verdict
  const { target } = yield* PublishedArchives
  if (result === "good") return yield* Effect.logInfo(describe(verdict))
  if (result === "foreign") {
    return yield* Effect.logInfo(foreignText(`${target}/${folder}/${namesOf(folder, which).zip}`))
  }
  yield* Effect.forEach(describeFindings(findings), (line) => Effect.logError(line), { discard: true })
  const other = result === "unsettled" ? "none" : yield* otherOf(folder, which)
  yield* Effect.logError(`what to do: ${advice({ ...reported, ...words, other, target }).join("\n")}`)
})

/** What the folder's other archive is, which advice only names when it is good. */
const otherOf = Effect.fnUntraced(
  function* (folder: FolderName, which: Which) {
    const set = yield* (yield* PublishedArchives).open(folder, which === "current" ? "previous" : "current")
    if (set?.file === undefined) return "none" satisfies Other
    yield* Effect.logDebug("is the folder's other archive good?")
    const { findings, foreign } = yield* examineArchive(set, "content")
    const { zip } = namesOf(folder, set.which)
    if (findings.some(({ file }) => foreign || file === zip)) return "damaged" satisfies Other
    return (foreign ? "foreign" : "usable") satisfies Other
  },
  Effect.catchIf(isNotTheArchive, () => Effect.succeed<Other>("none"))
)
