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

/** `Lost`: nothing is left of the published archives. `Changed`: runs keep publishing while the archive is read. */
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
  const { findings, foreign, prepared, set } = yield* checkAndPrepare(options)

  const finish = Effect.fnUntraced(function* (
    result: RestoreSummary["result"],
    problems: ReadonlyArray<string>,
    plan?: RestoreSummary["plan"],
    restored?: RestoreSummary["restored"]
  ) {
    yield* Effect.forEach(problems, (problem) => Effect.logError(problem), { discard: true })
    const seconds = ((yield* Clock.currentTimeMillis) - started) / 1000
    const { folder, which, zip } = set
    return { folder, which, zip, result, plan, restored, problems, seconds } satisfies RestoreSummary
  })

  if (prepared === undefined) {
    const other = yield* isThere(options)
    const why = foreign
      ? [`nothing was written: ${set.zip} was ${foreignText(set.zip)}`]
      : damageText(options, set, findings, other)
    return yield* finish("refused", why)
  }
  const { plan, dryRun, soFar } = prepared
  const obstacles = obstacleLines(plan, { overwrite: options.overwrite, zip: set.zip })
  yield* warnings([leftoverText(plan, options.overwrite && obstacles.length === 0)])
  if (obstacles.length > 0) return yield* finish("refused", obstacles, plan)
  yield* warnings([untriedText(plan), spaceText(plan)])
  const restored = yield* extract(options, prepared).pipe(
    Effect.onInterrupt(() => {
      const there = soFar()
      return Effect.flatMap(finish("incomplete", stoppedLines(plan, there), plan, there), onStopped)
    })
  )
  const losses = failureLines(plan, restored)
  yield* warnings([privilegedText(plan), ...restored.unremoved])
  const summary = yield* finish(losses.length > 0 ? "incomplete" : "restored", losses, plan, restored)
  if (restored.missing + restored.kept > 0) return summary
  yield* Effect.logInfo(summaryText(plan, restored, { seconds: summary.seconds, dryRun }))
  return summary
}, Effect.scoped)

const warnings = (texts: ReadonlyArray<string | undefined>) =>
  Effect.forEach(texts, (text) => (text === undefined ? Effect.void : Effect.logWarning(text)), { discard: true })

/** How often an archive is looked at again that a run replaced meanwhile. */
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
        const message = `${options.folder}: its archive was replaced again and again while it was looked at; nothing was written`
        return yield* new RestoreError({ reason: "Changed", message })
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
const isThere = ({ folder, which }: RestoreOptions) =>
  Effect.flatMap(PublishedArchives, (archives) => archives.open(folder, otherOf(which))).pipe(
    Effect.map((other) => other?.file !== undefined),
    Effect.orElseSucceed(() => false)
  )

const openArchive = Effect.fnUntraced(function* (options: RestoreOptions) {
  const { folder, which } = options
  const archives = yield* PublishedArchives
  const set = yield* archives.open(folder, which)
  if (set !== undefined) return set
  const folders = yield* archives.folders
  if (folders.includes(folder)) {
    return yield* new RestoreError({ reason: "NoArchive", message: noArchiveText(options, yield* isThere(options)) })
  }
  const published = yield* publishedFolders
  yield* Effect.forEach(published.unread, (problem) => Effect.logWarning(problem), { discard: true })
  if (published.folders.includes(folder)) {
    const message = lostText(options, describeFinding(absent(folder, which, true)))
    return yield* new RestoreError({ reason: "Lost", message })
  }
  const known = folders.length === 0 ? "there are none at all" : `there are ${folders.join(", ")}`
  const message = `${archives.target} has no archives of ${folder}: ${known}`
  return yield* new RestoreError({ reason: "UnknownFolder", message })
})

const extract = Effect.fnUntraced(function* ({ folder }: RestoreOptions, { carryOut, plan, written }: PreparedRestore) {
  const show = yield* (yield* Progress).start(`restoring ${folder}`)
  yield* Effect.sync(() => show({ done: written(), total: plan.bytes })).pipe(
    Effect.repeat(Schedule.spaced("200 millis")),
    Effect.forkScoped
  )
  return yield* carryOut
}, Effect.scoped)
