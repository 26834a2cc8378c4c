import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { FolderResult } from "../runs/ArchiveResult.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { Progress } from "../system/Progress.ts"
import { count } from "../text/Text.ts"

/** A folder that a run may have to archive; its uncompressed bytes, when it has an archive. */
interface Expected {
  readonly folder: FolderName
  readonly bytes: number | undefined
}

interface Share {
  readonly done: number
  readonly total: number | undefined
  /** The total is that of the last archive, or unknown: the folder is not listed yet. */
  readonly isGuess: boolean
  readonly ended: boolean
}

/**
 * Adds up how far the folders of a run are. A folder counts with its uncompressed bytes, or while they are unknown with
 * the mean of the others. `done` never falls, and `total`, undefined while no size is known, is never less. It is a guess until
 * every folder was listed.
 */
export const makeRunFigures = (expected: ReadonlyArray<Expected>) => {
  const shares = new Map<FolderName, Share>()
  let folders = 0
  let ended = 0
  let done = 0
  let known = 0
  let unknown = 0
  let guesses = 0

  const take = (share: Share, sign: 1 | -1): void => {
    done += sign * share.done
    known += sign * (share.total ?? 0)
    unknown += share.total === undefined ? sign : 0
    guesses += share.isGuess ? sign : 0
    ended += share.ended ? sign : 0
  }
  const put = (folder: FolderName, share: Share): void => {
    const before = shares.get(folder)
    if (before === undefined) folders += 1
    else take(before, -1)
    take(share, 1)
    shares.set(folder, share)
  }
  const shareOf = (folder: FolderName): Share =>
    shares.get(folder) ?? { done: 0, total: 0, isGuess: false, ended: false }
  for (const { bytes, folder } of expected) put(folder, { done: 0, total: bytes, isGuess: true, ended: false })

  return {
    now: () => {
      const sized = folders - unknown
      const total = sized === 0 && unknown > 0 ? undefined : known + (sized === 0 ? 0 : (unknown * known) / sized)
      const label = `${ended} of ${count(folders, "folder")}`
      return { done, total: total === undefined ? undefined : Math.max(total, done), isGuess: guesses > 0, label }
    },
    /** `part` (0 to 1) of the work on these bytes is done, in whole bytes: sums of fractions could fall. Less than before, or other bytes: a new attempt. */
    reached: (folder: FolderName, bytes: number, part: number): void => {
      const { done } = shareOf(folder)
      const now = Math.max(done, Math.floor(bytes * Math.min(part, 1)))
      put(folder, { done: now, total: Math.max(bytes, now), isGuess: false, ended: false })
    },
    archived: (folder: FolderName): void => {
      const { done, total } = shareOf(folder)
      put(folder, { done: total ?? done, total: total ?? done, isGuess: false, ended: true })
    },
    /** What was done stays, the rest will not be done. */
    failed: (folder: FolderName): void => {
      const { done } = shareOf(folder)
      put(folder, { done, total: done, isGuess: false, ended: true })
    },
    unchanged: (folder: FolderName): void => {
      const share = shares.get(folder)
      if (share === undefined) return
      take(share, -1)
      shares.delete(folder)
      folders -= 1
    }
  }
}

/** How much (0 to 1) of the work on one folder is done: to read its files, and then its zip, each byte as much work. */
export const partOfWork = (work: {
  readonly bytes: number
  readonly read: number
  readonly zipBytes: number
  readonly verified: number
}): number => {
  const all = work.bytes + work.zipBytes
  return all <= 0 ? 0 : Math.min((work.read + work.verified) / all, 1)
}

export type RunProgress = (folder: FolderName) => Effect.Effect<FolderProgress, never, Scope.Scope>

/** Shows how far the work on one folder is: the steps in this order, or from the first again. */
export interface FolderProgress {
  readonly listing: Effect.Effect<void>
  /** The result takes how many of the folder's bytes have been read. */
  readonly archiving: (bytes: number) => Effect.Effect<(read: number) => void>
  /** The result takes how many bytes of the zip have been read back. */
  readonly verifying: (zipBytes: number) => Effect.Effect<(verified: number) => void>
  readonly finishing: Effect.Effect<void>
  readonly ended: (result: FolderResult) => Effect.Effect<void>
}

/** Bytes of a zip per byte in it, for a folder without an archive. */
const usualRatio = 0.5

/** Begins to show the run as a whole, with these folders to be looked at; until the scope closes. */
export const showRun = Effect.fnUntraced(function* (
  folders: ReadonlyArray<FolderName>,
  records: ReadonlyMap<FolderName, FolderRecord>
) {
  const progress = yield* Progress
  const stateOf = (folder: FolderName) => records.get(folder)?.state
  const run = makeRunFigures(folders.map((folder) => ({ folder, bytes: stateOf(folder)?.bytes })))
  const showWhole = yield* progress.start(run.now().label)
  showWhole(run.now())

  const showFolder: RunProgress = Effect.fnUntraced(function* (name) {
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
      finishing: Effect.sync(() => show({ done: work.zipBytes, total: work.zipBytes, label: `${name} finishing` })),
      ended: (result) =>
        Effect.sync(() => {
          run[result.result](name)
          showWhole(run.now())
        })
    } satisfies FolderProgress
  })
  return showFolder
})
