import { createHash } from "node:crypto"
import type { Manifest, ManifestEntry } from "../../src/source/Manifest.ts"
import type { RawPath } from "../../src/text/RawPath.ts"

/** What `Manifest.hash` says, written down once more: the entries in their order, and the line of the folder itself before them. */
export const hashEntries = (
  folder: Pick<ManifestEntry, "mode" | "mtimeNs">,
  entries: ReadonlyArray<ManifestEntry>
): string => {
  const hash = createHash("sha256").update(`d ${folder.mode} 0 ${folder.mtimeNs} \0`)
  for (const { kind, mode, mtimeNs, path, size } of entries)
    hash.update(Buffer.from(`${kind.charAt(0)} ${mode} ${size} ${mtimeNs} ${path}\0`, "latin1"))
  return hash.digest("hex")
}

/** Order of manifests and archives: by the bytes of the path. */
export const byPath = (a: { readonly path: RawPath }, b: { readonly path: RawPath }): number =>
  a.path < b.path ? -1 : a.path > b.path ? 1 : 0

/** To compare whole manifests. */
export const plain = (manifest: Manifest) => ({ ...manifest, entries: [...manifest.entries] })
