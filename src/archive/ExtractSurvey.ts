import * as RawPath from "../domain/RawPath.ts"
import { type Conflict, gather, type NamePair } from "../domain/RestorePlan.ts"
import { damaged } from "./Damage.ts"
import { makeChooser } from "./ExtractChoice.ts"
import { entryChecker, type Folder, type Place } from "./ExtractEntries.ts"
import type { FolderId } from "./ExtractFolder.ts"
import { findLeftovers, type Leftover, pathOf } from "./ExtractLeftovers.ts"
import type { ExtractPlan, ExtractRequest } from "./ExtractPlan.ts"
import { mark } from "./ExtractSlice.ts"
import { leastOf, makeSpace } from "./ExtractSpace.ts"
import { lookAt, type Target } from "./ExtractTarget.ts"
import { findMeeting, makeTwins, type Twins } from "./ExtractTwins.ts"
import type { ZipEntry } from "./ReadHeaders.ts"

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
      leftovers.set(pathOf(leftover), leftover)
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
