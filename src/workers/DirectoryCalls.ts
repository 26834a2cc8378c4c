import * as fs from "node:fs"
import { promisify } from "node:util"

/** A path as node:fs takes it: text where it is ASCII, which costs least, or else its bytes. */
export type DirectoryPath = string | Buffer

/** How a thread looks at directories. */
export interface DirectoryCalls {
  readonly open: (path: Buffer, flags: number) => Promise<number>
  /** The names in a directory, a character a byte, in no order. */
  readonly names: (path: DirectoryPath) => Promise<ReadonlyArray<string>>
  /** `lstat`, in nanoseconds. */
  readonly lstat: (path: DirectoryPath) => Promise<fs.BigIntStats>
  /** The number by which the kernel knows the type of the file system, on Linux. */
  readonly fileSystemType: (path: DirectoryPath) => Promise<bigint>
  /**
   * `lstat` of the paths of 0 to `count - 1`; `take`, which must not throw, gets what comes of it
   * in order. Rejects with {@link Unseen} at the first failure, when none is under way any more.
   */
  readonly lstats: (
    count: number,
    path: (index: number) => DirectoryPath,
    take: (index: number, stats: fs.BigIntStats) => void,
    signal: AbortSignal
  ) => Promise<void>
}

/** `lstat` failed for the path of this index. */
export class Unseen extends Error {
  readonly index: number
  constructor(index: number, cause: unknown) {
    super("lstat failed", { cause })
    this.index = index
  }
}

/** Enough to keep the kernel busy; node has four threads for it anyway. */
const atOnce = 16

const nanoseconds = { bigint: true } as const

const names = (path: DirectoryPath): Promise<ReadonlyArray<string>> =>
  new Promise((resolve, reject) => {
    // latin1 gives one character a byte: a Buffer a name costs ten times the memory.
    fs.readdir(path, { encoding: "latin1" }, (error, found) =>
      error === null ? resolve(found) : reject(error)
    )
  })

const lstat = (path: DirectoryPath): Promise<fs.BigIntStats> =>
  new Promise((resolve, reject) => {
    fs.lstat(path, nanoseconds, (error, stats) => (error === null ? resolve(stats) : reject(error)))
  })

const fileSystemType = (path: DirectoryPath): Promise<bigint> =>
  new Promise((resolve, reject) => {
    fs.statfs(path, nanoseconds, (error, stats) => (error === null ? resolve(stats.type) : reject(error)))
  })

const lstats: DirectoryCalls["lstats"] = (count, path, take, signal) =>
  new Promise((resolve, reject) => {
    const early = new Map<number, fs.BigIntStats>()
    let next = 0
    let taken = 0
    let active = 0
    let failure: { readonly cause: unknown } | undefined
    const inTurn = (): void => {
      for (let stats = early.get(taken); stats !== undefined; stats = early.get(taken)) {
        early.delete(taken)
        take(taken, stats)
        taken += 1
      }
    }
    const goOn = (): void => {
      while (next < count && active < atOnce && failure === undefined) {
        if (signal.aborted) {
          failure = { cause: signal.reason }
          break
        }
        const index = next
        next += 1
        active += 1
        fs.lstat(path(index), nanoseconds, (error, stats) => {
          active -= 1
          if (error === null) early.set(index, stats)
          else failure ??= { cause: new Unseen(index, error) }
          inTurn()
          goOn()
        })
      }
      if (active > 0) return
      if (failure === undefined) resolve()
      else reject(failure.cause)
    }
    goOn()
  })

const lstatNow = (path: DirectoryPath, index: number): fs.BigIntStats => {
  try {
    return fs.lstatSync(path, nanoseconds)
  } catch (cause) {
    throw new Unseen(index, cause)
  }
}

/**
 * For the main thread, which must not wait for a disk: several at once, on node's own threads. Pure, so that the worker's
 * program goes without it.
 */
export const waiting: DirectoryCalls = {
  open: /* @__PURE__ */ promisify(fs.open),
  names,
  lstat,
  fileSystemType,
  lstats
}

/** For a worker thread, which may wait: a call through node's threads costs three times the call itself. */
export const blocking: DirectoryCalls = {
  open: async (path, flags) => fs.openSync(path, flags),
  names: async (path) => fs.readdirSync(path, { encoding: "latin1" }),
  lstat: async (path) => fs.lstatSync(path, nanoseconds),
  fileSystemType: async (path) => fs.statfsSync(path, nanoseconds).type,
  lstats: async (count, path, take, signal) => {
    signal.throwIfAborted()
    for (let index = 0; index < count; index += 1) take(index, lstatNow(path(index), index))
  }
}
