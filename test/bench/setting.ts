import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { cpus, tmpdir, totalmem } from "node:os"
import { basename, dirname, join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { corpora, once } from "./corpora.ts"

/** What was asked for, and where it is done. */

const { values } = parseArgs({
  options: {
    work: { type: "string" },
    to: { type: "string" },
    runs: { type: "string", default: "3" },
    only: { type: "string", multiple: true },
    corpus: { type: "string", multiple: true },
    most: { type: "string", default: "100000" },
    gigabytes: { type: "string", default: "4" },
    chart: { type: "string", default: ".github/frontier.svg" }
  }
})

export const runs = Number(values.runs)
export const most = Number(values.most)
export const gigabytes = Number(values.gigabytes)
export const chartPath = resolve(values.chart)
export const work = values.work === undefined ? mkdtempSync(join(tmpdir(), "zipper-bench-")) : resolve(values.work)
/** Where files are restored to. */
export const to = values.to === undefined ? work : resolve(values.to)
export const built = resolve("dist/zipper.mjs")
export const only = values.only
export const corpusNames = values.corpus ?? Object.keys(corpora)
mkdirSync(work, { recursive: true })

/** The corpora stay for the next time where the user named a folder for them. */
export const leave = (): void => {
  if (values.work === undefined) rmSync(work, { recursive: true, force: true })
}

export const machine = `${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB, node ${process.version}, median of ${runs}`

/** A folder CRPS in a source of its own. */
export const corpus = (name: string): string => {
  const fill = corpora[name]
  if (fill === undefined) throw new Error(`no corpus ${name}: ${Object.keys(corpora).join(", ")}`)
  return once(join(work, name, "CRPS"), fill)
}

/** An empty folder below the work folder, or another one. */
export const emptied = (name: string, above = work): string => {
  const place = join(above, name)
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  return place
}

/** A configuration in `place` for the source that holds `folder`, with an empty target beside it. */
export const configure = (place: string, folder: string, keys: Record<string, unknown> = {}) => {
  const target = join(place, "target")
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  const config = join(place, "config.json")
  const text = JSON.stringify({
    source_path: dirname(folder),
    target_path: target,
    snapshots: "live",
    folders: "[A-Z0-9]{4}",
    lockfile_path: join(place, "lock"),
    log_file: join(place, "log"),
    syslog: false,
    nice: 0,
    ...keys
  })
  writeFileSync(config, text)
  const name = basename(folder)
  return { config, target, zip: join(target, name, `${name}.zip`) }
}

/** Files younger than a quarter of an hour are never taken for unchanged: with this, an hour has gone by. */
export const anHourLater = (): NodeJS.ProcessEnv => {
  const file = join(work, "anHourLater.cjs")
  writeFileSync(file, "const now = Date.now\nDate.now = () => now() + 36e5\n")
  return { ...process.env, NODE_OPTIONS: `--require ${file}` }
}

const widths: Array<number> = []

/** A row of a table in Markdown; a heading begins the next table. */
export const row = (...cells: ReadonlyArray<string>): void =>
  console.log(
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |`
  )

export const heading = (title: string, first: number, ...cells: ReadonlyArray<string>): void => {
  console.log(`\n${title}\n`)
  widths.splice(0, widths.length, first, ...cells.map((cell) => Math.max(8, cell.length)))
  row("", ...cells)
  console.log(
    `|${widths.map((width, i) => (i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`
  )
}

export const ratio = (a: number, b: number): string => (a / b).toFixed(2)
