import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { FolderName } from "../domain/FolderName.ts"
import type { FolderRecord } from "../domain/FolderState.ts"
import { makeRunFigures, partOfWork } from "../domain/Progress.ts"
import type { FolderResult } from "../domain/RunResult.ts"
import { Progress } from "../services/Progress.ts"

/** Shows how far a run is. */
export interface RunProgress {
  /** Begins to show a folder; until the scope closes. */
  readonly folder: (folder: FolderName) => Effect.Effect<FolderProgress, never, Scope.Scope>
}

/** Shows how far the work on one folder is: the steps in this order, or from the first again. */
export interface FolderProgress {
  /** Its files are listed. */
  readonly listing: Effect.Effect<void>
  /** It is archived; what this gives is told how many of its bytes have been read. */
  readonly archiving: (bytes: number) => Effect.Effect<(read: number) => void>
  /** Its zip is read back; what this gives is told how many bytes of it have been. */
  readonly verifying: (zipBytes: number) => Effect.Effect<(verified: number) => void>
  /** Its zip is good, and gets to the disk and to its place. */
  readonly finishing: Effect.Effect<void>
  /** What became of it. */
  readonly ended: (result: FolderResult) => Effect.Effect<void>
}

/** What a zip is taken to need of the bytes in it, where no archive before tells. */
const usualRatio = 0.5

/** Begins to show the run as a whole, with these folders to be looked at; until the scope closes. */
export const showRun = Effect.fnUntraced(function* (
  folders: ReadonlyArray<FolderName>,
  records: ReadonlyMap<FolderName, FolderRecord>
) {
  const progress = yield* Progress
  if (folders.length === 0) return { folder: () => Effect.succeed(unseen) } satisfies RunProgress
  const stateOf = (folder: FolderName) => records.get(folder)?.state
  const run = makeRunFigures(folders.map((folder) => ({ folder, bytes: stateOf(folder)?.bytes })))
  const showWhole = yield* progress.start(run.now().label)
  showWhole(run.now())

  const folder = Effect.fnUntraced(function* (name: FolderName) {
    const show = yield* progress.start(`${name} listing`)
    const state = stateOf(name)
    const ratio = state === undefined || state.bytes === 0 ? usualRatio : state.zip_size / state.bytes
    let work = { bytes: 0, read: 0, zipBytes: 0, verified: 0 }
    const reached = (now: Partial<typeof work>): void => {
      work = { ...work, ...now }
      run.reached(name, work.bytes, partOfWork(work))
      showWhole(run.now())
    }
    return {
      listing: Effect.sync(() => show({ done: 0, total: undefined, label: `${name} listing` })),
      archiving: (bytes) =>
        Effect.sync(() => {
          show({ done: 0, total: bytes, label: name })
          reached({ bytes, read: 0, zipBytes: bytes * ratio, verified: 0 })
          return (read) => {
            show({ done: read, total: bytes })
            reached({ read })
          }
        }),
      verifying: (zipBytes) =>
        Effect.sync(() => {
          show({ done: 0, total: zipBytes, label: `${name} verifying` })
          reached({ read: work.bytes, zipBytes })
          return (verified) => {
            show({ done: verified, total: zipBytes })
            reached({ verified })
          }
        }),
      finishing: Effect.sync(() =>
        show({ done: work.zipBytes, total: work.zipBytes, label: `${name} finishing` })
      ),
      ended: (result) =>
        Effect.sync(() => {
          endedAs[result._tag](run, name)
          showWhole(run.now())
        })
    } satisfies FolderProgress
  })
  return { folder } satisfies RunProgress
})

const endedAs = {
  Archived: ({ archived }, folder) => archived(folder),
  Failed: ({ failed }, folder) => failed(folder),
  Unchanged: ({ unchanged }, folder) => unchanged(folder)
} satisfies Record<FolderResult["_tag"], (run: ReturnType<typeof makeRunFigures>, folder: FolderName) => void>

const ignored = Effect.succeed(() => {})
const unseen: FolderProgress = {
  listing: Effect.void,
  archiving: () => ignored,
  verifying: () => ignored,
  finishing: Effect.void,
  ended: () => Effect.void
}
