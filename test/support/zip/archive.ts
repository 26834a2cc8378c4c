import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, utimesSync, writeFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as FolderName from "../../../src/source/FolderName.ts"
import type { Manifest, ManifestEntry } from "../../../src/source/Manifest.ts"
import type { SourceView } from "../../../src/source/SourceView.ts"
import { Tree } from "../../../src/source/Tree.ts"
import * as RawPath from "../../../src/text/RawPath.ts"
import { Archiver } from "../../../src/zip/Archiver.ts"
import { hashEntries } from "../manifest.ts"

/** The folder that all of these tests archive. */
export const abcd = FolderName.FolderName.make("ABCD")

/** A view of a plain folder. */
export const viewOf = (root: string, change: Partial<SourceView> = {}): SourceView => ({
  label: "tank/data@test",
  snapshot: undefined,
  root: RawPath.fromText(root),
  grafts: [],
  blocked: [],
  frozen: true,
  ...change
})

/** What to give a file beside its content. `seconds` since 1970. */
export interface FileOptions {
  readonly seconds?: number
  readonly mode?: number
}

/** Writes a file, with the directories that it needs. A path may be bytes. */
export const put = (path: string | Buffer, content: string | Buffer, options: FileOptions = {}): void => {
  const bytes = Buffer.from(path)
  mkdirSync(bytes.subarray(0, bytes.lastIndexOf(0x2f)), { recursive: true })
  writeFileSync(bytes, content)
  chmodSync(bytes, options.mode ?? 0o644)
  // As a Date: node takes a negative number for "now".
  const time = new Date((options.seconds ?? 1_700_000_000) * 1000)
  utimesSync(bytes, time, time)
}

/** Bytes that look random and are always the same (xorshift). */
export const noise = (length: number, seed = 1): Buffer => {
  const bytes = Buffer.alloc(length)
  let state = seed * 2_654_435_761
  for (let at = 0; at < length; at += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[at] = state & 0xff
  }
  return bytes
}

/** An entry that lies on no disk: enough for directories, which are not opened. */
export const entryOf = (path: string, change: Partial<ManifestEntry> = {}): ManifestEntry => ({
  path: RawPath.fromText(path),
  name: path,
  kind: "directory",
  size: 0,
  mtimeNs: 1_700_000_000_000_000_000n,
  mode: 0o40755,
  ...change
})

/** A manifest of these entries, which must be in order. */
export const manifestOf = (entries: ReadonlyArray<ManifestEntry>): Manifest => {
  const files = entries.filter(({ kind }) => kind === "file")
  return {
    folder: abcd,
    entries,
    files: files.length,
    directories: entries.length - files.length,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    skipped: 0,
    hardLinks: false,
    hash: hashEntries({ mode: 0o40755, mtimeNs: 1_700_000_000_000_000_000n }, entries)
  }
}

/** Tree and Archiver as they are in a run. */
export const layers = (method: "auto" | "deflate" = "auto", level = 6) =>
  Layer.mergeAll(Tree.layer, Archiver.layer({ method, level }))

/** Archives the view's folder ABCD and verifies it; the manifest. */
export const archiveAndVerify = Effect.fnUntraced(function* (view: SourceView, zip: string) {
  const tree = yield* Tree
  const archiver = yield* Archiver
  const manifest = yield* tree.manifest(view, abcd)
  const report = yield* archiver.archive(view, manifest, zip)
  yield* archiver.verify(zip, manifest)
  return { manifest, report }
})

/** Runs a program to its end. Output as bytes, since names are. */
export const run = (
  program: string,
  args: ReadonlyArray<string>,
  options: { readonly cwd?: string; readonly env?: Record<string, string>; readonly input?: Buffer } = {}
) => {
  const result = spawnSync(program, args, {
    ...options,
    env: { ...process.env, LC_ALL: "C.UTF-8", ...options.env },
    maxBuffer: 1 << 28
  })
  return {
    status: result.status,
    stdout: result.stdout,
    output: `${result.stdout.toString("utf8")}${result.stderr.toString("utf8")}`
  }
}
