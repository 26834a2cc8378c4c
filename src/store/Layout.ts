import { join, resolve } from "node:path"
import { type FolderName, parseFolderName } from "../source/FolderName.ts"
import type { StoreSettings } from "./Store.ts"

export type Layout = ReturnType<typeof make>

export const make = (settings: Omit<StoreSettings, "folders"> & { readonly folders: RegExp | undefined }) => {
  const target = resolve(settings.targetPath)
  const job = join(target, ".zipper")
  const dir = settings.tmpDir === undefined ? undefined : resolve(settings.tmpDir)
  return {
    target,
    /** Undefined: what a folder of the target holds says whether it is one of archives. */
    folders: settings.folders,
    source: settings.sourcePath === undefined ? undefined : resolve(settings.sourcePath),
    job,
    cursor: join(job, "cursor.json"),
    identity: join(job, "job.json"),
    pathId: settings.jobId,
    failures: join(job, "failures"),
    indexes: join(job, "index"),
    mounts: join(job, "mounts.json"),
    places: settings.placesPaths ?? [],
    probe: `${probePrefix}${settings.jobId}`,
    tmp: dir === undefined ? undefined : { dir, root: join(dir, `zipper-${settings.jobId}`) }
  } as const
}

export type FolderLayout = ReturnType<typeof folder>

/** `home`: where it is read, when that is not in the target of the layout. */
export const folder = (layout: Layout, name: FolderName, home = join(layout.target, name)) => {
  const work = join(home, ".publish")
  return {
    folder: name,
    home,
    /** Work area of a publication: on the same file system as what it publishes. */
    work,
    next: join(work, "next"),
    /** Hard links of what they replace. */
    old: join(work, "old"),
    /** The journal under construction, in force, and of a publication that is being undone. */
    draft: join(work, "journal"),
    commit: join(work, "commit"),
    abort: join(work, "abort"),
    /** Says that a run made `home`, which is to be removed as long as it is empty. */
    marker: join(layout.job, `made-${name}`),
    failure: join(layout.failures, `${name}.json`),
    index: join(layout.indexes, name),
    tmp: layout.tmp === undefined ? undefined : join(layout.tmp.root, name),
    names: publishedFileNames(name)
  } as const
}

export const folderOfMarker = (name: string): FolderName | undefined =>
  name.startsWith("made-") ? parseFolderName(name.slice("made-".length)) : undefined

/** Name of the file that shows whether one can be renamed from tmp_dir into the target. */
export const trial = ".trial"

/** Begins the names of the files that show whether a place can be written to; `check` makes them beside a run. */
export const probePrefix = ".zipper-probe-"

/** Ends the name under which a state file is written before it takes its place. */
export const draftSuffix = ".new"

export const publishedFileNames = (folder: FolderName) => ({
  zip: `${folder}.zip`,
  md5: `${folder}.zip.md5`,
  sha256: `${folder}.zip.sha256`,
  metadata: "metadata.json",
  state: ".state.json",
  prevZip: `${folder}.prev.zip`,
  prevMd5: `${folder}.prev.zip.md5`,
  prevSha256: `${folder}.prev.zip.sha256`,
  prevMetadata: "metadata.prev.json"
})
