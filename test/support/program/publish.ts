import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type HandMade, handMade } from "../zip/handMade.ts"
import type { Place } from "./built.ts"

/** Publishes a zip, with checksums and metadata that fit. */
export const publishZip = (place: Place, folder: string, entries: ReadonlyArray<HandMade>): void => {
  const zip = handMade(entries)
  const digest = (algorithm: string) => createHash(algorithm).update(zip).digest("hex")
  const put = (name: string, content: string | Buffer) => writeFileSync(join(place.target, folder, name), content)
  mkdirSync(join(place.target, folder))
  put(`${folder}.zip`, zip)
  for (const algorithm of ["md5", "sha256"]) {
    put(`${folder}.zip.${algorithm}`, `${digest(algorithm)}  ${folder}.zip\n`)
  }
  const metadata = {
    zip_name: `${folder}.zip`,
    files: entries.map(({ name }) => String(name)),
    zip_md5: digest("md5"),
    zip_sha256: digest("sha256"),
    total_files: entries.length,
    total_bytes: entries.reduce((sum, { content = "", size }) => sum + (size ?? content.length), 0),
    created_at_utc: "2025-01-01T12:00:00Z",
    snapshot: "live"
  }
  put("metadata.json", `${JSON.stringify(metadata, null, 2)}\n`)
}

/** Whether a folder can be mounted a second time here, in a mount namespace that no other process sees. */
export const canMount = spawnSync("unshare", ["-m", "mount", "--bind", "/tmp", "/mnt"]).status === 0
