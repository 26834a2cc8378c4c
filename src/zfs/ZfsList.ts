import * as Either from "effect/Either"
import * as RawPath from "../text/RawPath.ts"
import {
  type Bookmark,
  byCreatetxg,
  type DatasetKind,
  modeProperty,
  type Own,
  placeholderProperty,
  type Salt,
  type SendMode,
  type Snapshot,
  type SourceDataset,
  type TargetDataset,
  type TargetKey
} from "./Dataset.ts"
import * as DatasetName from "./DatasetName.ts"

/**
 * Readers of what `zfs list` and `zfs get` print with `-Hp` (latin1). Left: the first wrong line. Names become
 * arguments of zfs, so one that zfs cannot print is wrong: `%` or a comma means several to `zfs destroy`.
 */

export const listing = (type: string, columns: string, names: Iterable<string> = []): ReadonlyArray<string> => [
  ...["list", "-H", "-p", "-t", type, "-o", columns],
  ...names
]

export interface ListedFileSystem {
  readonly name: string
  readonly canmount: string
  readonly keystatus: string
  readonly mountpoint: RawPath.RawPath
}

/** The mount point comes last, since it may hold a tab. */
export const datasetColumns = "name,canmount,keystatus,mountpoint"

export const parseDatasets = (text: string): Either.Either<ReadonlyArray<ListedFileSystem>, string> => {
  const datasets: Array<ListedFileSystem> = []
  for (const line of linesOf(text)) {
    const [name = "", canmount, keystatus, ...mountpoint] = line.split("\t")
    const before = datasets.pop()
    if (canmount !== undefined && keystatus !== undefined && mountpoint.length > 0) {
      if (before !== undefined) datasets.push(before)
      datasets.push({ name, canmount, keystatus, mountpoint: RawPath.fromLatin1(mountpoint.join("\t")) })
    } else if (before === undefined) {
      return Either.left(line)
    } else {
      // A mount point may hold newlines too.
      datasets.push({ ...before, mountpoint: RawPath.fromLatin1(`${before.mountpoint}\n${line}`) })
    }
  }
  return cutShort(text) ?? Either.right(datasets)
}

/** Lines with this many columns. Left: another program's output, or text that was cut short. */
export const table = (text: string, columns: number): Either.Either<ReadonlyArray<ReadonlyArray<string>>, string> => {
  const all = rows(text)
  const wrong = all.find((row) => row.length !== columns)
  return wrong === undefined ? (cutShort(text) ?? Either.right(all)) : Either.left(wrong.join("\t"))
}

const linesOf = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line !== "")

/** Every line ends; where the last one does not, there was more. */
const cutShort = (text: string): Either.Either<never, string> | undefined =>
  text === "" || text.endsWith("\n") ? undefined : Either.left(linesOf(text).at(-1) ?? "")

export const isDecimal = (text: string): boolean => /^[0-9]{1,20}$/.test(text)

/** Does not look at the number of columns, as {@link table} does. */
export const rows = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  linesOf(text).map((line) => line.split("\t"))

export const datasetOf = (snapshot: string): string => snapshot.split("@", 1)[0] ?? ""

export const shortName = (snapshot: string): string => snapshot.slice(snapshot.indexOf("@") + 1)

/** For `zfs list -t snapshot,bookmark`. */
export const snapshotColumns = "name,guid,createtxg,creation,userrefs,clones"

/** By dataset, each list by createtxg. With 7 columns, the last is `written`. */
export const readSnapshots = (text: string, columns: 6 | 7 = 6): Either.Either<ReadonlyMap<string, Own>, string> =>
  Either.gen(function* () {
    const found = new Map<string, { snapshots: Array<Snapshot>; bookmarks: Array<Bookmark> }>()
    for (const row of yield* table(text, columns)) {
      const [full = "", guid = "", createtxg = "", creation = "", holds = "", clones = "", written = "-"] = row
      const mark = full.search(/[@#]/)
      const dataset = full.slice(0, mark)
      const name = full.slice(mark + 1)
      if (
        mark < 1 ||
        ![guid, createtxg, creation].every(isDecimal) ||
        ![holds, written].every((value) => value === "-" || isDecimal(value)) ||
        !isDataset(dataset) ||
        !DatasetName.isShortName(name)
      ) {
        return yield* Either.left(row.join("\t"))
      }
      const own = found.get(dataset) ?? { snapshots: [], bookmarks: [] }
      found.set(dataset, own)
      const common = { name, guid, createtxg: BigInt(createtxg) }
      if (full[mark] === "#") own.bookmarks.push(common)
      else {
        own.snapshots.push({
          ...common,
          creation: Number(creation),
          holds: holds === "-" ? 0 : Number(holds),
          clones: clones === "-" || clones === "" ? [] : clones.split(","),
          ...(written === "-" ? {} : { written: Number(written) })
        })
      }
    }
    for (const own of found.values()) {
      own.snapshots.sort(byCreatetxg)
      own.bookmarks.sort(byCreatetxg)
    }
    return found
  })

const none: Own = { snapshots: [], bookmarks: [] }

/** For `zfs list -t filesystem,volume`. */
export const sourceColumns = "name,type,guid,encryption,encryptionroot,pbkdf2salt,keystatus"

/** In the order of the list. `above`: the same columns of others whose keys open some of them. */
export const readSources = (
  text: string,
  snapshots: ReadonlyMap<string, Own>,
  above = ""
): Either.Either<ReadonlyArray<SourceDataset>, string> =>
  Either.gen(function* () {
    const listed = yield* table(text, 7)
    const others = yield* table(above, 7)
    const salts = new Map([...others, ...listed].map(([name = "", , , , , salt]) => [name, saltOf(salt)]))
    const found = new Map<string, SourceDataset>()
    for (const row of listed) {
      const [name = "", type = "", guid = "", encryption = "", root = "", , status] = row
      const kind = kindOf(type)
      const encrypted = encryption !== "off" && encryption !== "-"
      const isKnown = encrypted && root !== "-"
      if (kind === undefined || !isDecimal(guid) || !isDataset(name) || (isKnown && !isDataset(root))) {
        return yield* Either.left(row.join("\t"))
      }
      const key = isKnown
        ? { root, salt: salts.get(name), rootSalt: salts.get(root), loaded: isLoaded(status) }
        : undefined
      found.set(name, { name, kind, guid, encrypted, key, ...(snapshots.get(name) ?? none) })
    }
    return [...found.values()]
  })

// zfs itself fails where it prints neither.
const isLoaded = (keystatus: string | undefined): boolean => keystatus !== "unavailable"

const saltOf = (value: string | undefined): Salt | undefined =>
  value !== undefined && isDecimal(value) ? value : undefined

const isDataset = (name: string): boolean => DatasetName.datasetProblem(name) === undefined

const kindOf = (type: string | undefined): DatasetKind | undefined =>
  type === "volume" || type === "filesystem" ? type : undefined

export const keyProperties = "encryptionroot,pbkdf2salt,origin,keystatus"

/** For `zfs get -o name,property,value,source`. */
export const targetProperties = [
  ...["type", "guid", "canmount", "mounted", "written", "logicalreferenced", "receive_resume_token"],
  keyProperties,
  modeProperty,
  placeholderProperty
].join(",")

/** By name. `keys`: {@link keyProperties} of other datasets whose keys these share. */
export const readTargets = (
  text: string,
  snapshots: ReadonlyMap<string, Own>,
  keys = ""
): Either.Either<ReadonlyMap<string, TargetDataset>, string> =>
  Either.gen(function* () {
    const properties = yield* readProperties(text)
    const keyOf = keysIn(new Map([...(yield* readProperties(keys)), ...properties]))
    const targets = new Map<string, TargetDataset>()
    for (const [name, of] of properties) {
      const own = snapshots.get(name) ?? none
      const kind = kindOf(of.get("type")?.value)
      const guid = of.get("guid")?.value ?? ""
      const written = set(of, "written") ?? "0"
      if (kind === undefined || !isDecimal(guid)) return yield* Either.left(`${name} without type or guid`)
      if (!isDataset(name)) return yield* Either.left(name)
      const key = keyOf(name)
      if (key !== undefined && !isDataset(key.root)) return yield* Either.left(`${name}\tencryptionroot\t${key.root}`)
      const origin = set(of, "origin")
      if (!isDecimal(written)) return yield* Either.left(`${name}\twritten\t${written}`)
      targets.set(name, {
        name,
        kind,
        guid,
        ...own,
        written: Number(written),
        resumeToken: set(of, "receive_resume_token"),
        mode: modeOf(ours(of, modeProperty)),
        made: isUntouched(of),
        placeholder: own.snapshots.length === 0 && isUntouched(of),
        canmount: set(of, "canmount"),
        key,
        ...(origin === undefined ? {} : { origin })
      })
    }
    return targets
  })

type Value = { readonly value: string; readonly source: string }
type Properties = ReadonlyMap<string, Value>

const readProperties = (text: string): Either.Either<ReadonlyMap<string, Properties>, string> =>
  Either.map(table(text, 4), (listed) => {
    const properties = new Map<string, Map<string, Value>>()
    for (const [name = "", property = "", value = "", source = ""] of listed) {
      const known = properties.get(name) ?? new Map<string, Value>()
      properties.set(name, known.set(property, { value, source }))
    }
    return properties
  })

const keysIn = (all: ReadonlyMap<string, Properties>) => {
  const salt = (name: string) => saltOf(all.get(name)?.get("pbkdf2salt")?.value)
  const dependents = new Map<string, TargetKey["dependents"]>()
  for (const [name, of] of all) {
    const root = set(of, "encryptionroot")
    // A clone has its key in common with its origin, and keeps it so.
    if (root === undefined || root === name || set(of, "origin")?.split("@", 1)[0] === root) continue
    dependents.set(root, [...(dependents.get(root) ?? []), { name, salt: salt(name) }])
  }
  return (name: string): TargetKey | undefined => {
    const of: Properties = all.get(name) ?? new Map()
    const root = set(of, "encryptionroot")
    if (root === undefined) return undefined
    const loaded = isLoaded(set(of, "keystatus"))
    return { root, salt: salt(name), rootSalt: salt(root), loaded, dependents: dependents.get(name) ?? [] }
  }
}

const set = (of: Properties, property: string): string | undefined => {
  const value = of.get(property)?.value
  return value === undefined || value === "-" || value === "" ? undefined : value
}

/** Children inherit the value of their parent, which says nothing about them. */
const ours = (of: Properties, property: string): string | undefined =>
  of.get(property)?.source === "local" ? set(of, property) : undefined

const modeOf = (value: string | undefined): SendMode | undefined =>
  value === "raw" || value === "plain" ? value : undefined

const isUntouched = (of: Properties): boolean => {
  const bytes = ours(of, placeholderProperty)
  return (
    bytes !== undefined &&
    bytes === set(of, "logicalreferenced") &&
    set(of, "canmount") === "off" &&
    set(of, "mounted") === "no"
  )
}
