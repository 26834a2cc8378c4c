import { appendFileSync, cpSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { manyLogs, once, tinyFiles } from "./corpora.ts"
import { inTurn, type Measured, measure } from "./measure.ts"
import { run } from "./peers.ts"
import { anHourLater, configure, corpus, emptied, heading, most, ratio, row, runs, work } from "./setting.ts"

/** What a run costs by what changed, and by how many files and folders there are. */

const repeated = async (times: number, command: () => Promise<Measured>): Promise<Measured> => {
  const [result] = await inTurn(times, [command])
  if (result === undefined) throw new Error("nothing was measured")
  return result
}

/** Changes 1 % of the files, another 1 % at each turn. */
const change = (folder: string, turn: number): void => {
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .filter((_, i) => i % 100 === turn % 100)
    .forEach((path) => {
      appendFileSync(path, `changed ${turn}\n`)
    })
}

/** A folder archived, then again with 1 % of its files changed, then with nothing changed. */
const again = async (name: string, original: string): Promise<void> => {
  const place = emptied("incremental")
  const folder = join(place, "source", "CRPS")
  cpSync(original, folder, { recursive: true, preserveTimestamps: true })
  const env = anHourLater()
  const full = await repeated(runs, () => run(configure(place, folder).config, { env }))
  const config = join(place, "config.json")
  let turn = 0
  const changed = await repeated(runs, () => {
    change(folder, turn++)
    return run(config, { env })
  })
  const nothing = await repeated(runs, () => run(config, { env }))
  heading(`${name}, run again`, 16, "seconds", "of full", "processor", "of full")
  for (const [what, { cpu, seconds }] of [
    ["full run", full],
    ["1 % changed", changed],
    ["nothing changed", nothing]
  ] as const) {
    row(what, seconds.toFixed(2), ratio(seconds, full.seconds), cpu.toFixed(2), ratio(cpu, full.cpu))
  }
}

export const incremental = async (): Promise<void> => {
  await again("code", corpus("code"))
  await again("600 logs of 1 MB", once(join(work, "manyLogs", "CRPS"), manyLogs))
}

/** Many tiny files in one folder: a full run, one without a change, and find for comparison. */
export const counts = async (): Promise<void> => {
  const env = anHourLater()
  const lines: Array<ReadonlyArray<string>> = []
  for (const count of [1000, 10_000, 100_000, 1_000_000].filter((n) => n <= most)) {
    const folder = once(join(work, `tiny${count}`, "TINY"), (path) => tinyFiles(path, count))
    const place = emptied("count")
    const times = count > 100_000 ? 1 : runs
    const full = await repeated(times, () => run(configure(place, folder).config, { env }))
    const unchanged = await repeated(times, () => run(join(place, "config.json"), { env }))
    const find = await repeated(times, () => measure("find", [folder, "-printf", "%P %s %T@ %y\\n"]))
    const seconds = [full, unchanged, find].map((measured) => measured.seconds.toFixed(2))
    lines.push([String(count), ...seconds, ratio(unchanged.seconds, find.seconds)])
  }
  heading("small files in one folder, seconds", 10, "full run", "no change", "find", "of find")
  for (const [count = "", ...cells] of lines) row(count, ...cells)
}

/** A thousand folders of one file. */
export const folders = async (): Promise<void> => {
  const source = once(join(work, "thousand"), (path) => {
    for (let i = 0; i < 1000; i++) {
      const folder = join(path, `F${String(i).padStart(3, "0")}`)
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, "a"), `folder ${i}\n`)
    }
  })
  const env = anHourLater()
  const { config } = configure(emptied("folders"), join(source, "F000"))
  const full = await repeated(1, () => run(config, { env }))
  const nothing = await repeated(runs, () => run(config, { env }))
  heading("1,000 folders", 16, "seconds", "processor")
  row("first run", full.seconds.toFixed(2), full.cpu.toFixed(2))
  row("nothing changed", nothing.seconds.toFixed(2), nothing.cpu.toFixed(2))
}
