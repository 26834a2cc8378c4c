import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { publishedFolders } from "../runs/PublishedFolders.ts"
import { absent, describeFinding, foreignText } from "../runs/VerifyResult.ts"
import { Metadata } from "../store/Metadata.ts"
import { isSameArchive, namesOf, type PublishedArchive, PublishedArchives } from "../store/PublishedArchive.ts"
import { Progress } from "../system/Progress.ts"
import { type Examined, examineArchive } from "../verify/VerifyArchive.ts"
import { Extractor, type PreparedRestore } from "../zip/Archiver.ts"
import {
  failureLines,
  leftoverText,
  obstacleLines,
  privilegedText,
  spaceText,
  stoppedLines,
  summaryText,
  untriedText
} from "../zip/RestorePlan.ts"
import {
  damageText,
  lostText,
  noArchiveText,
  otherOf,
  type RestoreOptions,
  type RestoreSummary
} from "./RestoreResult.ts"

/** There is nothing to restore. `Lost`: runs have published archives, and nothing is left of them. `Changed`: runs keep publishing while it is looked at. */
class RestoreError extends Data.TaggedError("RestoreError")<{
  readonly reason: "UnknownFolder" | "NoArchive" | "Lost" | "Changed"
  readonly message: string
}> {}

/**
 * Puts an archive's content back: finds the archive, checks it, looks at everything in DIR that it would touch, and only then
 * writes. All obstacles are reported before anything is written; what fails afterwards is removed, named and
 * in the summary. Interrupted while it writes, it gives `onStopped` the summary of what is there.
 */
export const restore = Effect.fn("Restore")(function* (
  options: RestoreOptions,
  onStopped: (summary: RestoreSummary) => Effect.Effect<void> = () => Effect.void
) {
  const started = yield* Clock.currentTimeMillis
  const ready = yield* checkAndPrepare(options)
  const { set } = ready

  const finish = Effect.fnUntraced(function* (
    result: RestoreSummary["result"],
    rest: Partial<Pick<RestoreSummary, "plan" | "restored">>,
    problems: ReadonlyArray<string>
  ) {
    yield* Effect.forEach(problems, (problem) => Effect.logError(problem), { discard: true })
    const seconds = ((yield* Clock.currentTimeMillis) - started) / 1000
    const { folder, which, zip } = set
    return {
      folder,
      which,
      zip,
      result,
      plan: undefined,
      restored: undefined,
      ...rest,
      problems,
      seconds
    } satisfies RestoreSummary
  })

  if (ready.prepared === undefined) {
    const other = yield* isThere(options)
    const why = ready.foreign
      ? [`nothing was written: ${set.zip} was ${foreignText(set.zip)}`]
      : damageText(options, set, ready.findings, other)
    return yield* finish("refused", {}, why)
  }
  const { plan, dryRun, soFar } = ready.prepared
  const obstacles = obstacleLines(plan, { overwrite: options.overwrite, zip: set.zip })
  yield* warnings([leftoverText(plan, options.overwrite && obstacles.length === 0)])
  if (obstacles.length > 0) return yield* finish("refused", { plan }, obstacles)
  yield* warnings([untriedText(plan), spaceText(plan)])
  const restored = yield* extract(options, ready.prepared).pipe(
    Effect.onInterrupt(() => {
      const there = soFar()
      return Effect.flatMap(finish("incomplete", { plan, restored: there }, stoppedLines(plan, there)), onStopped)
    })
  )
  const losses = failureLines(plan, restored)
  yield* warnings([privilegedText(plan), ...restored.unremoved])
  const summary = yield* finish(losses.length > 0 ? "incomplete" : "restored", { plan, restored }, losses)
  if (restored.missing + restored.kept > 0) return summary
  yield* Effect.logInfo(summaryText(plan, restored, { seconds: summary.seconds, dryRun }))
  return summary
}, Effect.scoped)

const warnings = (texts: ReadonlyArray<string | undefined>) =>
  Effect.forEach(texts, (text) => (text === undefined ? Effect.void : Effect.logWarning(text)), {
    discard: true
  })

/** A run may publish while the archive is looked at: then it is looked at again. */
const timesAgain = 3

const checkAndPrepare = (options: RestoreOptions) =>
  Effect.gen(function* () {
    const archives = yield* PublishedArchives
    const set = yield* openArchive(options)
    const examined = yield* examineWithProgress(set)
    const { findings, foreign } = examined
    const { file } = set
    // What lies beside an archive may be damaged and the archive good: such damage must not prevent a restore.
    const zip = namesOf(options.folder, options.which).zip
    const [beside, damage] = Arr.partition(findings, ({ file }) => file === zip)
    if (damage.length > 0 || file === undefined || foreign) {
      if (!isSameArchive(set, yield* archives.open(options.folder, options.which))) {
        return yield* new RestoreError({
          reason: "Changed",
          message: `${options.folder}: its archive was replaced again and again while it was looked at; nothing was written`
        })
      }
      return { set, findings, foreign, prepared: undefined }
    }
    yield* Effect.forEach(beside, (finding) =>
      Effect.logWarning(`${describeFinding(finding)}; the archive itself is good and is restored`)
    )
    const prepared = yield* (yield* Extractor).prepare({
      zip: set.zip,
      file,
      ...totalsOf(beside.length > 0 ? undefined : set.metadata, examined),
      to: options.to,
      only: options.only,
      overwrite: options.overwrite,
      keepOut: [archives.target]
    })
    return { set, findings, foreign, prepared }
  }).pipe(
    Effect.retry({ times: timesAgain, while: (error) => "reason" in error && error.reason === "Changed" }),
    Effect.onInterrupt(() => Effect.logError("stopped by a signal: nothing was written"))
  )

const examineWithProgress = Effect.fnUntraced(function* (set: PublishedArchive) {
  const show = yield* (yield* Progress).start(`checking ${set.folder}`)
  const total = set.file?.size
  return yield* examineArchive(set, "checksums", (done) => show({ done, total }))
}, Effect.scoped)

const decodeMetadata = Schema.decodeUnknownOption(Schema.parseJson(Metadata))

/** What the metadata promises; without any to go by, what was found counts. */
const totalsOf = (metadata: string | undefined, { bytes, files }: Examined) =>
  Option.match(decodeMetadata(metadata), {
    onNone: () => ({ files, bytes }),
    onSome: ({ total_bytes, total_files }) => ({ files: total_files, bytes: total_bytes })
  })

/** Whether the folder's other archive is there to be offered: what cannot be looked at is not. */
const isThere = Effect.fnUntraced(function* ({ folder, which }: RestoreOptions) {
  const other = yield* Effect.option((yield* PublishedArchives).open(folder, otherOf(which)))
  return Option.isSome(other) && other.value?.file !== undefined
})

const openArchive = Effect.fnUntraced(function* (options: RestoreOptions) {
  const { folder, which } = options
  const archives = yield* PublishedArchives
  const set = yield* archives.open(folder, which)
  if (set !== undefined) return set
  const folders = yield* archives.folders
  if (!folders.includes(folder)) {
    if ((yield* publishedFolders).includes(folder)) {
      return yield* new RestoreError({
        reason: "Lost",
        message: lostText(options, describeFinding(absent(folder, which, true)))
      })
    }
    const known = folders.length === 0 ? "there are none at all" : `there are ${folders.join(", ")}`
    return yield* new RestoreError({
      reason: "UnknownFolder",
      message: `${archives.target} has no archives of ${folder}: ${known}`
    })
  }
  return yield* new RestoreError({
    reason: "NoArchive",
    message: noArchiveText(options, yield* isThere(options))
  })
})

/** Interval of the progress bar. */
const tick = "200 millis"

const extract = Effect.fnUntraced(function* ({ folder }: RestoreOptions, { carryOut, plan, written }: PreparedRestore) {
  const show = yield* (yield* Progress).start(`restoring ${folder}`)
  yield* Effect.sync(() => show({ done: written(), total: plan.bytes })).pipe(
    Effect.repeat(Schedule.spaced(tick)),
    Effect.forkScoped
  )
  return yield* carryOut
}, Effect.scoped)
