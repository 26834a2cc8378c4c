import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Disk } from "../system/Disk.ts"
import { adviceOnWriting } from "../system/Errno.ts"
import { Hasher } from "../system/Hasher.ts"
import * as ArchiveIndex from "../zip/ArchiveIndex.ts"
import type { FolderLayout, Layout } from "./Layout.ts"
import * as jobState from "./Records.ts"
import { decodeState } from "./Records.ts"
import { isFolder } from "./SafeFolder.ts"

/**
 * The current archive, read and compared with what was published, and its index. Undefined where anything about
 * either is not as it should be: then the next archive is made without it, and publication looks again.
 */
export const previous = (layout: Layout, paths: FolderLayout) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (!(yield* isFolder(layout.job)) || !(yield* isFolder(layout.indexes))) return undefined
    const content = yield* disk.readBytes(paths.index)
    if (content === undefined || !(yield* isFolder(paths.home))) return undefined
    const index = ArchiveIndex.decode(content)
    if (index === undefined) {
      return yield* nothing(`${paths.index} cannot be understood (damaged, or of another version)`)
    }
    const state = decodeState(paths, yield* disk.read(join(paths.home, paths.names.state)))
    if (state?.zip_sha256 !== index.sha256) return yield* nothing(`${paths.index} is of another archive`)
    const zip = join(paths.home, paths.names.zip)
    const stat = yield* disk.stat(zip)
    if (stat?.kind !== "file" || stat.size !== state.zip_size) {
      return yield* nothing(`${zip} is not there, or not of the size that was published`)
    }
    const { checksums, pieces } = yield* (yield* Hasher).hashInPieces(zip)
    if (checksums.sha256 !== index.sha256) {
      return yield* nothing(`${zip} is damaged: its SHA-256 is not the one that was published`)
    }
    const { ctimeMs, dev, ino, mtimeMs, size } = stat
    const file = { dev, ino, size, mtimeMs, ctimeMs }
    return { zip, file, checksums, pieces, index } satisfies ArchiveIndex.PreviousArchive
  }).pipe(Effect.catchAll((error) => nothing(error.message)))

const nothing = (why: string) => Effect.as(Effect.logInfo(`everything is compressed anew: ${why}`), undefined)

// A folder there cannot be removed as a file: EISDIR on Linux, EPERM elsewhere.
const adviceOnIndex = (path: string, code: string | undefined): string =>
  code === "EISDIR" || code === "EPERM"
    ? `. If something else lies at ${path}, find out who made it, then remove it`
    : adviceOnWriting(code)

/** Makes it the index of the archive that was just published; the one of the archive before it is void in any case. */
export const replace = (layout: Layout, paths: FolderLayout, index: ArchiveIndex.ArchiveIndex | undefined) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    if (index === undefined) return yield* disk.remove(paths.index)
    yield* jobState.makeJobFolder(layout.job)
    yield* jobState.makeJobFolder(layout.indexes)
    // Not synced: what a power cut makes of it is recognised, and costs time only.
    yield* jobState.replaceByRename(paths.index, (draft) => disk.writeUnsynced(draft, ArchiveIndex.encode(index)))
  }).pipe(
    Effect.catchAll((error) =>
      Effect.logWarning(
        `the archive was published, but the next one takes longer than it need: ${error.message}${error._tag === "DiskError" ? adviceOnIndex(paths.index, error.code) : ""}`
      )
    )
  )
