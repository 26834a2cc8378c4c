import { pathMatcher } from "../text/Glob.ts"
import * as RawPath from "../text/RawPath.ts"
import { checkForm, noFolder, type OddName, oddNameProblem, oddNames, orderProblem, pathOf } from "./EntryRules.ts"
import { mark } from "./ExtractFiles.ts"
import { type FileId, type Folder, isOpen, split } from "./ExtractFolders.ts"
import {
  type ExtractRequest,
  findLeftovers,
  type Leftover,
  leftoverPath,
  lookAt,
  lookAtTarget,
  type Target
} from "./ExtractTarget.ts"
import { findMeeting, makeTwins, type Twins } from "./ExtractTwins.ts"
import { recordLength, type ZipEntry } from "./Headers.ts"
import { heldBack, settleAll } from "./LookAhead.ts"
import { type OpenZip, readEnd, readRecords, recordsOf, type Slice, slices } from "./ReadZip.ts"
import { type Conflict, gather, type NamePair, type RestorePlan, someOf } from "./RestorePlan.ts"
import { damaged, need } from "./ZipError.ts"

export type ExtractPlan = Awaited<ReturnType<typeof planExtraction>>

export interface PlannedSlice extends Slice {
  /** Number of the last folder that stands in it or before it. */
  readonly lastFolder: number
}

/**
 * Refuses what no folder can hold, chooses, and looks at everything in DIR that is in the way. Nothing stays written.
 * `writers`: how many files are written at once. `temporary`: a folder to try names in; undefined: nothing may be written.
 */
export const planExtraction = async (
  zip: OpenZip,
  request: ExtractRequest,
  writers: number,
  temporary: RawPath.RawPath | undefined,
  signal: AbortSignal
) => {
  const target = await lookAtTarget(request)
  const end = await readEnd(zip)
  const most = Math.min(end.entries, Math.ceil(zip.size / recordLength))
  const survey = await beginSurvey(request, target, most, writers)
  const found: Array<PlannedSlice> = []
  for await (const slice of slices(zip, end)) {
    signal.throwIfAborted()
    for (const entry of readRecords(await recordsOf(zip, slice), slice, zip.path)) {
      const looked = survey.add(entry)
      if (looked !== undefined) await looked
    }
    found.push({ ...slice, lastFolder: survey.lastFolder() })
  }
  return { ...(await survey.end(temporary)), target, slices: found }
}

const atOnce = 64

const privilegedBits = 0o6000

/** Takes at most `most` entries in their order, and looks at their places in DIR; fails at one that no folder can hold. */
const beginSurvey = async (request: ExtractRequest, target: Target, most: number, writers: number) => {
  const { overwrite, zip } = request
  const root: Folder = {
    path: RawPath.here,
    parent: undefined,
    mode: 0,
    seconds: 0,
    chosen: request.only.length === 0,
    needed: true,
    state: target.id === undefined ? "absent" : "present",
    id: target.id,
    closed: false
  }
  const folders = new Map<RawPath.RawPath, Folder>([[root.path, root]])
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
  const odd: Array<OddName> = []
  const totals = { files: 0, replaced: 0, folders: 0 }
  const inZip = { files: 0, bytes: 0 }
  let index = -1
  let previous: RawPath.RawPath | undefined
  let lastParent = root
  let looking: Array<Promise<Look>> = []

  const addConflict = (path: RawPath.RawPath, is: Conflict["is"], wanted: Conflict["wanted"]): void =>
    conflicts.add(() => ({ path: RawPath.display(path), is, wanted }))

  const notePrivileged = ({ kind, mode }: ZipEntry, path: RawPath.RawPath): void => {
    if ((mode & privilegedBits) === 0) return
    privileged.add(() => `${RawPath.display(path)}${kind === "directory" ? "/" : ""}`)
  }

  /** What is found is noted in the order of the entries, so that the same conflicts are named each time. */
  const finishLooks = async (): Promise<void> => {
    const all = looking
    looking = []
    for (const look of await settleAll(all)) noteOccupant(look)
    space.settle()
    least.settle()
  }

  const lookForLeftovers = async (folder: Folder): Promise<void> => {
    for (const leftover of await findLeftovers(RawPath.join(target.path, folder.path), folder)) {
      leftovers.set(leftoverPath(leftover), leftover)
    }
  }

  const meet = ({ first, second }: Pair): void => {
    meeting.set(`${first}\0${second}`, { first, second })
  }

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
        folder.closed = !isOpen(occupant)
        noteFolder(folder.path, occupant)
        await lookForLeftovers(folder)
      } else {
        folder.state = "blocked"
        await finishLooks()
        addConflict(folder.path, occupant.is === "directory" ? "archives" : occupant.is, "directory")
      }
    }
    if (folder.state === "absent") totals.folders += 1
  }

  const lookForFile = async (at: number, path: RawPath.RawPath, entry: ZipEntry): Promise<Look> => {
    // The archive has a file of that name: it is one of its own.
    leftovers.delete(path)
    return { at, path, entry, occupant: await lookAt(RawPath.join(target.path, path)) }
  }

  const noteOccupant = ({ at, entry, occupant, path }: Look): void => {
    if (occupant === undefined) return
    if (occupant.is !== "file" || !overwrite) {
      addConflict(path, occupant.is, "file")
      return
    }
    marks[at] = mark.replace
    totals.replaced += 1
    space.replaces(entry.size, occupant.freed)
    least.replaces(leastOf(entry), occupant.freed)
  }

  const addFolder = (entry: ZipEntry, path: RawPath.RawPath, parent: Folder): Promise<void> | undefined => {
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
      id: undefined,
      closed: false
    }
    folders.set(path, folder)
    indexOf.set(folder, indexOf.size)
    if (!chosen) return undefined
    notePrivileged(entry, path)
    return needFolder(folder)
  }

  const addFile = (entry: ZipEntry, path: RawPath.RawPath, parent: Folder): Promise<void> | undefined => {
    if (!choose(entry, parent)) return undefined
    return parent.needed
      ? placeFile(entry, path, parent)
      : needFolder(parent).then(() => placeFile(entry, path, parent))
  }

  const placeFile = (entry: ZipEntry, path: RawPath.RawPath, parent: Folder): Promise<void> | undefined => {
    twins.add(parent, path)
    marks[index] = mark.create
    totals.files += 1
    space.writes(entry.size)
    least.writes(leastOf(entry))
    notePrivileged(entry, path)
    if (parent.state !== "present") return undefined
    looking.push(heldBack(lookForFile(index, path, entry)))
    return looking.length >= atOnce ? finishLooks() : undefined
  }

  /** Entries of one folder mostly follow each other. */
  const folderOf = (path: RawPath.RawPath): Folder | undefined => {
    const { path: last } = lastParent
    if (last.length === Math.max(path.lastIndexOf("/"), 0) && path.startsWith(last)) return lastParent
    const folder = folders.get(split(path).parent)
    lastParent = folder ?? lastParent
    return folder
  }

  const placeOf = (entry: ZipEntry) => {
    const path = pathOf(entry)
    odd.push(...oddNames(entry, path))
    const misplaced = orderProblem(previous, path)
    if (misplaced !== undefined) throw new Error(misplaced)
    previous = path
    checkForm(entry)
    const parent = folderOf(path)
    need(parent !== undefined, noFolder)
    if (entry.kind === "file") inZip.files += 1
    inZip.bytes += entry.size
    const { bytes, files } = request
    need(inZip.files <= files, `the archive should have ${files} files, and this is one more`)
    need(inZip.bytes <= bytes, `the archive should have ${bytes} bytes, and with this it has ${inZip.bytes}`)
    return { path, parent }
  }

  /** Gives what has to be awaited before the next one, if anything. */
  const add = (entry: ZipEntry): Promise<void> | undefined => {
    index += 1
    try {
      const { parent, path } = placeOf(entry)
      parents[index] = indexOf.get(parent) ?? 0
      return entry.kind === "directory" ? addFolder(entry, path, parent) : addFile(entry, path, parent)
    } catch (cause) {
      return damaged(zip, entry.name)(cause)
    }
  }

  const checkWhole = (): void => {
    const { bytes, files } = request
    const isAll = inZip.files === files && inZip.bytes === bytes
    const problem = isAll
      ? oddNameProblem(odd)
      : `it has ${inZip.files} files and ${inZip.bytes} bytes, and should have ${files} and ${bytes}`
    if (problem !== undefined) damaged(zip)(new Error(problem))
  }

  const end = async (temporary: RawPath.RawPath | undefined) => {
    await finishLooks()
    checkWhole()
    const pairs = twins.found()
    const found = await findMeeting(pairs, target, temporary)
    found.meeting.forEach(meet)
    for (const { freed } of overwrite ? leftovers.values() : []) {
      space.removes(freed)
      least.removes(freed)
    }
    const plan: RestorePlan = {
      ...totals,
      directory: RawPath.display(target.path),
      device: target.device,
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
      folders: [...folders.values()],
      marks,
      parents,
      leftovers: [...leftovers.values()],
      /** Whether two entries may meet in one file: by names that are one in DIR, or in a file that is replaced. */
      mayMeet: pairs.length > 0 || totals.replaced > 0
    }
  }

  if (root.state === "present") await lookForLeftovers(root)
  return { add, end, lastFolder: () => folders.size - 1 }
}

/** What is in the place of a file. */
interface Look {
  readonly at: number
  readonly path: RawPath.RawPath
  readonly entry: ZipEntry
  readonly occupant: Awaited<ReturnType<typeof lookAt>>
}

type Pair = Pick<Twins, "first" | "second">

const displayPair = ({ first, second }: Pair): NamePair => [RawPath.display(first), RawPath.display(second)]

/** Whether an entry is wanted: its own name matches, or its parent is wanted. `unmatched`: the patterns that matched nothing. */
export const makeChooser = (only: ReadonlyArray<string>) => {
  const patterns = [...new Set(only)].map((pattern) => ({ pattern, matches: pathMatcher(pattern) }))
  const unmatched = new Set(only)
  const choose = ({ kind, name }: ZipEntry, parent: Pick<Folder, "chosen">): boolean => {
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

const zerosPerByte = 1000
/** Bytes of a DEFLATE stream that holds nothing. */
const overhead = 16

/** Blocks of zeros take no room; other data takes at least what it is compressed to. What is stored did not shrink. */
const leastOf = ({ compressedSize, method, size }: ZipEntry): number =>
  method === "store" ? size : Math.min(size, Math.max(0, compressedSize - Math.ceil(size / zerosPerByte) - overhead))

/**
 * Adds up the room (bytes) for a restore, in the order in which files are written: a file frees the room of the one that it
 * replaces only once it is complete, and `writers` of them are at work at once.
 */
export const makeSpace = (writers: number) => {
  const largest: Array<number> = []
  let bytes = 0
  let freed = 0
  let removed = 0
  let peak = 0
  return {
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
    settle: (): void => {
      peak = Math.max(peak, bytes - freed)
    },
    bytes: (): number => bytes,
    /** More than is free already. */
    needed: (): number => Math.max(0, peak - removed + largest.reduce((sum, size) => sum + size, 0))
  }
}
