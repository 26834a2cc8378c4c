import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"

/** What an independent reader finds in a folder: it knows DESIGN, section 5, and nothing of the store's code. */
export interface Findings {
  /** Content of the archives. */
  readonly current: string | undefined
  readonly previous: string | undefined
  /** Sets that are not whole. */
  readonly problems: ReadonlyArray<string>
  /** Everything that is no published file: temporary files, folders, journals. */
  readonly leftovers: ReadonlyArray<string>
}

const metadataKeys = [
  "zip_name",
  "files",
  "zip_md5",
  "zip_sha256",
  "total_files",
  "total_bytes",
  "created_at_utc",
  "snapshot"
]

const readIf = (file: string): string | undefined => (fs.existsSync(file) ? fs.readFileSync(file, "utf8") : undefined)

const hex = (algorithm: string, content: string): string => createHash(algorithm).update(content).digest("hex")

const checkSet = (home: string, zip: string, metadata: string, problems: Array<string>): string | undefined => {
  const content = readIf(path.join(home, zip))
  const beside = [`${zip}.md5`, `${zip}.sha256`, metadata].filter((name) => fs.existsSync(path.join(home, name)))
  if (content === undefined) {
    for (const name of beside) problems.push(`${name} without ${zip}`)
    return undefined
  }
  for (const algorithm of ["md5", "sha256"]) {
    const expected = `${hex(algorithm, content)}  ${zip}\n`
    const found = readIf(path.join(home, `${zip}.${algorithm}`))
    if (found !== expected) problems.push(`${zip}.${algorithm} is ${JSON.stringify(found)}`)
  }
  const text = readIf(path.join(home, metadata))
  const json: unknown = text === undefined ? undefined : JSON.parse(text)
  if (typeof json !== "object" || json === null) {
    problems.push(`${metadata} is missing`)
    return content
  }
  const values: Record<string, unknown> = { ...json }
  if (Object.keys(values).join() !== metadataKeys.join()) problems.push(`${metadata} has other keys`)
  if (values["zip_name"] !== zip) problems.push(`${metadata} names ${String(values["zip_name"])}`)
  if (values["zip_md5"] !== hex("md5", content)) problems.push(`${metadata} has another MD5`)
  if (values["zip_sha256"] !== hex("sha256", content)) problems.push(`${metadata} has another SHA-256`)
  if (values["snapshot"] !== `tank/data@${content}`) problems.push(`${metadata} has another snapshot`)
  return content
}

/** Reads one folder of the target, and looks for leftovers in all of target and tmp_dir. */
export const inspect = (
  place: { readonly targetPath: string; readonly tmpDir?: string | undefined },
  folder = "ABCD"
): Findings => {
  const home = path.join(place.targetPath, folder)
  const problems: Array<string> = []
  const current = checkSet(home, `${folder}.zip`, "metadata.json", problems)
  const previous = checkSet(home, `${folder}.prev.zip`, "metadata.prev.json", problems)
  const state = readIf(path.join(home, ".state.json"))
  if (current === undefined) {
    if (state !== undefined) problems.push(".state.json without an archive")
  } else {
    const json: unknown = state === undefined ? undefined : JSON.parse(state)
    const values: Record<string, unknown> = typeof json === "object" && json !== null ? { ...json } : {}
    if (values["zip_sha256"] !== hex("sha256", current)) problems.push(".state.json is of another archive")
    for (const [key, file] of [
      ["metadata_sha256", "metadata.json"],
      ["prev_metadata_sha256", "metadata.prev.json"]
    ] as const) {
      const text = readIf(path.join(home, file))
      const expected = text === undefined ? undefined : hex("sha256", text)
      if (values[key] !== expected) problems.push(`.state.json has ${String(values[key])} as ${key}`)
    }
    if (values["zip_size"] !== Buffer.byteLength(current)) problems.push(".state.json has another size")
  }
  const published = new Set([".state.json", "metadata.json", "metadata.prev.json"])
  for (const zip of [`${folder}.zip`, `${folder}.prev.zip`]) {
    for (const name of [zip, `${zip}.md5`, `${zip}.sha256`]) published.add(name)
  }
  const leftovers: Array<string> = []
  const entries = (dir: string) => (fs.existsSync(dir) ? fs.readdirSync(dir) : [])
  for (const name of entries(place.targetPath)) {
    if (/^[A-Z0-9]{4}$/.test(name)) {
      if (entries(path.join(place.targetPath, name)).length === 0) leftovers.push(`${name}, empty`)
    } else if (name !== ".zipper") leftovers.push(name)
  }
  for (const name of entries(home)) if (!published.has(name)) leftovers.push(`${folder}/${name}`)
  for (const name of entries(path.join(place.targetPath, ".zipper"))) {
    if (!["cursor.json", "failures", "index"].includes(name)) leftovers.push(`.zipper/${name}`)
  }
  for (const name of entries(path.join(place.targetPath, ".zipper", "index"))) {
    if (!/^[A-Z0-9]{4}$/.test(name)) leftovers.push(`.zipper/index/${name}`)
  }
  for (const name of place.tmpDir === undefined ? [] : entries(place.tmpDir)) leftovers.push(`tmp/${name}`)
  return { current, previous, problems, leftovers }
}
