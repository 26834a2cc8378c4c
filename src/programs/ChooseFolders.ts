import * as Effect from "effect/Effect"
import { decide, type Evidence, verdictOn } from "../domain/Changes.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { FolderRecord } from "../domain/FolderState.ts"
import { isGraftedAsBefore, missingWhole } from "../domain/MissingMounts.ts"
import type { FolderResult } from "../domain/RunResult.ts"
import { type SourceView, topSegment } from "../domain/Source.ts"
import type { RecoveryReport } from "../services/Store.ts"
import { Tree } from "../services/Tree.ts"
import type { Candidate } from "./ArchiveFolder.ts"
import { failFolder } from "./FailFolder.ts"
import { asPreflight, SourceEmpty } from "./Preflight.ts"

/** What a run is asked to do. */
export interface Asked {
  /** Short id of this run, in every log line. */
  readonly run: string
  /** Only these folders; all when empty. */
  readonly folders: ReadonlyArray<FolderName>
  /** Archive them whether they changed or not, and read and compress every file. */
  readonly force: boolean
}

/** Names what has archives and is gone. A source where all of it is gone is taken for one that is not mounted. */
export const enumerate = Effect.fnUntraced(function* (
  view: SourceView,
  records: ReadonlyMap<FolderName, FolderRecord>,
  asked: Asked
) {
  const { folders, replaced, skipped, unreadable } = yield* (yield* Tree).folders(view)
  yield* Effect.logDebug(`${folders.length} folders, ${skipped} other entries passed over`)
  const archived = [...records].filter(([, { zipSize }]) => zipSize !== undefined).map(([folder]) => folder)
  const present = new Set(folders)
  const others = new Map(replaced.map(({ folder, type }) => [folder, type]))
  const missing = archived.filter((folder) => !present.has(folder))
  const gone = missing.filter((folder) => !others.has(folder))
  if (folders.length === 0) {
    if (missing.length > 0) return yield* new SourceEmpty({ archived: missing.length })
    yield* Effect.logWarning("the source holds no folder whose name is four upper-case letters or digits")
  }
  const away = gone.flatMap((folder) => {
    const reason = missingWhole(records.get(folder)?.state)
    return reason === undefined ? [] : [{ folder, reason }]
  })
  const removed = gone.filter((folder) => away.every((one) => one.folder !== folder))
  yield* Effect.forEach(removed, (folder) =>
    Effect.annotateLogs(
      Effect.logWarning("is no longer in the source; its archives are kept"),
      "folder",
      folder
    )
  )
  const isChosen = (folder: FolderName) => asked.folders.length === 0 || asked.folders.includes(folder)
  return {
    folders: folders.filter(isChosen),
    unreadable: [
      ...unreadable,
      ...away,
      ...missing.flatMap((folder) => {
        const type = others.get(folder)
        return type === undefined ? [] : [{ folder, reason: replacedText(type) }]
      })
    ].filter(({ folder }) => isChosen(folder))
  }
}, asPreflight)

const replacedText = (type: string): string =>
  `it is a ${type} in the source now, no folder, and is not read: put the folder back, or move its archives out of the target if it is gone for good`

/**
 * Sorts folders into those that may be due, those that did not change, and those that cannot be worked on: asked
 * for and not there, not to be looked at, or with a publication that recovery could neither finish nor undo.
 */
export const detectChanges = Effect.fnUntraced(function* (
  known: {
    readonly view: SourceView
    readonly records: ReadonlyMap<FolderName, FolderRecord>
    readonly evidence: Evidence
    /** SHA-256 of the archives that the evidence speaks of, by folder (Cursor.archives). */
    readonly archives: Readonly<Record<string, string>>
    readonly broken: RecoveryReport["broken"]
  },
  folders: ReadonlyArray<FolderName>,
  asked: Asked
) {
  const { broken, evidence, records, view } = known
  yield* Effect.logDebug(`changes: ${evidence.reason}`)
  const blocked = new Set(view.blocked.map(({ at }) => topSegment(at)))
  const brokenFolders = new Map(broken.map((one) => [one.folder, one]))
  const candidates: Array<Candidate> = []
  const unchanged: Array<FolderResult> = []
  for (const folder of folders) {
    if (brokenFolders.has(folder)) continue
    // A blocked folder is always tried, so that it fails by name instead of passing as unchanged.
    const record = records.get(folder)
    const shown = verdictOn(evidence, folder)
    // A dataset that is not mounted any more shows in no diff.
    const mounted = isGraftedAsBefore(record?.state ?? {}, view, folder)
    const verdict = blocked.has(folder) ? "changed" : shown === "unchanged" && !mounted ? "unknown" : shown
    const decision = decide({ record, verdict, known: known.archives[folder], force: asked.force })
    if (decision._tag === "Unchanged") unchanged.push({ ...decision, folder })
    else candidates.push({ folder, decision, hadFiles: hadFiles(record) })
  }
  const missing = asked.folders.filter((folder) => !folders.includes(folder) && !brokenFolders.has(folder))
  const unworkable = [
    ...(yield* Effect.forEach(missing, noSuchFolder)),
    ...(yield* Effect.forEach(brokenFolders.values(), ({ folder, reason }) =>
      failFolder(asked.run, folder, reason)
    ))
  ]
  return { candidates, unchanged, unworkable }
}, asPreflight)

/** Whether the published archive holds files. Where there is an archive and its state is lost, it is taken to hold some. */
const hadFiles = (record: FolderRecord | undefined): boolean =>
  record?.state === undefined ? record?.zipSize !== undefined : record.state.files > 0

// Nothing is noted of a name that was perhaps only mistyped.
const noSuchFolder = Effect.fnUntraced(
  function* (folder: FolderName) {
    const error = "there is no such folder in the source"
    yield* Effect.logError(error)
    return { _tag: "Failed", folder, error, recorded: true, absent: true } satisfies FolderResult
  },
  (effect, folder) => Effect.annotateLogs(effect, "folder", folder)
)
