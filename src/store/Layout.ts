import { join, resolve } from "node:path"
import { type FolderName, parseFolderName } from "../source/FolderName.ts"
import type { StoreSettings } from "./StoreError.ts"

/** Where everything of one job lies. */
export interface Layout {
  readonly target: string
  readonly source: string | undefined
  /** Job-wide state. */
  readonly job: string
  readonly cursor: string
  /** Which job the target belongs to. */
  readonly identity: string
  /** Follows from the paths of source and target. */
  readonly pathId: string
  readonly failures: string
  readonly indexes: string
  /** Which folders of the target are mounts of their own. */
  readonly mounts: string
  /** See StoreSettings.placesPaths. */
  readonly places: ReadonlyArray<string>
  /** Name of the file by which it is proved that a folder can be written to. */
  readonly probe: string
  readonly tmp: { readonly dir: string; readonly root: string } | undefined
}

export const make = (settings: StoreSettings): Layout => {
  const target = resolve(settings.targetPath)
  const job = join(target, ".zipper")
  const dir = settings.tmpDir === undefined ? undefined : resolve(settings.tmpDir)
  return {
    target,
    source: settings.sourcePath === undefined ? undefined : resolve(settings.sourcePath),
    job,
    cursor: join(job, "cursor.json"),
    identity: join(job, "job.json"),
    pathId: settings.jobId,
    failures: join(job, "failures"),
    indexes: join(job, "index"),
    mounts: join(job, "mounts.json"),
    places: settings.placesPaths ?? [],
    probe: `.zipper-probe-${settings.jobId}`,
    tmp: dir === undefined ? undefined : { dir, root: join(dir, `zipper-${settings.jobId}`) }
  }
}

/** Where everything of one folder lies. */
export interface FolderLayout {
  readonly folder: FolderName
  /** The published files. */
  readonly home: string
  /** Work area of a publication: on the same file system as what it publishes. */
  readonly work: string
  /** New files, on their way into `home`. */
  readonly next: string
  /** Hard links of what they replace. */
  readonly old: string
  /** The journal under construction, in force, and of a publication that is being undone. */
  readonly draft: string
  readonly commit: string
  readonly abort: string
  /** Says that `home` was made by us and is to be removed as long as it is empty. */
  readonly marker: string
  readonly failure: string
  /** What the current archive was made of: see ArchiveIndex. */
  readonly index: string
  /** Its place in tmp_dir. */
  readonly tmp: string | undefined
  readonly names: ReturnType<typeof publishedFileNames>
}

export const folder = (layout: Layout, name: FolderName): FolderLayout => {
  const home = join(layout.target, name)
  const work = join(home, ".publish")
  return {
    folder: name,
    home,
    work,
    next: join(work, "next"),
    old: join(work, "old"),
    draft: join(work, "journal"),
    commit: join(work, "commit"),
    abort: join(work, "abort"),
    marker: join(layout.job, `made-${name}`),
    failure: join(layout.failures, `${name}.json`),
    index: join(layout.indexes, name),
    tmp: layout.tmp === undefined ? undefined : join(layout.tmp.root, name),
    names: publishedFileNames(name)
  }
}

/** The folder that a name in `.zipper` is the marker of. */
export const folderOfMarker = (name: string): FolderName | undefined =>
  name.startsWith("made-") ? parseFolderName(name.slice("made-".length)) : undefined

/** Name of the file that shows whether one can be renamed from tmp_dir into the target. */
export const trial = ".trial"

/** Ends the name under which a state file is written before it takes its place. */
export const draftSuffix = ".new"

/** The files of a folder's two sets. */
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
