import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { FolderResult } from "../runs/ArchiveResult.ts"
import type { FolderName } from "../source/FolderName.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { Progress } from "../system/Progress.ts"
import { count } from "../text/Text.ts"

/** A folder that a run may have to archive. */
interface Expected {
  readonly folder: FolderName
  /** Uncompressed bytes, as its last archive had them; undefined where there is none. */
  readonly bytes: number | undefined
}

/** How far a whole run is. */
interface RunFigures {
  /** Bytes of the folders, as far as they have been archived and verified. Never becomes less. */
  readonly done: number
  /** At least `done`, and the same at the end. Undefined as long as no folder's size is known. */
  readonly total: number | undefined
  /** `3 of 14 folders`: those that are done, of those that had to be archived as far as is known. */
  readonly label: string
}

/** What the run knows of one folder. */
interface Share {
  readonly done: number
  readonly total: number | undefined
  readonly ended: boolean
}

const nothing: Share = { done: 0, total: 0, ended: true }

/**
 * Adds up how far the folders of a run are. A folder counts with its uncompressed bytes; one of which they are not known
 * yet with the mean of the others. Each call takes the same time, however many folders there are.
 */
export const makeRunFigures = (expected: ReadonlyArray<Expected>) => {
  const shares = new Map<FolderName, Share>()
  let folders = 0
  let ended = 0
  let done = 0
  let known = 0
  let unknown = 0

  const take = (share: Share, sign: 1 | -1): void => {
    done += sign * share.done
    known += sign * (share.total ?? 0)
    unknown += share.total === undefined ? sign : 0
    ended += share.ended ? sign : 0
  }
  const put = (folder: FolderName, share: Share): void => {
    const before = shares.get(folder)
    if (before === undefined) folders += 1
    else take(before, -1)
    take(share, 1)
    shares.set(folder, share)
  }
  const shareOf = (folder: FolderName): Share => shares.get(folder) ?? { ...nothing, ended: false }
  for (const { bytes, folder } of expected) put(folder, { done: 0, total: bytes, ended: false })

  return {
    now: (): RunFigures => {
      const sized = folders - unknown
      const total = sized === 0 && unknown > 0 ? undefined : known + (sized === 0 ? 0 : (unknown * known) / sized)
      return {
        done,
        total: total === undefined ? undefined : Math.max(total, done),
        label: labelOf(ended, folders)
      }
    },
    /** So much (0 to 1) of the folder's work is done, and it has so many bytes. Less than before, or other bytes: it is tried again. */
    reached: (folder: FolderName, bytes: number, part: number): void => {
      const { done } = shareOf(folder)
      const now = Math.max(done, bytes * Math.min(part, 1))
      put(folder, { done: now, total: Math.max(bytes, now), ended: false })
    },
    /** The folder is archived. */
    archived: (folder: FolderName): void => {
      const { done, total } = shareOf(folder)
      put(folder, { done: total ?? done, total: total ?? done, ended: true })
    },
    /** The folder failed: what was done of it stays, the rest will not be done. */
    failed: (folder: FolderName): void => {
      const { done } = shareOf(folder)
      put(folder, { done, total: done, ended: true })
    },
    /** The folder need not be archived: it does not count. */
    unchanged: (folder: FolderName): void => {
      const share = shares.get(folder)
      if (share === undefined) return
      take(share, -1)
      shares.delete(folder)
      folders -= 1
    }
  }
}

const labelOf = (ended: number, folders: number): string => `${ended} of ${count(folders, "folder")}`

/**
 * How much (0 to 1) of the work on one folder is done: its files have to be read, and then its zip. One byte is as much work
 * as another, which is about right for what is compressed (slow to make, small to read back) and for what is stored.
 */
export const partOfWork = (work: {
  /** Uncompressed bytes of the folder, and how many of them have been read. */
  readonly bytes: number
  readonly read: number
  /** Bytes of the zip, or what they will be about; how many of them have been verified. */
  readonly zipBytes: number
  readonly verified: number
}): number => {
  const all = work.bytes + work.zipBytes
  return all <= 0 ? 0 : Math.min((work.read + work.verified) / all, 1)
}

/** Shows how far a run is. */
export interface RunProgress {
  /** Begins to show a folder; until the scope closes. */
  readonly folder: (folder: FolderName) => Effect.Effect<FolderProgress, never, Scope.Scope>
}

/** Shows how far the work on one folder is: the steps in this order, or from the first again. */
export interface FolderProgress {
  /** Its files are listed. */
  readonly listing: Effect.Effect<void>
  /** It is archived; the result takes how many of its bytes have been read. */
  readonly archiving: (bytes: number) => Effect.Effect<(read: number) => void>
  /** Its zip is read back; the result takes how many bytes of it have been. */
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
      finishing: Effect.sync(() => show({ done: work.zipBytes, total: work.zipBytes, label: `${name} finishing` })),
      ended: (result) =>
        Effect.sync(() => {
          run[result.result](name)
          showWhole(run.now())
        })
    } satisfies FolderProgress
  })
  return { folder } satisfies RunProgress
})

const ignored = Effect.succeed(() => {})
const unseen: FolderProgress = {
  listing: Effect.void,
  archiving: () => ignored,
  verifying: () => ignored,
  finishing: Effect.void,
  ended: () => Effect.void
}
