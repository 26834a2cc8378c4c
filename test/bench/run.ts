import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { corpora, giants, manyLogs, once, tinyFiles } from "./corpora.ts"
import { type Measured, measure, median } from "./measure.ts"
import { type Contender, configure, peers, pythonName, zipName, zipper, zipperRun, zipperWith } from "./peers.ts"

/**
 * npm run bench [-- --work DIR] [--runs N] [--only corpora|incremental|count|folders|large|start|executable]
 * Whole processes, wall time, median of N. Corpora are kept in DIR for the next time; without it they go.
 */
const { values } = parseArgs({
  options: {
    work: { type: "string" },
    runs: { type: "string", default: "3" },
    only: { type: "string", multiple: true },
    most: { type: "string", default: "1000000" }
  }
})
const runs = Number(values.runs)
const most = Number(values.most)
const work = values.work === undefined ? mkdtempSync(join(tmpdir(), "zipper-bench-")) : resolve(values.work)
const built = resolve("dist/zipper.mjs")
const wanted = (part: string): boolean => values.only === undefined || values.only.includes(part)
mkdirSync(work, { recursive: true })

const row = (...cells: ReadonlyArray<string>): void =>
  console.log(`| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(30) : cell.padStart(11))).join(" | ")} |`)
const rule = (columns: number): void => console.log(`|${"---|".repeat(columns)}`)
const seconds = (measured: Measured): string => measured.seconds.toFixed(2)
const mebibytes = (measured: Measured): string => measured.peakMiB.toFixed(0)

const repeated = async <A extends Measured>(times: number, once: () => Promise<A>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for (let i = 0; i < times; i++) all.push(await once())
  return all
}

/** A source folder of its own for each corpus, holding one folder CRPS. */
const corpus = (name: string): string => {
  const fill = corpora[name]
  if (fill === undefined) throw new Error(`no corpus ${name}`)
  return once(join(work, name, "CRPS"), fill)
}

const compare = async (name: string): Promise<void> => {
  const folder = corpus(name)
  console.log(`\n${name}\n`)
  row("", "seconds", "MB", "peak MiB", "zipper is")
  rule(5)
  const contenders: ReadonlyArray<Contender> = [zipper(built), ...peers]
  const results: Array<{ readonly name: string; readonly measured: Measured; readonly size: number }> = []
  for (const contender of contenders) {
    const all = await repeated(runs, () => contender.archive(folder, work))
    results.push({ name: contender.name, measured: median(all), size: all[0]?.size ?? 0 })
  }
  const [ours] = results
  if (ours === undefined) return
  for (const result of results) {
    row(
      result.name,
      seconds(result.measured),
      (result.size / 1e6).toFixed(1),
      mebibytes(result.measured),
      result === ours ? "" : (ours.measured.seconds / result.measured.seconds).toFixed(2)
    )
  }
  const fastest = results
    .slice(1)
    .reduce((a, b) => (a.measured.seconds <= b.measured.seconds ? a : b), results[1] ?? ours)
  const against = (peer: string): string => {
    const found = results.find((result) => result.name === peer)
    return found === undefined ? "-" : (ours.measured.seconds / found.measured.seconds).toFixed(2)
  }
  const zip = results.find((result) => result.name === zipName)
  console.log(
    `\n${name}: ${(ours.measured.seconds / fastest.measured.seconds).toFixed(2)} of the fastest peer (${fastest.name}), ` +
      `${against(pythonName)} of the Python job, archive ${zip === undefined ? "-" : (ours.size / zip.size).toFixed(3)} of zip -6's`
  )
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

/** Files that are younger than a quarter of an hour are never taken for unchanged: an hour later none of these is. */
const anHourLater = "--import=data:text/javascript,const%20now=Date.now;Date.now=()=>now()+36e5"

/** A folder archived, then again with 1 % of its files changed, then with nothing changed. */
const again = async (name: string, original: string): Promise<void> => {
  const source = join(work, "incremental")
  rmSync(source, { recursive: true, force: true })
  cpSync(original, join(source, "CRPS"), { recursive: true, preserveTimestamps: true })
  const place = join(work, "incremental-work")
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  const config = configure(place, source)
  const target = join(place, "target")
  const full = median(
    await repeated(runs, () => {
      rmSync(target, { recursive: true, force: true })
      mkdirSync(target)
      return zipperRun(built, config)
    })
  )
  let turn = 0
  const changed = median(
    await repeated(runs, () => {
      change(join(source, "CRPS"), turn)
      turn += 1
      return zipperRun(built, config)
    })
  )
  const nothing = median(await repeated(runs, () => zipperRun(built, config)))
  console.log(`\n${name}, run again\n`)
  row("", "seconds", "peak MiB", "of a full run")
  rule(4)
  for (const [what, measured] of [
    ["full run", full],
    ["1 % changed", changed],
    ["nothing changed", nothing]
  ] as const) {
    row(what, seconds(measured), mebibytes(measured), (measured.seconds / full.seconds).toFixed(2))
  }
}

const incremental = async (): Promise<void> => {
  process.env["NODE_OPTIONS"] = anHourLater
  await again("code", corpus("code"))
  await again("3,000 logs of 1 MB", once(join(work, "manylogs3000", "CRPS"), manyLogs))
  await again(
    "100,000 small files",
    once(join(work, "tiny100000", "TINY"), (path) => tinyFiles(path, 100_000))
  )
}

/** Many tiny files in one folder: a full run, the manifest alone, and find for comparison. */
const counts = async (): Promise<void> => {
  console.log("\nsmall files in one folder\n")
  row("files", "full run", "peak MiB", "no change", "find", "ratio")
  rule(6)
  for (const count of [1000, 10_000, 100_000, 1_000_000].filter((n) => n <= most)) {
    const source = join(work, `tiny${count}`)
    const folder = once(join(source, "TINY"), (path) => tinyFiles(path, count))
    const place = join(work, "tiny-work")
    rmSync(place, { recursive: true, force: true })
    mkdirSync(place, { recursive: true })
    const config = configure(place, source)
    const times = count > 100_000 ? 1 : runs
    const full = median(
      await repeated(times, () => {
        rmSync(join(place, "target"), { recursive: true, force: true })
        mkdirSync(join(place, "target"))
        return zipperRun(built, config)
      })
    )
    const unchanged = median(await repeated(times, () => zipperRun(built, config)))
    const find = median(await repeated(times, () => measure("find", [folder, "-printf", "%P %s %T@ %y\\n"])))
    row(
      String(count),
      seconds(full),
      mebibytes(full),
      seconds(unchanged),
      seconds(find),
      (unchanged.seconds / find.seconds).toFixed(2)
    )
  }
}

const folders = async (): Promise<void> => {
  const source = join(work, "thousand")
  once(source, (path) => {
    for (let i = 0; i < 1000; i++) {
      const folder = join(path, `F${String(i).padStart(3, "0")}`)
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, "a"), `folder ${i}\n`)
    }
  })
  const place = join(work, "thousand-work")
  rmSync(place, { recursive: true, force: true })
  mkdirSync(place, { recursive: true })
  const config = configure(place, source)
  const full = await zipperRun(built, config)
  const nothing = median(await repeated(runs, () => zipperRun(built, config)))
  console.log("\n1,000 folders\n")
  row("", "seconds", "peak MiB")
  rule(3)
  row("first run", seconds(full), mebibytes(full))
  row("nothing changed", seconds(nothing), mebibytes(nothing))
}

/** Files larger than any memory. */
const large = async (): Promise<void> => {
  console.log("\none large file\n")
  row("", "seconds", "GB", "peak MiB")
  rule(4)
  for (const [name, fill] of Object.entries(giants)) {
    const folder = once(join(work, name, "HUGE"), fill)
    const measured = await zipper(built).archive(folder, work)
    row(name, seconds(measured), (measured.size / 1e9).toFixed(2), mebibytes(measured))
    rmSync(join(work, name), { recursive: true })
  }
}

const startUp = async (): Promise<void> => {
  const times = Math.max(runs, 9)
  const bare = median(await repeated(times, () => measure(process.execPath, ["-e", "0"])))
  const version = median(await repeated(times, () => measure(process.execPath, [built, "--version"])))
  const help = median(await repeated(times, () => measure(process.execPath, [built, "run", "--help"])))
  console.log("\nstart-up\n")
  row("", "seconds", "of bare node")
  rule(3)
  for (const [name, measured] of [
    ["node -e 0", bare],
    ["--version", version],
    ["run --help", help]
  ] as const) {
    row(name, measured.seconds.toFixed(3), (measured.seconds / bare.seconds).toFixed(2))
  }
}

/** The executable beside node with the file: start-up, and a full run. */
const executable = async (): Promise<void> => {
  const program = resolve(`dist/zipper-linux-${process.arch}`)
  if (!existsSync(program)) return console.log(`\nno executable: npm run build:standalone -- ${process.arch}`)
  const times = Math.max(runs, 9)
  const folder = corpus("code")
  console.log("\nthe executable, and node with the file\n")
  row("", "--version", "run, code", "peak MiB")
  rule(4)
  for (const [name, file] of [
    [`node ${process.version}, zipper.mjs`, built],
    ["executable", program]
  ] as const) {
    const version = median(await repeated(times, () => zipperWith(file, ["--version"])))
    const run = median(await repeated(runs, () => zipper(file).archive(folder, work)))
    row(name, version.seconds.toFixed(3), seconds(run), mebibytes(run))
  }
}

console.log(`${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, node ${process.version}, median of ${runs}`)
try {
  if (wanted("corpora")) for (const name of Object.keys(corpora)) await compare(name)
  if (wanted("incremental")) await incremental()
  if (wanted("count")) await counts()
  if (wanted("folders")) await folders()
  if (wanted("large")) await large()
  if (wanted("start")) await startUp()
  if (wanted("executable")) await executable()
} finally {
  if (values.work === undefined) rmSync(work, { recursive: true, force: true })
}
