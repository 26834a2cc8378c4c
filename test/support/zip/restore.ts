import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs"
import type { ExtractRequest } from "../../../src/zip/ExtractTarget.ts"

/** A request for all of a zip, whatever its metadata says. */
export const requestFor = (zip: string, to: string, change: Partial<ExtractRequest> = {}): ExtractRequest => ({
  zip,
  file: statSync(zip),
  files: 0,
  bytes: 0,
  to,
  only: [],
  overwrite: false,
  sync: false,
  keepOut: [],
  ...change
})

/** Everything below a folder: bytes of the path (latin1), and all that an archive keeps of it. */
export const contentOf = (folder: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  const visit = (path: Buffer, shown: string): void => {
    for (const name of readdirSync(path, { encoding: "buffer" })) {
      const at = Buffer.concat([path, Buffer.from("/"), name])
      const stats = lstatSync(at)
      const label = `${shown}${name.toString("latin1")}`
      const seconds = Math.floor(stats.mtimeMs / 1000)
      if (stats.isDirectory()) {
        found.push(`d ${label} ${(stats.mode & 0o1777).toString(8)} ${seconds}`)
        visit(at, `${label}/`)
      } else {
        const content = stats.isFile() ? readFileSync(at).toString("hex") : "no file"
        found.push(`f ${label} ${(stats.mode & 0o777).toString(8)} ${seconds} ${content}`)
      }
    }
  }
  visit(Buffer.from(folder), "")
  return found.sort()
}
