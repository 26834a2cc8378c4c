import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { makeConfig, type Pool, type Ran, zfs, zipper } from "./support.ts"

/** A source and a target dataset of its own for one job. */
export interface Place {
  readonly data: string
  readonly source: string
  readonly target: string
  readonly config: string
}

let places = 0

/** `keys`: further ones of the configuration; `inside`: the source's path in its dataset. */
export const placeIn = (pool: Pool, keys: Readonly<Record<string, unknown>> = {}, inside = ""): Place => {
  const name = `${pool.name}/p${++places}`
  zfs("create", name)
  zfs("create", `${name}/source`)
  zfs("create", `${name}/target`)
  const folder = path.join(pool.mountpoint, `p${places}`)
  const source = path.join(folder, "source", inside)
  const target = path.join(folder, "target")
  const config = makeConfig(folder, { source_path: source, target_path: target, ...keys })
  return { data: `${name}/source`, source, target, config }
}

export const run = (place: Place, ...args: ReadonlyArray<string>): Ran =>
  zipper("run", "--config", place.config, ...args)

export const succeed = (place: Place, ...args: ReadonlyArray<string>): Ran => {
  const ran = run(place, ...args)
  assert.equal(ran.status, 0, ran.stdout + ran.stderr)
  return ran
}

export const zipOf = (place: Place, folder: string) => path.join(place.target, folder, `${folder}.zip`)
export const archived = (place: Place) => fs.readdirSync(place.target).filter((name) => !name.startsWith("."))
export const snapshotIn = (place: Place, folder: string): string =>
  JSON.parse(fs.readFileSync(path.join(place.target, folder, "metadata.json"), "utf8")).snapshot
