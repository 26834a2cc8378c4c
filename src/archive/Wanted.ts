import type { FolderName } from "../domain/FolderName.ts"
import { type Identity, identityOf, type Manifest, type ManifestEntry } from "../domain/Manifest.ts"
import * as RawPath from "../domain/RawPath.ts"
import * as Source from "../domain/Source.ts"

/** What files are read from; plain data that goes to another thread. */
export interface WantedFrom {
  readonly folder: FolderName
  /** The view's. */
  readonly label: string
  /** The view's: otherwise a file may change while it is read. */
  readonly frozen: boolean
  /** Where the folder is read. */
  readonly root: RawPath.RawPath
}

/** A file of the source and what it has to be; plain data as well. */
export interface Wanted {
  /** Relative to its folder. */
  readonly path: RawPath.RawPath
  /** Where it is read. */
  readonly real: RawPath.RawPath
  readonly size: number
  readonly mtimeNs: bigint
  /** Which file was listed, where another one may have come to its place since. */
  readonly listed: Identity | undefined
}

/** What a view's files of a folder have in common. */
export const wantedFrom = (view: Source.SourceView, folder: FolderName): WantedFrom => ({
  folder,
  label: view.label,
  frozen: view.frozen,
  root: Source.resolve(view, RawPath.fromText(folder))
})

/** Where the manifest's entry at `index` is read, and what it has to be. */
export const wantedOf = (
  view: Source.SourceView,
  manifest: Manifest,
  entry: ManifestEntry,
  index: number
): Wanted => ({
  path: entry.path,
  real: Source.resolveEntry(view, manifest.folder, entry.path),
  size: entry.size,
  mtimeNs: entry.mtimeNs,
  listed: view.frozen ? undefined : identityOf(manifest, index)
})

/** With its folder, for people. */
export const shownName = (from: WantedFrom, wanted: Wanted): string =>
  RawPath.display(RawPath.join(RawPath.fromText(from.folder), wanted.path))
