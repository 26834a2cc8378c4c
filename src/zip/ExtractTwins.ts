import * as fs from "node:fs"
import { readdir } from "node:fs/promises"
import { codeOf } from "../system/Errno.ts"
import { createOnly } from "../system/FileCalls.ts"
import * as RawPath from "../text/RawPath.ts"
import { foldedName } from "../text/Text.ts"
import { type Folder, isWithin, openFolder, split } from "./ExtractFolders.ts"
import { lookAt, notDone, type Target } from "./ExtractTarget.ts"

/**
 * Names of an archive that are one name in DIR: a file system may take upper and lower case, or other forms of a text, for the
 * same. Names are compared in a form that no file system goes beyond; whether they are one in DIR is looked up, or tried.
 */

export interface Twins {
  readonly parent: Folder
  readonly first: RawPath.RawPath
  readonly second: RawPath.RawPath
}

const plain = /^[!-~]*[!--/-~]$/

/** The same for names of an archive, of which many are plain. */
export const foldName = (name: RawPath.RawPath): string =>
  plain.test(name) ? name.toLowerCase() : foldedName(RawPath.toText(name) ?? name)

/** Pairs that are kept: of more, those beyond are found when they are written. */
const pairsKept = 256

export const makeTwins = () => {
  const open: Array<{ readonly folder: Folder; readonly names: Map<string, RawPath.RawPath> }> = []
  const found: Array<Twins> = []
  return {
    add: (parent: Folder, path: RawPath.RawPath): void => {
      for (let top = open.at(-1); top !== undefined && !isWithin(top.folder.path, path); top = open.at(-1)) open.pop()
      let own = open.findLast(({ folder }) => folder === parent)
      if (own === undefined) {
        own = { folder: parent, names: new Map() }
        open.push(own)
      }
      const key = foldName(split(path).name)
      const first = own.names.get(key)
      if (first === undefined) own.names.set(key, path)
      else if (found.length < pairsKept) found.push({ parent, first, second: path })
    },
    found: (): ReadonlyArray<Twins> => found
  }
}

/**
 * Looks in DIR which twins are one name there (`meeting`), and of which that is not known (`untried`). Where neither is there,
 * it is tried with files in a folder called `temporary`, which is removed again; undefined: nothing may be written.
 */
export const findMeeting = async (
  all: ReadonlyArray<Twins>,
  target: Target,
  temporary: RawPath.RawPath | undefined
): Promise<{ readonly meeting: ReadonlyArray<Twins>; readonly untried: ReadonlyArray<Twins> }> => {
  const meeting: Array<Twins> = []
  const untried: Array<Twins> = []
  const unknown = new Map<RawPath.RawPath, Array<Twins>>()
  const names = makeLister()
  for (const twins of all) {
    const isOne =
      twins.parent.state === "present"
        ? await lookUp(twins, target.path, await names(RawPath.join(target.path, twins.parent.path)))
        : undefined
    if (isOne === true) meeting.push(twins)
    if (isOne !== undefined) continue
    const place = standingFolder(twins.parent, target)
    unknown.set(place, [...(unknown.get(place) ?? []), twins])
  }
  for (const [place, some] of unknown) {
    if (temporary !== undefined) meeting.push(...tryNames(place, temporary, some))
    else {
      const ignores = await ignoresCase(place, await names(place))
      for (const twins of some) {
        const known = differByCase(twins) ? ignores : undefined
        if (known === true) meeting.push(twins)
        else if (known === undefined) untried.push(twins)
      }
    }
  }
  return { meeting, untried }
}

type Names = ReadonlySet<RawPath.RawPath>

const makeLister = () => {
  let last: { readonly path: RawPath.RawPath; readonly names: Names } | undefined
  return async (path: RawPath.RawPath): Promise<Names> => {
    if (last?.path === path) return last.names
    const found = await readdir(RawPath.toBuffer(path === RawPath.here ? top : path), { encoding: "buffer" }).catch(
      (cause: unknown) => {
        throw notDone("list", path, cause)
      }
    )
    last = { path, names: new Set(found.map(RawPath.fromBuffer)) }
    return last.names
  }
}

/** A name that is found and not listed is found by another one. Inodes may differ (FUSE). Undefined: neither is there. */
const lookUp = async (
  { first, second }: Twins,
  target: RawPath.RawPath,
  names: Names
): Promise<boolean | undefined> => {
  const unlisted = [first, second].filter((path) => !names.has(split(path).name))
  if (unlisted.length === 0) return false
  for (const path of unlisted) if ((await lookAt(RawPath.join(target, path))) !== undefined) return true
  return unlisted.length === 2 ? undefined : false
}

/** Whether a name that stands in the folder is found in the other case; undefined where no name shows it. */
const ignoresCase = async (folder: RawPath.RawPath, names: Names): Promise<boolean | undefined> => {
  for (const name of names) {
    const other = RawPath.fromLatin1(
      name.replace(/[A-Za-z]/g, (letter) =>
        letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()
      )
    )
    if (other === name || names.has(other)) continue
    return (await lookAt(RawPath.join(folder, other))) !== undefined
  }
  return undefined
}

const differByCase = ({ first, second }: Twins): boolean =>
  first.toLowerCase() === second.toLowerCase() && RawPath.isAscii(first + second)

const top = RawPath.fromLatin1("/")

/** The nearest folder that is there: what is made in it is on its file system. */
const standingFolder = (folder: Folder, { above, path }: Target): RawPath.RawPath => {
  for (let at: Folder | undefined = folder; at !== undefined; at = at.parent) {
    if (at.state === "present") return RawPath.join(path, at.path)
  }
  return above
}

const tryNames = (
  place: RawPath.RawPath,
  temporary: RawPath.RawPath,
  all: ReadonlyArray<Twins>
): ReadonlyArray<Twins> => {
  const at = RawPath.toBuffer(RawPath.join(place === RawPath.here ? top : place, temporary))
  try {
    fs.mkdirSync(at, 0o700)
    try {
      const folder = openFolder(at)
      try {
        return all.filter(({ first, second }) => isOneName(folder.at(split(first).name), folder.at(split(second).name)))
      } finally {
        folder.close()
      }
    } finally {
      fs.rmdirSync(at)
    }
  } catch (cause) {
    throw notDone("try in", place, cause, place, " whether names that differ by case or form are two")
  }
}

/** Names that are not allowed there fail when they are written, each by itself. */
const notAllowed: ReadonlySet<string> = new Set(["EILSEQ", "EINVAL", "ENAMETOOLONG", "EPERM", "ENOENT"])

const isOneName = (first: Buffer, second: Buffer): boolean => {
  const made: Array<Buffer> = []
  try {
    for (const path of [first, second]) {
      fs.closeSync(fs.openSync(path, createOnly, 0o600))
      made.push(path)
    }
    return false
  } catch (cause) {
    const code = codeOf(cause) ?? ""
    if (code === "EEXIST") return true
    if (notAllowed.has(code)) return false
    throw cause
  } finally {
    for (const path of made) fs.unlinkSync(path)
  }
}
