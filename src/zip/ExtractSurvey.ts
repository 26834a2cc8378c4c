import { pathMatcher } from "../text/Glob.ts"
import * as RawPath from "../text/RawPath.ts"
import { checkForm, checkOddNames, noFolder, type OddName, oddName, orderProblem, pathOf } from "./EntryRules.ts"
import { type Folder, split } from "./ExtractFolders.ts"
import { type FileId, mark } from "./ExtractShared.ts"
import {
  type ExtractRequest,
  findLeftovers,
  type Leftover,
  leftoverPath,
  lookAt,
  type Target
} from "./ExtractTarget.ts"
import { findMeeting, makeTwins, type Twins } from "./ExtractTwins.ts"
import type { ZipEntry } from "./Headers.ts"
import { type Conflict, gather, type NamePair, type RestorePlan, someOf } from "./RestorePlan.ts"
import { damaged, need } from "./ZipError.ts"

/** Files that are looked at at a time: enough to keep the disk busy. */
const atOnce = 64

export interface PlanOptions {
  /** Name of a folder in which names that may be one in DIR are tried; undefined: nothing may be written. */
  readonly temporary: RawPath.RawPath | undefined
  /** How many files are written at the same time. */
  readonly writers: number
}

/** Takes the (at most `most`) entries of a zip in their order, and finds out what is to be done in DIR and what is in the way there. */
export const makeSurvey = (
  request: ExtractRequest,
  target: Target,
  most: number,
  { temporary, writers }: PlanOptions
) => {
  const { overwrite, zip } = request
  const root: Folder = {
    path: RawPath.here,
    parent: undefined,
    mode: 0,
    seconds: 0,
    chosen: request.only.length === 0,
    needed: true,
    state: target.id === undefined ? "absent" : "present",
    id: target.id
  }
  const entries = entryChecker(root, request)
  const indexOf = new Map<Folder, number>([[root, 0]])
  const choose = makeChooser(request.only)
  const marks = new Uint8Array(most)
  const parents = new Uint32Array(most)
  const conflicts = gather<Conflict>()
  const privileged = gather<string>()
  /** With every file of its full size, and with as many zeros as there can be. */
  const space = makeSpace(writers)
  const least = makeSpace(writers)
  const twins = makeTwins()
  /** By both names, since two folders that are one may be found in two ways. */
  const meeting = new Map<string, Pair>()
  const folderAt = new Map<string, RawPath.RawPath>()
  const leftovers = new Map<RawPath.RawPath, Leftover>()
  const totals = { files: 0, replaced: 0, folders: 0 }
  let index = -1
  let looking: Array<Promise<void>> = []
  let failed: { readonly cause: unknown } | undefined

  const addConflict = (path: RawPath.RawPath, is: Conflict["is"], wanted: Conflict["wanted"]): void =>
    conflicts.add(() => ({ path: RawPath.display(path), is, wanted }))

  const finishLooks = async (): Promise<void> => {
    const all = looking
    looking = []
    await Promise.all(all)
    if (failed !== undefined) throw failed.cause
    space.settle()
    least.settle()
  }

  // A failure is kept until `finishLooks`: a rejection that is not handled yet would end the process.
  const lookLater = (work: Promise<void>): void => {
    looking.push(
      work.catch((cause: unknown) => {
        failed ??= { cause }
      })
    )
  }

  const lookForLeftovers = async (folder: Folder): Promise<void> => {
    for (const leftover of await findLeftovers(RawPath.join(target.path, folder.path), folder)) {
      leftovers.set(leftoverPath(leftover), leftover)
    }
  }

  const meet = (pair: Pair): void => {
    meeting.set(`${pair.first}\0${pair.second}`, pair)
  }

  /** One folder at two places of DIR, by a second mount or by names that are one there. */
  const noteFolder = (path: RawPath.RawPath, { dev, ino }: FileId): void => {
    const key = `${dev}:${ino}`
    const first = folderAt.get(key)
    if (first === undefined) folderAt.set(key, path)
    else meet({ first, second: path })
  }

  // Those above it first: in what is not there nothing is looked for.
  const needFolder = async (folder: Folder): Promise<void> => {
    if (folder.needed || folder.parent === undefined) return
    folder.needed = true
    await needFolder(folder.parent)
    twins.add(folder.parent, folder.path)
    folder.state = folder.parent.state
    if (folder.state === "present") {
      const occupant = await lookAt(RawPath.join(target.path, folder.path))
      if (occupant === undefined) folder.state = "absent"
      else if (occupant.is === "directory" && !target.isKept(occupant)) {
        folder.id = { dev: occupant.dev, ino: occupant.ino }
        noteFolder(folder.path, occupant)
        await lookForLeftovers(folder)
      } else {
        folder.state = "blocked"
        addConflict(folder.path, occupant.is === "directory" ? "archives" : occupant.is, "directory")
      }
    }
    if (folder.state === "absent") totals.folders += 1
  }

  const lookForFile = async (at: number, path: RawPath.RawPath, entry: ZipEntry): Promise<void> => {
    // The archive has a file of that name: it is one of its own.
    leftovers.delete(path)
    const occupant = await lookAt(RawPath.join(target.path, path))
    if (occupant === undefined) return
    if (occupant.is !== "file" || !overwrite) return addConflict(path, occupant.is, "file")
    marks[at] = mark.replace
    totals.replaced += 1
    space.replaces(entry.size, occupant.freed)
    least.replaces(leastOf(entry), occupant.freed)
  }

  const addFolder = async (entry: ZipEntry, { parent, path }: EntryPlace): Promise<void> => {
    const { mode, seconds } = entry
    const chosen = choose(entry, parent)
    const attributes = { path, parent, mode, seconds, chosen }
    const folder: Folder = { ...attributes, needed: false, state: "absent", id: undefined }
    entries.add(folder)
    indexOf.set(folder, indexOf.size)
    if (chosen) await needFolder(folder)
  }

  const addFile = async (entry: ZipEntry, { parent, path }: EntryPlace): Promise<void> => {
    if (!choose(entry, parent)) return
    if (!parent.needed) await needFolder(parent)
    twins.add(parent, path)
    marks[index] = mark.create
    totals.files += 1
    space.writes(entry.size)
    least.writes(leastOf(entry))
    if ((entry.mode & privilegedBits) !== 0) privileged.add(() => RawPath.display(path))
    if (parent.state !== "present") return
    lookLater(lookForFile(index, path, entry))
    if (looking.length >= atOnce) await finishLooks()
  }

  const placeOf = (entry: ZipEntry): EntryPlace => {
    try {
      return entries.place(entry)
    } catch (cause) {
      return damaged(zip, entry.name)(cause)
    }
  }

  const add = (entry: ZipEntry): Promise<void> => {
    index += 1
    const place = placeOf(entry)
    parents[index] = indexOf.get(place.parent) ?? 0
    return entry.kind === "directory" ? addFolder(entry, place) : addFile(entry, place)
  }

  const begin = async (): Promise<void> => {
    if (root.state === "present") await lookForLeftovers(root)
  }

  const end = async () => {
    await finishLooks()
    try {
      entries.end()
    } catch (cause) {
      damaged(zip)(cause)
    }
    const found = await findMeeting(twins.found(), target, temporary)
    found.meeting.forEach(meet)
    if (overwrite) {
      for (const { freed } of leftovers.values()) {
        space.removes(freed)
        least.removes(freed)
      }
    }
    const plan: RestorePlan = {
      ...totals,
      directory: RawPath.display(target.path),
      makesDirectory: target.id === undefined,
      bytes: space.bytes(),
      conflicts: conflicts.some(),
      meeting: someOf(meeting.values(), displayPair),
      untried: someOf(found.untried, displayPair),
      unmatched: choose.unmatched(),
      privileged: privileged.some(),
      free: target.free,
      needed: least.needed(),
      neededAtMost: space.needed(),
      leftovers: someOf(leftovers.keys(), RawPath.display)
    }
    return {
      plan,
      /** In the order of the archive, DIR first. */
      folders: [...entries.folders()],
      /** For each entry, see {@link mark}. */
      marks,
      /** For each entry the index of the folder that it lies in. */
      parents,
      /** Of restores that were killed, in folders that are written to. */
      leftovers: [...leftovers.values()]
    }
  }

  return { begin, add, end }
}

type Pair = Pick<Twins, "first" | "second">

const displayPair = ({ first, second }: Pair): NamePair => [RawPath.display(first), RawPath.display(second)]

/** setuid and setgid. */
const privilegedBits = 0o6000

/** Whether an entry is wanted: it or a folder that it lies in is meant by one of the patterns. */
const makeChooser = (only: ReadonlyArray<string>) => {
  const patterns = [...new Set(only)].map((pattern) => ({ pattern, matches: pathMatcher(pattern) }))
  const unmatched = new Set(only)
  const choose = ({ kind, name }: ZipEntry, parent: Folder): boolean => {
    if (parent.chosen && unmatched.size === 0) return true
    const text = name.toString("utf8", 0, kind === "directory" ? name.length - 1 : name.length)
    let chosen = parent.chosen
    for (const { matches, pattern } of patterns) {
      if (!matches(text)) continue
      chosen = true
      unmatched.delete(pattern)
      if (unmatched.size === 0) break
    }
    return chosen
  }
  return Object.assign(choose, { unmatched: (): ReadonlyArray<string> => [...unmatched] })
}

interface EntryPlace {
  readonly path: RawPath.RawPath
  /** The folder that it lies in. */
  readonly parent: Folder
}

/**
 * Checks, entry by entry, that a zip is one that can be written to a folder: names as this program gives them, each once, below
 * folders that stand before them; nothing but files and folders; sizes that can be, and together are `totals`.
 * Throws what is wrong with the entry at hand.
 */
const entryChecker = (root: Folder, totals: Pick<ExtractRequest, "files" | "bytes">) => {
  const folders = new Map<RawPath.RawPath, Folder>([[root.path, root]])
  const odd: Array<OddName> = []
  let previous: RawPath.RawPath | undefined
  let files = 0
  let bytes = 0

  const place = (entry: ZipEntry): EntryPlace => {
    const { kind, size } = entry
    const path = pathOf(entry)
    const strange = oddName(entry, path)
    if (strange !== undefined) odd.push(strange)
    const misplaced = orderProblem(previous, path)
    if (misplaced !== undefined) throw new Error(misplaced)
    previous = path
    checkForm(entry)
    const parent = folders.get(split(path).parent)
    need(parent !== undefined, noFolder)
    if (kind === "file") files += 1
    bytes += size
    need(files <= totals.files, `the archive should have ${totals.files} files, and this is one more`)
    need(bytes <= totals.bytes, `the archive should have ${totals.bytes} bytes, and with this it has ${bytes}`)
    return { path, parent }
  }

  return {
    place,
    add: (folder: Folder): void => {
      folders.set(folder.path, folder)
    },
    end: (): void => {
      need(
        files === totals.files && bytes === totals.bytes,
        `it has ${files} files and ${bytes} bytes, and should have ${totals.files} and ${totals.bytes}`
      )
      checkOddNames(odd)
    },
    folders: (): Iterable<Folder> => folders.values()
  }
}

/** zlib makes at least one byte of so many zeros. */
const zerosPerByte = 1000

/**
 * Bytes that an entry takes on the disk in any case. Whole blocks of zeros take none, and only the data tell how many there are:
 * what is not zeros takes at least as much as it is compressed to. What is stored did not shrink.
 */
const leastOf = ({ compressedSize, method, size }: ZipEntry): number =>
  method === "store" ? size : Math.min(size, Math.max(0, compressedSize - Math.ceil(size / zerosPerByte) - overhead))

/** Bytes of a DEFLATE stream that holds nothing. */
const overhead = 16

/**
 * Adds up the room that a restore needs, in the order in which files are written: what takes the place of another file frees
 * that one's room only once it is complete, and `writers` of them are at work at the same time.
 */
export const makeSpace = (writers: number) => {
  /** The largest of those that replace others, largest first. */
  const largest: Array<number> = []
  let bytes = 0
  let freed = 0
  let removed = 0
  let peak = 0
  return {
    /** A file is written: its size. */
    writes: (size: number): void => {
      bytes += size
    },
    /** One that was counted so takes the place of another one, which has `free` bytes for itself. */
    replaces: (size: number, free: number): void => {
      freed += free
      if (largest.length === writers && size <= (largest.at(-1) ?? 0)) return
      const index = largest.findIndex((each) => each < size)
      largest.splice(index === -1 ? largest.length : index, 0, size)
      if (largest.length > writers) largest.pop()
    },
    /** Something else is removed before anything is written. */
    removes: (size: number): void => {
      removed += size
    },
    /** Everything that was counted so far has been looked at. */
    settle: (): void => {
      peak = Math.max(peak, bytes - freed)
    },
    bytes: (): number => bytes,
    /** More than is free already. */
    needed: (): number => {
      const atOnce = largest.reduce((sum, size) => sum + size, 0)
      return Math.max(0, peak - removed + atOnce)
    }
  }
}
