import { isUtf8 } from "node:buffer"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { type ArchiveSet, namesOf, type SetFinding, type Which } from "../../domain/ArchiveSet.ts"
import { explain } from "../../domain/Errno.ts"
import { type FolderName, parse } from "../../domain/FolderName.ts"
import { publishedNames } from "../../domain/PublishPlan.ts"
import { bytes } from "../../domain/Units.ts"
import { Disk, type DiskError, type DiskStat } from "../Disk.ts"
import * as Layout from "../store/layout.ts"
import { decodeState } from "../store/survey.ts"
import { ArchivesError } from "./ArchivesError.ts"

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

    const holdsSomething = Effect.fnUntraced(function* (folder: FolderName) {
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
      function* (folder: FolderName, which: Which) {
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
      size: (folder: FolderName, which: Which) => {
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
