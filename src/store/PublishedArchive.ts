import { isUtf8 } from "node:buffer"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as FolderName from "../source/FolderName.ts"
import { parse } from "../source/FolderName.ts"
import { Disk, type DiskError, type DiskStat } from "../system/Disk.ts"
import { explain } from "../system/Errno.ts"
import { bytes } from "../text/Text.ts"
import { type FileIdentity, isSameFile } from "../zip/ArchiveIndex.ts"
import type { FolderState } from "./FolderState.ts"
import * as Layout from "./Layout.ts"
import { names } from "./Layout.ts"
import { parseChecksums } from "./Metadata.ts"
import { publishedNames } from "./PublishPlan.ts"
import { decodeState } from "./Records.ts"
import type { ArchiveIdentity } from "./Verification.ts"

/** The archive that is current, or the one before it. */
export type Which = "current" | "previous"

/** Something that is wrong with an archive or with a file beside it. */
export interface SetFinding {
  /** Name of the file in its folder, such as `ABCD.zip.md5`. */
  readonly file: string
  /** The entry of the zip that it is about, as a person reads it: harmless, in quotes. */
  readonly entry?: string
  /** To be read after the name of the file and the entry: "its CRC-32 is wrong". */
  readonly problem: string
}

/** One of a folder's two archives with the files that belong to it, as they lay there when it was opened. */
export interface ArchiveSet {
  readonly folder: FolderName.FolderName
  readonly which: Which
  /** Absolute path of the zip. */
  readonly zip: string
  /** The zip; undefined when it is missing, or something else is in its place. */
  readonly file: FileIdentity | undefined
  /** Texts of the checksum files and of the metadata; undefined when missing, or when `obstacles` has them. */
  readonly md5: string | undefined
  readonly sha256: string | undefined
  readonly metadata: string | undefined
  /** `.state.json`, which describes the current archive; undefined when it is missing or cannot be understood. */
  readonly state: FolderState | undefined
  /**
   * Files of the set that are there and cannot be read: a symlink, no UTF-8 text, no permission, a bad sector. And a state
   * that is missing, where it is on record that there was one.
   */
  readonly obstacles: ReadonlyArray<SetFinding>
  /** A publication of the folder is under way, or was interrupted and waits for the next run. */
  readonly interrupted: boolean
}

/** Names of the files that make up a set. */
export const namesOf = (folder: FolderName.FolderName, which: Which) => {
  const n = names(folder)
  return which === "current"
    ? { zip: n.zip, md5: n.md5, sha256: n.sha256, metadata: n.metadata }
    : { zip: n.prevZip, md5: n.prevMd5, sha256: n.prevSha256, metadata: n.prevMetadata }
}

/** Whether nobody has published, repaired or removed anything between the one look and the other. */
export const isSameSet = (a: ArchiveSet, b: ArchiveSet | undefined): boolean =>
  b !== undefined &&
  (a.file === undefined ? b.file === undefined : b.file !== undefined && isSameFile(a.file, b.file)) &&
  a.md5 === b.md5 &&
  a.sha256 === b.sha256 &&
  a.metadata === b.metadata &&
  a.interrupted === b.interrupted &&
  JSON.stringify([a.state, a.obstacles]) === JSON.stringify([b.state, b.obstacles])

/** Which archive it is, as far as its own files say; undefined when there is none. */
export const identityOf = (set: ArchiveSet | undefined): ArchiveIdentity => {
  if (set?.which === "current" && set.state !== undefined) {
    const { archived_at_utc, zip_sha256 } = set.state
    return { archived_at_utc, zip_sha256 }
  }
  const digest = set?.sha256 === undefined ? undefined : parseChecksums(set.sha256)?.digest
  return set?.which === "current" || digest === undefined ? {} : { zip_sha256: digest }
}

/** Nothing is there: what could be said of the target would be said of an empty place. */
class TargetMissing extends Data.TaggedError("TargetMissing")<{ readonly path: string }> {
  override get message() {
    return `the target ${this.path} does not exist: is its dataset mounted, and is target_path right?`
  }
}

/** Names at the top of the target that an archived folder could have, sorted. */
export const targetFolders = Effect.fnUntraced(function* (target: string) {
  const disk = yield* Disk
  if ((yield* disk.stat(target)) === undefined) return yield* new TargetMissing({ path: target })
  return (yield* disk.list(target)).flatMap((name) => FolderName.parse(name) ?? [])
})

/** The archives of the target cannot be looked at; the message says what failed on which path, and why. */
export class ArchivesError extends Data.TaggedError("ArchivesError")<{
  readonly path: string
  readonly message: string
  readonly cause?: unknown
}> {}

/** A checksum file has about a hundred bytes. What is far larger is none, and not worth its memory. */
const checksumFileLimit = 64 * 1024

/** What is at the place of a small file. */
interface Found {
  readonly text: string | undefined
  readonly obstacles: ReadonlyArray<SetFinding>
}

const missing: Found = { text: undefined, obstacles: [] }

const inTheWay = (file: string, problem: string): Found => ({
  text: undefined,
  obstacles: [{ file, problem }]
})

/** See Archives. */
export const make = (target: string) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    const layout = Layout.make({ targetPath: target, tmpDir: undefined, jobId: "" })

    const folders = disk.list(layout.target).pipe(
      Effect.map((names) => names.map(parse).filter((name) => name !== undefined)),
      Effect.flatMap((names) => Effect.filter(names, holdsSomething, { concurrency: 16 })),
      Effect.mapError(asArchivesError("cannot look for archives"))
    )

    const recorded = Effect.all([disk.stat(layout.job), disk.stat(layout.indexes)]).pipe(
      Effect.flatMap((stats) =>
        stats.every((stat) => stat?.kind === "directory") ? disk.list(layout.indexes) : Effect.succeed([])
      ),
      Effect.map((names) => names.map(parse).filter((name) => name !== undefined)),
      Effect.mapError(asArchivesError("cannot look for what was archived before"))
    )

    const holdsSomething = Effect.fnUntraced(function* (folder: FolderName.FolderName) {
      const { home } = Layout.folder(layout, folder)
      const stat = yield* disk.stat(home)
      // Archives that were moved elsewhere and linked to: whoever opens them says why that does not work.
      if (stat?.kind !== "directory") return stat?.kind === "symlink"
      const published = new Set(publishedNames(folder))
      return yield* disk.list(home).pipe(
        Effect.map((names) => names.some((name) => published.has(name))),
        // Something is there; what is wrong with it is told when it is opened.
        Effect.catchAll(() => Effect.succeed(true))
      )
    })

    const read = Effect.fnUntraced(function* (home: string, name: string, limit: number) {
      const path = join(home, name)
      return yield* disk.stat(path).pipe(
        Effect.flatMap((stat) => {
          if (stat === undefined) return Effect.succeed(missing)
          if (stat.kind !== "file") return Effect.succeed(inTheWay(name, `is ${nameOf(stat)}, not a file`))
          if (stat.size > limit) {
            return Effect.succeed(
              inTheWay(name, `has ${bytes(stat.size)}, far more than such a file can have`)
            )
          }
          return Effect.map(disk.readBytes(path), (content) => textOf(name, content))
        }),
        Effect.catchAll((error) => Effect.succeed(inTheWay(name, `cannot be read: ${explain(error.cause)}`)))
      )
    })

    const open = Effect.fn("Archives.open")(
      function* (folder: FolderName.FolderName, which: Which) {
        const paths = Layout.folder(layout, folder)
        const home = yield* disk.stat(paths.home)
        if (home === undefined) return undefined
        if (home.kind !== "directory") {
          return yield* new ArchivesError({
            path: paths.home,
            message: `${paths.home} is ${nameOf(home)}, not a folder: nothing is read there, and no run writes there; put the folder itself in its place`
          })
        }
        const names = namesOf(folder, which)
        const interrupted = yield* hasJournal(paths)
        const zip = yield* disk.stat(join(paths.home, names.zip))
        const md5 = yield* read(paths.home, names.md5, checksumFileLimit)
        const sha256 = yield* read(paths.home, names.sha256, checksumFileLimit)
        const metadata = yield* read(paths.home, names.metadata, Number.POSITIVE_INFINITY)
        const { known, state } = yield* stateOf(paths, which)
        const obstacles = [
          ...(zip === undefined || zip.kind === "file"
            ? []
            : [{ file: names.zip, problem: `is ${nameOf(zip)}, not a file` }]),
          ...[md5, sha256, metadata].flatMap((found) => found.obstacles),
          ...known.obstacles
        ]
        const wasThere =
          zip !== undefined ||
          [md5, sha256, metadata].some(({ text }) => text !== undefined) ||
          obstacles.length > 0 ||
          (which === "current"
            ? state !== undefined || interrupted
            : state?.prev_metadata_sha256 !== undefined)
        if (!wasThere) return undefined
        const lost = which === "current" && state === undefined && known === missing
        const noState =
          lost && (yield* wasRecorded(paths)) ? [{ file: paths.names.state, problem: "is missing" }] : []
        return {
          folder,
          which,
          zip: join(paths.home, names.zip),
          file: zip?.kind === "file" ? zip : undefined,
          md5: md5.text,
          sha256: sha256.text,
          metadata: metadata.text,
          state,
          obstacles: [...obstacles, ...noState],
          interrupted
        } satisfies ArchiveSet
      },
      (effect, folder) => Effect.mapError(effect, asArchivesError(`cannot look at the archives of ${folder}`))
    )

    const hasJournal = ({ abort, commit }: Layout.FolderLayout) =>
      Effect.all([disk.stat(commit), disk.stat(abort)]).pipe(
        Effect.map((stats) => stats.some((stat) => stat !== undefined)),
        // The work area is for the user of the runs alone; whoever else verifies cannot know.
        Effect.catchAll(() => Effect.succeed(false))
      )

    const wasRecorded = ({ index }: Layout.FolderLayout) =>
      disk.stat(index).pipe(
        Effect.map((stat) => stat !== undefined),
        // The metadata may tell as well.
        Effect.catchAll(() => Effect.succeed(false))
      )

    // It describes the current archive: for the previous one it is a witness, and its own damage is told with the current one.
    const stateOf = Effect.fnUntraced(function* (paths: Layout.FolderLayout, which: Which) {
      const found = yield* read(paths.home, paths.names.state, Number.POSITIVE_INFINITY)
      const state = decodeState(paths, found.text)
      if (which === "previous") return { state, known: missing }
      return {
        state,
        known:
          found.text !== undefined && state === undefined
            ? inTheWay(paths.names.state, `cannot be understood: it is not the state of ${paths.folder}`)
            : found
      }
    })

    return {
      target: layout.target,
      folders,
      recorded,
      size: (folder: FolderName.FolderName, which: Which) => {
        const zip = join(Layout.folder(layout, folder).home, namesOf(folder, which).zip)
        return disk.stat(zip).pipe(
          Effect.map((stat) => (stat?.kind === "file" ? stat.size : 0)),
          // It is for a bar only; whoever opens the zip says what is wrong.
          Effect.catchAll(() => Effect.succeed(0))
        )
      },
      open
    }
  })

const nameOf = ({ kind }: DiskStat): string =>
  kind === "other" ? "a device, socket or fifo" : `a ${kind === "directory" ? "folder" : kind}`

// Strictly: two texts with different bytes must not look the same.
const textOf = (name: string, content: Uint8Array | undefined): Found => {
  if (content === undefined) return missing
  return isUtf8(content)
    ? {
        text: Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString("utf8"),
        obstacles: []
      }
    : inTheWay(name, "is damaged: it is no UTF-8 text")
}

const asArchivesError =
  (doing: string) =>
  (error: DiskError | ArchivesError): ArchivesError =>
    error._tag === "ArchivesError"
      ? error
      : new ArchivesError({
          path: error.path,
          message: `${doing}: ${error.message}${error.code === "EACCES" ? "; do this as the user who runs the job" : ""}`,
          cause: error
        })

/** What was published, for whoever reads it back. Reads only, and takes no lock: a run may publish meanwhile. */
export class Archives extends Context.Tag("zipper/Archives")<
  Archives,
  {
    /** Absolute path of the target, for messages. */
    readonly target: string
    /** The folders of which something is published, sorted: a current or previous archive, or what is left of one. */
    readonly folders: Effect.Effect<ReadonlyArray<FolderName.FolderName>, ArchivesError>
    /**
     * The folders of which it is on record, apart from their own files, that a run has published an archive: where nothing is
     * left of one, it was lost.
     */
    readonly recorded: Effect.Effect<ReadonlyArray<FolderName.FolderName>, ArchivesError>
    /** Size of the zip in bytes; 0 when there is none. For a bar: nothing is opened, and nothing fails. */
    readonly size: (folder: FolderName.FolderName, which: Which) => Effect.Effect<number>
    /**
     * One archive of a folder with all that belongs to it; undefined when there is none and, as far as is known,
     * never was. A file that is missing or cannot be read is in the set as such.
     */
    readonly open: (
      folder: FolderName.FolderName,
      which: Which
    ) => Effect.Effect<ArchiveSet | undefined, ArchivesError>
  }
>() {
  /** Those in the target folder. */
  static readonly layer = (target: string): Layer.Layer<Archives, never, Disk> =>
    Layer.effect(Archives, make(target))
}
