import type { BigIntStats } from "node:fs"
import * as RawPath from "../../domain/RawPath.ts"
import { type Columns, makeRows, type Rows } from "../../services/tree/Columns.ts"
import { isControlDirectory, mustBeEmpty } from "../../services/tree/Mounts.ts"
import { failed, namesLogged, type Skipped, typeOf } from "../../services/tree/Reading.ts"
import { TreeError } from "../../services/tree/TreeError.ts"
import { type DirectoryCalls, type DirectoryPath, Unseen } from "../DirectoryCalls.ts"

/** A directory of the source, or a piece of a large one that is listed already. Paths hold a byte a character. */
export interface ToList {
  /** Relative to the source. */
  readonly path: RawPath.RawPath
  /** Where it really is. */
  readonly real: RawPath.RawPath
  /** A child dataset is mounted on it. */
  readonly mounted: boolean
  /** The child datasets that are mounted right in it: name, and where it really is. */
  readonly grafts: ReadonlyArray<readonly [name: RawPath.RawPath, root: RawPath.RawPath]>
  /** Of a piece: the names to look at, in order, with `/` between them. */
  readonly names?: string
}

/** Look at everything that lies in directories. */
export interface ListInput {
  /** The view's, see SourceView. */
  readonly frozen: boolean
  readonly livePath: RawPath.RawPath | undefined
  /** Of the paths relative to the source, how many characters lead to the folder: they are left out of the answer. */
  readonly within: number
  /** No directory is begun once there are so many entries. */
  readonly enough: number
  readonly directories: ReadonlyArray<ToList>
}

/** What lies in a directory: entries of the answer, or the pieces that it has to be asked for in. */
export interface Listed {
  /** Its entries are those from here on, in byte order … */
  readonly from: number
  /** … up to this one, without it. */
  readonly to: number
  /** Those of them that are directories. */
  readonly directories: ReadonlyArray<number>
  /** Too many names for one answer: see ToList.names. Then there are no entries. */
  readonly pieces: ReadonlyArray<string>
}

/** What was found. */
export interface Found extends Columns {
  /** In the order of the input's directories, and perhaps not for the last ones. */
  readonly listed: ReadonlyArray<Listed>
  /** All paths are ASCII. */
  readonly ascii: boolean
  readonly files: number
  /** Sum of the files' sizes. */
  readonly bytes: number
  readonly hardLinks: boolean
  readonly skipped: number
  /** The first of the skipped. */
  readonly skippedNames: ReadonlyArray<Skipped>
}

/** As data, since an error loses its class between threads. */
export type ListOutput =
  | Found
  | { readonly failure: { readonly path: string; readonly message: string; readonly transient: boolean } }

/** A directory of more names is shared out. */
const pieceNames = 1024

/** Every name is asked for with lstat: what readdir says of types may be "unknown". */
export const list =
  (calls: DirectoryCalls) =>
  async (input: ListInput, signal: AbortSignal): Promise<ListOutput> => {
    const batch = makeBatch(input, calls)
    try {
      for (const directory of input.directories) {
        if (batch.rows.count() >= input.enough) break
        signal.throwIfAborted()
        await batch.list(directory, signal)
      }
    } catch (cause) {
      if (!(cause instanceof TreeError)) throw cause
      const { message, path, transient } = cause
      return { failure: { path, message, transient } }
    }
    return batch.found()
  }

const makeBatch = (input: ListInput, calls: DirectoryCalls) => {
  const rows: Rows = makeRows()
  const listed: Array<Listed> = []
  const skippedNames: Array<Skipped> = []
  let ascii = true
  let files = 0
  let bytes = 0
  let hardLinks = false
  let skipped = 0

  const add = (directory: ToList, name: RawPath.RawPath, stats: BigIntStats): void => {
    const path = RawPath.fromLatin1(RawPath.join(directory.path, name).slice(input.within))
    const kind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : undefined
    if (kind === undefined || isControlDirectory(name, stats)) {
      skipped += 1
      if (skippedNames.length < namesLogged) skippedNames.push({ path, type: typeOf(stats) })
      return
    }
    const size = kind === "file" ? Number(stats.size) : 0
    if (kind === "file") {
      files += 1
      bytes += size
      if (stats.nlink > 1n) hardLinks = true
    }
    rows.add(path, kind, size, stats)
  }

  const look = async (directory: ToList, names: ReadonlyArray<RawPath.RawPath>, signal: AbortSignal) => {
    const roots = new Map(directory.grafts)
    const real = (index: number): RawPath.RawPath => {
      const name = names[index] ?? RawPath.here
      return roots.get(name) ?? RawPath.join(directory.real, name)
    }
    const shown = (index: number) => RawPath.join(directory.path, names[index] ?? RawPath.here)
    const plain = RawPath.isAscii(names.join("/"))
    const simple = plain && roots.size === 0 && RawPath.isAscii(directory.real)
    ascii &&= plain && RawPath.isAscii(directory.path)
    let notMounted: number | undefined
    await calls
      .lstats(
        names.length,
        (index): DirectoryPath => (simple ? real(index) : RawPath.toBuffer(real(index))),
        (index, stats) => {
          const name = names[index] ?? RawPath.here
          if (roots.has(name) && !stats.isDirectory()) notMounted ??= index
          add(directory, name, stats)
        },
        signal
      )
      .catch((cause: unknown) => {
        if (!(cause instanceof Unseen)) throw cause
        throw failed(input, "read", shown(cause.index), real(cause.index), cause.cause)
      })
    if (notMounted === undefined) return
    throw failed(input, "list", shown(notMounted), real(notMounted), new Error("it is no directory"))
  }

  const list = async (directory: ToList, signal: AbortSignal): Promise<void> => {
    const from = rows.count()
    const names = await namesOf(directory, calls, input)
    if (names.length === 0 && !directory.mounted) await mustBeEmpty(input, directory.path, calls)
    const whole = directory.names !== undefined || names.length <= pieceNames
    if (whole) await look(directory, names, signal)
    listed.push({
      from,
      to: rows.count(),
      directories: rows.directories(from),
      pieces: whole ? [] : cut(names)
    })
  }

  const found = (): Found => ({
    listed,
    ascii,
    files,
    bytes,
    hardLinks,
    skipped,
    skippedNames,
    ...rows.pack()
  })

  return { rows, list, found }
}

/** In byte order, with the child datasets that the directory does not show. */
const namesOf = async (
  directory: ToList,
  calls: DirectoryCalls,
  input: ListInput
): Promise<ReadonlyArray<RawPath.RawPath>> => {
  if (directory.names !== undefined) return directory.names.split("/").map(RawPath.fromLatin1)
  const found = await calls.names(RawPath.toBuffer(directory.real)).catch((cause: unknown) => {
    throw failed(input, "list", directory.path, directory.real, cause)
  })
  const all =
    directory.grafts.length === 0
      ? [...found]
      : [...new Set([...found, ...directory.grafts.map(([name]) => name)])]
  return all.sort().map(RawPath.fromLatin1)
}

const cut = (names: ReadonlyArray<RawPath.RawPath>): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  for (let from = 0; from < names.length; from += pieceNames) {
    pieces.push(names.slice(from, from + pieceNames).join("/"))
  }
  return pieces
}
