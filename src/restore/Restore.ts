import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { sumAll } from "effect/Number"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { describeFinding, foreignText, unzipText } from "../runs/VerifyResult.ts"
import type { FolderName } from "../source/FolderName.ts"
import * as Metadata from "../store/Metadata.ts"
import { isSameArchive, namesOf, type PublishedArchive, PublishedArchives } from "../store/PublishedArchive.ts"
import { Progress } from "../system/Progress.ts"
import { bytes, count, duration } from "../text/Text.ts"
import {
  type Examined,
  examineArchive,
  hasDigest,
  isOfUnknownContent,
  recordedArchive
} from "../verify/VerifyArchive.ts"
import { Extractor, type PreparedRestore } from "../zip/Archiver.ts"
import type { ExtractRequest } from "../zip/ExtractTarget.ts"
import {
  failureLines,
  leftoverText,
  nothingRestored,
  obstacleLines,
  type PlannedFile,
  privilegedText,
  type RestoreOutcome,
  roomLines,
  spaceText,
  stoppedLines,
  summaryText,
  unmatchedLines,
  untriedText
} from "../zip/RestorePlan.ts"
import { FindError, findFolders, hasOther, openArchive } from "./FindArchive.ts"
import {
  damageText,
  incompleteText,
  type RestoreOptions,
  type RestoreRequest,
  type RestoreSummary,
  restoreCommand
} from "./RestoreResult.ts"

interface RestoreHooks {
  /** Gets the summaries when the restore is interrupted while it writes. */
  readonly onStopped?: (summaries: ReadonlyArray<RestoreSummary>) => Effect.Effect<void>
  /** Gets the files that a dry run would write, some at a time. */
  readonly onPlanned?: ((files: ReadonlyArray<PlannedFile>) => Effect.Effect<void>) | undefined
}

/**
 * Puts archives' content back: finds and checks every archive, looks at everything in DIR that it would touch, and only then
 * writes, one folder after the other. What is in the way is reported before anything is written, and stops all of it; of several
 * archives, one that is damaged or missing does not keep the others out. What fails afterwards is removed, named and in the
 * summaries, which are in the order of the folders.
 */
export const restore = Effect.fn("Restore")(function* (
  request: RestoreRequest,
  { onPlanned, onStopped = () => Effect.void }: RestoreHooks = {}
) {
  const started = yield* Clock.currentTimeMillis
  const folders = yield* findFolders(request.folders, request.which)
  if (request.below)
    yield* Effect.logInfo(`${count(folders.length, "folder")}, each to a folder of its name in ${request.to}`)
  const checked = yield* Effect.forEach(folders, (folder) => check({ ...request, folder })).pipe(
    Effect.onInterrupt(() => Effect.logError("stopped by a signal: nothing was written"))
  )
  const ready = checked.filter(isReady)
  const common = request.below ? commonObstacles(request, ready) : []
  const obstacles = new Map<Checked, ReadonlyArray<string>>(ready.map((one) => [one, obstaclesOf(one)]))
  const isRefused = [common, ...obstacles.values()].some((lines) => lines.length > 0)
  const done = new Map<FolderName, RestoreSummary>()
  const end = (summary: RestoreSummary) => done.set(summary.folder, summary)
  const summaries = () => folders.flatMap((folder) => done.get(folder) ?? [])

  for (const one of checked) {
    const { overwrite } = request
    if (isReady(one)) yield* inFolder(one, warnings([leftoverText(one.prepared.plan, overwrite && !isRefused)]))
    const problems = obstacles.get(one) ?? one.problems
    if (isRefused || !isReady(one)) end(yield* finish(one, { result: "refused", problems }))
  }
  yield* logErrors(common)

  const todo = isRefused ? [] : ready
  const leave = Effect.fnUntraced(function* (rest: ReadonlyArray<Ready>, why: string) {
    if (rest.length === 0) return
    yield* Effect.logError(`not begun (${why}): ${rest.map(({ options }) => options.folder).join(", ")}`)
    for (const one of rest) end(summaryOf(one, { result: "refused", problems: [`not begun: ${why}`] }))
  })
  const rest = () => todo.filter(({ options }) => !done.has(options.folder))
  yield* Effect.gen(function* () {
    for (const one of todo) {
      const summary = yield* inFolder(one, carryOut(one, onPlanned))
      end(summary)
      const why = summary.restored?.gaveUp
      if (why !== undefined) return yield* leave(rest(), why)
    }
  }).pipe(
    Effect.onInterrupt(() =>
      Effect.gen(function* () {
        const [one, ...others] = rest()
        if (one !== undefined) {
          const restored = one.prepared.soFar()
          const problems = stoppedLines(one.prepared.plan, restored)
          end(yield* finish(one, { result: "incomplete", problems, restored }))
        }
        yield* leave(others, "stopped by a signal")
        yield* onStopped(summaries())
      })
    )
  )
  const seconds = ((yield* Clock.currentTimeMillis) - started) / 1000
  if (request.below) yield* reportTotals(request, summaries(), seconds)
  return summaries()
}, Effect.scoped)

/** A folder whose archive was looked at; without `prepared`, `problems` says why nothing of it is restored. */
interface Checked {
  readonly options: RestoreOptions
  readonly zip: string
  readonly problems: ReadonlyArray<string>
  readonly prepared: PreparedRestore | undefined
  readonly millis: number
}

interface Ready extends Checked {
  readonly prepared: PreparedRestore
}

const isReady = (one: Checked): one is Ready => one.prepared !== undefined

/** Of several archives, a pattern need not mean something in each. */
const obstaclesOf = ({ options: { below, overwrite }, prepared: { plan }, zip }: Ready) =>
  obstacleLines(below ? { ...plan, unmatched: [] } : plan, { overwrite, zip })

/** Lines of one of several folders begin with its name. */
const inFolder = <A, E, R>({ options }: Pick<Checked, "options">, effect: Effect.Effect<A, E, R>) =>
  options.below ? Effect.annotateLogs(effect, "folder", options.folder) : effect

type End = Pick<RestoreSummary, "result" | "problems"> & { readonly restored?: RestoreOutcome }

const summaryOf = ({ millis, options, prepared, zip }: Checked, end: End): RestoreSummary => {
  const { folder, which } = options
  return { folder, which, zip, plan: prepared?.plan, restored: undefined, seconds: millis / 1000, ...end }
}

/** Logs the problems. */
const finish = (one: Checked, end: End) => inFolder(one, logErrors(end.problems)).pipe(Effect.as(summaryOf(one, end)))

const logErrors = (lines: ReadonlyArray<string>) =>
  Effect.forEach(lines, (line) => Effect.logError(line), { discard: true })

const warnings = (texts: ReadonlyArray<string | undefined>) =>
  Effect.forEach(texts, (text) => (text === undefined ? Effect.void : Effect.logWarning(text)), { discard: true })

/** How often an archive is looked at again that a run replaced meanwhile. */
const timesAgain = 3

const check = (options: RestoreOptions) =>
  Effect.gen(function* () {
    const { target } = yield* PublishedArchives
    const zip = `${target}/${options.folder}/${namesOf(options.folder, options.which).zip}`
    const [time, found] = yield* checkAndPrepare(options).pipe(
      // Without several, the error is the command's own.
      Effect.catchIf(
        (error) => options.below && (error._tag !== "ExtractError" || error.reason === "Changed"),
        ({ message }) => Effect.succeed({ problems: [message], prepared: undefined })
      ),
      Effect.timed
    )
    const one: Checked = { options, zip, ...found, millis: Duration.toMillis(time) }
    return one
  }).pipe((effect) => inFolder({ options }, effect))

const checkAndPrepare = (options: RestoreOptions) =>
  Effect.gen(function* () {
    const archives = yield* PublishedArchives
    const set = yield* openArchive({ ...options, command: (which) => restoreCommand(options, which) })
    const unchanged = yield* prepareUnchanged(options, set)
    if (unchanged !== undefined) return { problems: [], prepared: unchanged }
    const examined = yield* withProgress(set, (onRead) => examineArchive(set, "checksums", onRead))
    const { findings, foreign } = examined
    const { file } = set
    // What lies beside an archive may be damaged and the archive good: such damage must not prevent a restore.
    const zip = namesOf(options.folder, options.which).zip
    const [beside, damage] = Arr.partition(findings, ({ file }) => file === zip)
    if (damage.length > 0 || file === undefined || foreign) {
      if (!isSameArchive(set, yield* archives.open(options.folder, options.which))) {
        const message = `${options.folder}: its archive was replaced again and again while it was looked at; nothing was written`
        return yield* new FindError({ reason: "Changed", message })
      }
      const unknown = damage.find(isOfUnknownContent)
      const problems = foreign
        ? [`nothing was written: ${set.zip} was ${foreignText(set.zip)}`]
        : unknown
          ? [`nothing was written: ${set.zip} ${unknown.problem}; ${unzipText(set.zip)}`]
          : damageText(options, set, findings, yield* hasOther(options))
      return { problems, prepared: undefined }
    }
    const isKnown = hasDigest(set)
    const known = isKnown ? "; the archive itself is good and is restored" : ""
    yield* warnings(beside.map((finding) => `${describeFinding(finding)}${known}`))
    if (!isKnown) {
      yield* Effect.logWarning(`nothing says what ${zip} has to be: only the CRC-32 of each file is checked`)
    }
    const totals = totalsOf(beside.length > 0 ? undefined : set.metadata, examined)
    return { problems: [], prepared: yield* prepare(options, { zip: set.zip, file, ...totals }) }
  }).pipe(Effect.retry({ times: timesAgain, while: (error) => "reason" in error && error.reason === "Changed" }))

/**
 * The plan of an archive whose digests are those that were published: an examination could find no more. It is made while the digests
 * are. Undefined where they differ, or the plan finds something: then the archive is examined.
 */
const prepareUnchanged = Effect.fnUntraced(function* (options: RestoreOptions, set: PublishedArchive) {
  const recorded = recordedArchive(set)
  if (recorded === undefined) return undefined
  const { file, isUnchanged, totals } = recorded
  const archive = { zip: set.zip, file, ...totals }
  const unchanged = withProgress(set, isUnchanged).pipe(Effect.catchTag("HashError", () => Effect.succeed(false)))
  const scope = yield* Effect.acquireRelease(Scope.make(), (made) => Scope.close(made, Exit.void))
  const early = prepare(options, archive, false).pipe(Scope.extend(scope), Effect.either)
  const [isSure, prepared] = yield* Effect.all([unchanged, early], { concurrency: "unbounded" })
  if (isSure && Either.isRight(prepared) && prepared.right.plan.untried.count === 0) return prepared.right
  yield* Scope.close(scope, Exit.void)
  if (!isSure || (Either.isLeft(prepared) && prepared.left._tag === "ArchiveError")) return undefined
  // Nothing is written before the archive is known to be good, not even names that are tried.
  return Either.isLeft(prepared) ? yield* prepared : yield* prepare(options, archive)
})

const prepare = Effect.fnUntraced(function* (
  { below, folder, only, overwrite, sync, to }: RestoreOptions,
  archive: ArchiveToRestore,
  triesNames = true
) {
  const { live } = yield* PublishedArchives
  const name = below ? { name: folder } : {}
  const request = { ...archive, to, ...name, only, overwrite, sync, triesNames, keepOut: [live] }
  return yield* (yield* Extractor).prepare(request)
})

type ArchiveToRestore = Pick<ExtractRequest, "zip" | "file" | "files" | "bytes">

const withProgress = Effect.fnUntraced(function* <A, E, R>(
  set: PublishedArchive,
  check: (onRead: (done: number) => void) => Effect.Effect<A, E, R>
) {
  const show = yield* (yield* Progress).start(`checking ${set.folder}`)
  const total = set.file?.size
  return yield* check((done) => show({ done, total }))
}, Effect.scoped)

/** What the metadata promises; without any to go by, what was found counts. */
const totalsOf = (text: string | undefined, { bytes, files }: Examined) => {
  const metadata = Metadata.parse(text)
  return metadata === undefined ? { files, bytes } : { files: metadata.total_files, bytes: metadata.total_bytes }
}

/** What keeps several archives out together: a pattern that means nothing in any of them, and room that all of them need. */
const commonObstacles = ({ only }: RestoreRequest, ready: ReadonlyArray<Ready>): ReadonlyArray<string> => {
  const plans = ready.map(({ prepared }) => prepared.plan)
  const unmatched = [...new Set(only)].filter((pattern) => plans.every((plan) => plan.unmatched.includes(pattern)))
  if (unmatched.length > 0 && plans.length > 0) return unmatchedLines(unmatched, "these archives")
  return Object.values(Arr.groupBy(plans, ({ device }) => device)).flatMap(roomLines)
}

const carryOut = Effect.fnUntraced(function* (one: Ready, onPlanned: RestoreHooks["onPlanned"]) {
  const { options, prepared, zip } = one
  const { dryRun, plan } = prepared
  yield* warnings([untriedText(plan), spaceText(plan)])
  if (options.below && options.only.length > 0 && plan.unmatched.length === new Set(options.only).size) {
    yield* Effect.logInfo("nothing in it has a name of --only")
    return summaryOf(one, { result: "restored", problems: [], restored: nothingRestored })
  }
  if (onPlanned !== undefined) yield* Stream.runForEach(prepared.files, onPlanned)
  const [time, { isWhole, problems, restored }] = yield* extract(options, prepared).pipe(
    Effect.map((restored) => ({
      restored,
      problems: failureLines(plan, restored),
      isWhole: restored.missing + restored.kept === 0 && restored.unsynced === undefined
    })),
    Effect.catchIf(
      () => options.below,
      ({ message }) => Effect.sync(() => ({ restored: prepared.soFar(), problems: [message], isWhole: false }))
    ),
    Effect.timed
  )
  yield* warnings([privilegedText(plan), ...restored.unremoved])
  const advice = restored.damaged === 0 ? [] : [incompleteText(options, zip, yield* hasOther(options))]
  const result = problems.length > 0 ? "incomplete" : "restored"
  const summary = yield* finish(
    { ...one, millis: one.millis + Duration.toMillis(time) },
    { result, problems: [...problems, ...advice], restored }
  )
  if (isWhole) yield* Effect.logInfo(summaryText(plan, restored, { seconds: summary.seconds, dryRun }))
  return summary
})

const extract = Effect.fnUntraced(function* ({ folder }: RestoreOptions, prepared: PreparedRestore) {
  const { carryOut, plan, soFar, written } = prepared
  const show = yield* (yield* Progress).start(`restoring ${folder}`)
  // Until a sync has ended well, the outcome says that it has not.
  const isSyncing = Effect.sync(() => soFar().unsynced !== undefined)
  const look = Effect.map(isSyncing, (syncing) => {
    show({ done: written(), total: plan.bytes, ...(syncing ? { label: `${folder}: waiting for the disk` } : {}) })
    return syncing
  })
  const often = Schedule.spaced("200 millis")
  yield* look.pipe(
    Effect.repeat({ schedule: often, until: (syncing) => syncing }),
    Effect.zipRight(Effect.logDebug(`waiting for the disk: what was written to ${plan.directory} is being synced`)),
    Effect.zipRight(Effect.repeat(look, often)),
    Effect.forkScoped
  )
  return yield* carryOut
}, Effect.scoped)

/** The last lines about several folders: all that was restored, and the names of the rest. */
const reportTotals = Effect.fnUntraced(function* (
  { dryRun, to }: RestoreRequest,
  folders: ReadonlyArray<RestoreSummary>,
  seconds: number
) {
  const [rest, well] = Arr.partition(folders, ({ result }) => result === "restored")
  // One in which nothing has a name of --only is as it should be, and not restored.
  const some = well.filter(({ restored }) => restored !== nothingRestored)
  const sum = (key: "files" | "bytes") => sumAll(some.map(({ restored }) => restored?.[key] ?? 0))
  const figures = `${count(sum("files"), "file")}, ${bytes(sum("bytes"))}`
  const what = `${dryRun ? "would restore" : "restored"} ${some.length} of ${count(folders.length, "folder")} in ${to}`
  if (some.length > 0) yield* Effect.logInfo(`${what}: ${figures}, ${duration(seconds * 1000)}`)
  const [failed, unsynced] = Arr.partition(rest, isOnlyUnsynced)
  const [missing, partly] = Arr.partition(failed, ({ restored }) => (restored?.files ?? 0) > 0)
  const names = (some: ReadonlyArray<RestoreSummary>) => some.map(({ folder }) => folder).join(", ")
  if (unsynced.length > 0) {
    yield* Effect.logError(`restored, but not synced (a power cut may lose some of it): ${names(unsynced)}`)
  }
  if (partly.length > 0) yield* Effect.logError(`incomplete: ${names(partly)}`)
  if (missing.length > 0) yield* Effect.logError(`not restored: ${names(missing)}`)
})

const isOnlyUnsynced = ({ plan, restored }: RestoreSummary): boolean =>
  restored?.unsynced !== undefined && restored.files === plan?.files && restored.failures.count === 0
