import { pathMatcher } from "../text/Glob.ts"
import * as RawPath from "../text/RawPath.ts"
import {
  checkForm,
  checkOddNames,
  checkOrder,
  noFolder,
  type OddName,
  oddName,
  pathOf
} from "./EntryRules.ts"
import { type Folder, type FolderId, mark, split } from "./ExtractFolders.ts"
import {
  type ExtractPlan,
  type ExtractRequest,
  findLeftovers,
  type Leftover,
  leftoverPath,
  lookAt,
  type Target
} from "./ExtractTarget.ts"
import { findMeeting, makeTwins, type Twins } from "./ExtractTwins.ts"
import type { ZipEntry } from "./Headers.ts"
import { type Conflict, gather, type NamePair } from "./RestorePlan.ts"
import { damaged, need } from "./ZipError.ts"

/** Whether an entry is wanted: it or a folder that it lies in is meant by one of the patterns. */
export const makeChooser = (only: ReadonlyArray<string>) => {
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

/** An entry's place. */
export interface Place {
  readonly path: RawPath.RawPath
  /** The folder that it lies in. */
  readonly parent: Folder
}

/** What the archive has to come to. */
interface Totals {
  readonly files: number
  readonly bytes: number
}

/**
 * Checks, entry by entry, that a zip is one that can be written to a folder: names as this program gives them, each once, below
 * folders that stand before them; nothing but files and folders; sizes that can be, and together are `totals`.
 * Throws what is wrong with the entry at hand.
 */
export const entryChecker = (root: Folder, totals: Totals) => {
  const folders = new Map<RawPath.RawPath, Folder>([[root.path, root]])
  const odd: Array<OddName> = []
  let previous: RawPath.RawPath | undefined
  let files = 0
  let bytes = 0

  const place = (entry: ZipEntry): Place => {
    const { kind, size } = entry
    const path = pathOf(entry)
    const strange = oddName(entry, path)
    if (strange !== undefined) odd.push(strange)
    checkOrder(previous, path)
    previous = path
    checkForm(entry)
    const parent = folders.get(split(path).parent)
    need(parent !== undefined, noFolder)
    if (kind === "file") files += 1
    bytes += size
    need(files <= totals.files, `the archive should have ${totals.files} files, and this is one more`)
    need(
      bytes <= totals.bytes,
      `the archive should have ${totals.bytes} bytes, and with this it has ${bytes}`
    )
    return { path, parent }
  }

  return {
    place,
    add: (folder: Folder): void => {
      folders.set(folder.path, folder)
    },
    /** Says what is wrong with the archive as a whole. */
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
export const leastOf = ({
  compressedSize,
  method,
  size
}: Pick<ZipEntry, "compressedSize" | "method" | "size">): number =>
  method === "store"
    ? size
    : Math.min(size, Math.max(0, compressedSize - Math.ceil(size / zerosPerByte) - overhead))

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
    /** Of all files. */
    bytes: (): number => bytes,
    /** More than is free already. */
    needed: (): number => {
      const atOnce = largest.reduce((sum, size) => sum + size, 0)
      return Math.max(0, peak - removed + atOnce)
    }
  }
}

/** Files that are looked at at a time: enough to keep the disk busy. */
const atOnce = 64

/** Takes the entries of a zip in their order, and finds out what is to be done in DIR and what is in the way there. */
export const makeSurvey = (
  request: ExtractRequest,
  target: Target,
  {
    most,
    temporary,
    writers
  }: { readonly most: number; readonly temporary: RawPath.RawPath | undefined; readonly writers: number }
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
  const meeting = new Map<string, NamePair>()
  const folderAt = new Map<string, RawPath.RawPath>()
  const leftovers = new Map<RawPath.RawPath, Leftover>()
  const totals = { files: 0, replaced: 0, folders: 0 }
  let index = -1
  let looking: Array<Promise<void>> = []
  let failed: { readonly cause: unknown } | undefined

  const conflict = (path: RawPath.RawPath, is: Conflict["is"], wanted: Conflict["wanted"]): void =>
    conflicts.add(() => ({ path: RawPath.display(path), is, wanted }))

  const looked = async (): Promise<void> => {
    const all = looking
    looking = []
    await Promise.all(all)
    if (failed !== undefined) throw failed.cause
    space.settle()
    least.settle()
  }

  // What fails is kept for whoever waits: nobody does yet, and a rejection that nobody handles ends the process.
  const lookInTheBackground = (work: Promise<void>): void => {
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

  const meet = ({ first, second }: Pick<Twins, "first" | "second">): void => {
    meeting.set(`${first}\0${second}`, [RawPath.display(first), RawPath.display(second)])
  }

  /** One folder at two places of DIR, by a second mount or by names that are one there. */
  const noteFolder = (path: RawPath.RawPath, { dev, ino }: FolderId): void => {
    const key = `${dev}:${ino}`
    const first = folderAt.get(key)
    if (first === undefined) folderAt.set(key, path)
    else meet({ first, second: path })
  }

  // Those above it first: in what is not there nothing is looked for.
  const enter = async (folder: Folder): Promise<void> => {
    if (folder.needed || folder.parent === undefined) return
    folder.needed = true
    await enter(folder.parent)
    twins.add(folder.parent, folder.path)
    folder.state = folder.parent.state
    if (folder.state === "present") {
      const standing = await lookAt(RawPath.join(target.path, folder.path))
      if (standing === undefined) folder.state = "absent"
      else if (standing.is === "directory" && !target.isKept(standing)) {
        folder.id = { dev: standing.dev, ino: standing.ino }
        noteFolder(folder.path, standing)
        await lookForLeftovers(folder)
      } else {
        folder.state = "blocked"
        conflict(folder.path, standing.is === "directory" ? "archives" : standing.is, "directory")
      }
    }
    if (folder.state === "absent") totals.folders += 1
  }

  const lookForFile = async (at: number, path: RawPath.RawPath, entry: ZipEntry): Promise<void> => {
    // The archive has a file of that name: it is one of its own.
    leftovers.delete(path)
    const standing = await lookAt(RawPath.join(target.path, path))
    if (standing === undefined) return
    if (standing.is !== "file" || !overwrite) return conflict(path, standing.is, "file")
    marks[at] = mark.replace
    totals.replaced += 1
    space.replaces(entry.size, standing.freed)
    least.replaces(leastOf(entry), standing.freed)
  }

  const addFolder = async (entry: ZipEntry, { parent, path }: Place): Promise<void> => {
    const { mode, seconds } = entry
    const chosen = choose(entry, parent)
    const folder: Folder = {
      path,
      parent,
      mode,
      seconds,
      chosen,
      needed: false,
      state: "absent",
      id: undefined
    }
    entries.add(folder)
    indexOf.set(folder, indexOf.size)
    if (chosen) await enter(folder)
  }

  const addFile = async (entry: ZipEntry, { parent, path }: Place): Promise<void> => {
    if (!choose(entry, parent)) return
    if (!parent.needed) await enter(parent)
    twins.add(parent, path)
    marks[index] = mark.create
    totals.files += 1
    space.writes(entry.size)
    least.writes(leastOf(entry))
    if ((entry.mode & privilegedBits) !== 0) privileged.add(() => RawPath.display(path))
    if (parent.state !== "present") return
    lookInTheBackground(lookForFile(index, path, entry))
    if (looking.length >= atOnce) await looked()
  }

  const placed = (entry: ZipEntry): Place => {
    try {
      return entries.place(entry)
    } catch (cause) {
      return damaged(zip, entry.name)(cause)
    }
  }

  const add = (entry: ZipEntry): Promise<void> | undefined => {
    index += 1
    const place = placed(entry)
    parents[index] = indexOf.get(place.parent) ?? 0
    if (entry.kind === "directory") return addFolder(entry, place)
    return addFile(entry, place)
  }

  const begin = async (): Promise<void> => {
    if (root.state === "present") await lookForLeftovers(root)
  }

  const end = async (): Promise<Omit<ExtractPlan, "target" | "slices">> => {
    await looked()
    try {
      entries.end()
    } catch (cause) {
      damaged(zip)(cause)
    }
    const { files, folders, replaced } = totals
    const found = await findMeeting(twins.found(), target, temporary)
    const untried = gather<NamePair>()
    found.meeting.forEach(meet)
    const met = gather<NamePair>()
    for (const pair of meeting.values()) met.add(() => pair)
    for (const { first, second } of found.untried) {
      untried.add(() => [RawPath.display(first), RawPath.display(second)])
    }
    const left = gather<string>()
    for (const [path, { freed }] of leftovers) {
      left.add(() => RawPath.display(path))
      if (!overwrite) continue
      space.removes(freed)
      least.removes(freed)
    }
    return {
      folders: [...entries.folders()],
      marks,
      parents,
      leftovers: [...leftovers.values()],
      plan: {
        directory: RawPath.display(target.path),
        makesDirectory: target.id === undefined,
        files,
        bytes: space.bytes(),
        folders,
        replaced,
        conflicts: conflicts.some(),
        meeting: met.some(),
        untried: untried.some(),
        unmatched: choose.unmatched(),
        privileged: privileged.some(),
        free: target.free,
        needed: least.needed(),
        neededAtMost: space.needed(),
        leftovers: left.some()
      }
    }
  }

  return { begin, add, end }
}

/** setuid and setgid. */
const privilegedBits = 0o6000
