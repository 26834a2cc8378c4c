import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { parseFolderName } from "../../../src/source/FolderName.ts"
import type { FolderState } from "../../../src/store/FolderState.ts"
import type { Cursor } from "../../../src/store/Records.ts"
import { type Publication, Store, type StoreSettings } from "../../../src/store/Store.ts"
import { Disk } from "../../../src/system/Disk.ts"
import { HashError, Hasher } from "../../../src/system/Hasher.ts"
import type { ArchiveIndex } from "../../../src/zip/ArchiveIndex.ts"
import { fourLetters } from "../folders.ts"

const named = (name: string) => {
  const folder = parseFolderName(name)
  if (folder === undefined) throw new Error(`${name} is no folder name`)
  return folder
}

export const abcd = named("ABCD")
export const folderName = named

/** For tests that publish a thousand times: in memory where there is such a place, since syncing takes most of the time. */
export const fastTmp = (): string => (fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir())

/** A place on disk for one test: removed when the scope closes. */
export const scopedPlace = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "zipper-store-"))),
  (root) => Effect.sync(() => fs.rmSync(root, { recursive: true, force: true }))
).pipe(Effect.map((root) => ({ ...emptyPlace(root), root })))

/** Target and tmp_dir in `root`. */
export const emptyPlace = (root: string): StoreSettings & { readonly tmpDir: string } => {
  const place = placeIn(root)
  fs.mkdirSync(place.targetPath, { recursive: true })
  fs.mkdirSync(place.tmpDir, { recursive: true })
  return place
}

export const placeIn = (root: string) => ({
  targetPath: path.join(root, "target"),
  tmpDir: path.join(root, "tmp"),
  jobId: "test",
  folders: fourLetters
})

const digest = (algorithm: string, content: string) => createHash(algorithm).update(content).digest("hex")

/** What goes with an archive of this content. */
export const publicationOf = (content: string, folder = abcd): Publication => {
  const zip_md5 = digest("md5", content)
  const zip_sha256 = digest("sha256", content)
  const state: FolderState = {
    version: 1,
    folder,
    manifest_sha256: digest("sha256", `manifest of ${content}`),
    hard_links: false,
    snapshot: `tank/data@${content}`,
    archived_at_utc: "2025-01-01T12:00:00Z",
    files: 2,
    bytes: 10,
    zip_size: Buffer.byteLength(content),
    zip_md5,
    zip_sha256
  }
  return {
    metadata: {
      zip_name: `${folder}.zip`,
      files: ["a", `file of ${content}`],
      zip_md5,
      zip_sha256,
      total_files: 2,
      total_bytes: 10,
      created_at_utc: "2025-01-01T12:00:00Z",
      snapshot: state.snapshot
    },
    state
  }
}

/** What such an archive was made of: two files. */
export const indexOf = (content: string): ArchiveIndex => ({
  method: "auto",
  level: 6,
  sha256: digest("sha256", content),
  stamps: BigInt64Array.of(1n, 1_700_000_000_000_000_000n, 2n, 0n)
})

/** Stages and publishes an archive of this content, as the job does for one folder. */
export const archive = (content: string, folder = abcd, onPublished: Effect.Effect<void> = Effect.void) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      const staging = yield* store.stage(folder)
      yield* Effect.sync(() => fs.writeFileSync(staging.zip, content, { flag: "wx" }))
      return yield* store.publish(staging, { ...publicationOf(content, folder), index: indexOf(content), onPublished })
    })
  )

/** Digests by node itself. */
const digests = (file: string) =>
  Effect.try({
    try: () => {
      const content = fs.readFileSync(file)
      return {
        md5: createHash("md5").update(content).digest("hex"),
        sha256: createHash("sha256").update(content).digest("hex")
      }
    },
    catch: (cause) => new HashError({ message: `cannot read ${file}`, transient: false, cause })
  })

export const hasher = Layer.succeed(Hasher, {
  hash: digests,
  hashInPieces: (file) => Effect.map(digests(file), (checksums) => ({ checksums, pieces: new Uint32Array() })),
  follow: (file) => Effect.succeed({ advance: () => undefined, hashed: () => undefined, finish: () => digests(file) })
})

/** The store on disk, with this disk. */
export const storeOn = (place: StoreSettings, disk: Layer.Layer<Disk> = Disk.layer): Layer.Layer<Store> =>
  Layer.provide(Store.layer(place), [disk, hasher])

/** Copies a tree, hard links included: two names of one file stay two names of one file. */
export const copyTree = (from: string, to: string): void => {
  const seen = new Map<number, string>()
  const copy = (source: string, target: string) => {
    const stat = fs.lstatSync(source)
    if (stat.isDirectory()) {
      fs.mkdirSync(target, { mode: stat.mode })
      for (const name of fs.readdirSync(source)) copy(path.join(source, name), path.join(target, name))
      return
    }
    const twin = seen.get(stat.ino)
    if (twin === undefined) fs.copyFileSync(source, target)
    else fs.linkSync(twin, target)
    seen.set(stat.ino, target)
  }
  copy(from, to)
}

/** Every file and folder below `root` with kind, size, content and mode: equal when nothing has changed. */
export const listing = (root: string): ReadonlyArray<string> =>
  fs
    .readdirSync(root, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const file = path.join(root, name)
      const stat = fs.lstatSync(file)
      const content = stat.isFile() ? fs.readFileSync(file, "latin1") : ""
      return `${name} ${stat.mode.toString(8)} ${stat.ino} ${stat.mtimeMs} ${content}`
    })

/** Runs it and gives the lines that it logged, "WARN text". */
export const logsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      lines.push(`${logLevel.label} ${Array.isArray(message) ? message.join(" ") : String(message)}`)
    })
    return effect.pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Effect.map((value) => ({ value, lines: lines.join("\n") }))
    )
  })

/** Of the run r1. */
export const cursor: Cursor = {
  version: 1,
  source_path: "/mnt/tank/data",
  base: { name: "auto-zip-20250101120000", guids: { "tank/data": "123" } },
  kept: [],
  archives: { ABCD: "a".repeat(64) },
  run: "r1",
  advanced_at_utc: "2025-01-01T12:00:00Z"
}
