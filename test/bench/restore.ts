import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { installed, inTurn, type Measured, measure } from "./measure.ts"
import { run } from "./peers.ts"
import { built, configure, corpus, corpusNames, emptied, heading, ratio, row, runs, to } from "./setting.ts"

/** Getting files back, and checking an archive, against the programs that a user has for it. */

interface Way {
  readonly name: string
  readonly go: () => Promise<Measured>
}

type Args = () => ReadonlyArray<string>

const zipperDoes = (name: string, args: Args): Way => ({
  name,
  go: () => measure(process.execPath, [built, ...args(), "--quiet"])
})

const shellDoes = (name: string, script: string, args: Args): ReadonlyArray<Way> =>
  installed(name.split(" ")[0] ?? name) ? [{ name, go: () => measure("sh", ["-ec", script, "sh", ...args()]) }] : []

/** Prints each measurement on standard error at once, the medians at the end. Ratios: of the first way to this one. */
const compare = async (title: string, ways: ReadonlyArray<Way>): Promise<void> => {
  const medians = await inTurn(
    runs,
    ways.map(({ go, name }) => async () => {
      const measured = await go()
      console.error(`${name}: ${measured.seconds.toFixed(2)} s, processor ${measured.cpu.toFixed(2)} s`)
      return measured
    })
  )
  heading(title, 28, "seconds", "zipper is", "processor", "zipper is")
  const [ours] = medians
  for (const [index, { cpu, seconds }] of medians.entries()) {
    const peer = ours !== undefined && !(ways[index]?.name ?? "").startsWith("zipper")
    row(
      ways[index]?.name ?? "",
      seconds.toFixed(2),
      peer ? ratio(ours.seconds, seconds) : "",
      cpu.toFixed(2),
      peer ? ratio(ours.cpu, cpu) : ""
    )
  }
}

export const restore = async (): Promise<void> => {
  const canSkipSync = spawnSync(process.execPath, [built, "help", "restore"], { encoding: "utf8" }).stdout.includes(
    "--no-sync"
  )
  for (const name of ["modules", "logs"].filter((one) => corpusNames.includes(one))) {
    const folder = corpus(name)
    const { config, target, zip } = configure(emptied("restore"), folder)
    await run(config)
    const restored = emptied("restored", to)
    let made = 0
    // Never one that was emptied: ext4 without a journal takes seconds to find inodes where many were just removed.
    const next = () => join(restored, `${made++}`)
    const back = () => ["restore", "CRPS", "--config", config, "--to", next()]
    const ways = [
      zipperDoes("zipper restore", back),
      ...(canSkipSync ? [zipperDoes("zipper restore --no-sync", () => [...back(), "--no-sync"])] : []),
      ...shellDoes("unzip", 'unzip -q "$1" -d "$2"', () => [zip, next()]),
      ...shellDoes("unzip and sync", 'unzip -q "$1" -d "$2"; sync -f "$2"', () => [zip, next()]),
      ...shellDoes("bsdtar", 'mkdir "$2"; bsdtar -xf "$1" -C "$2"', () => [zip, next()])
    ]
    await compare(`restore of ${name}: zipper checks the archive first, and syncs`, ways)
    rmSync(restored, { recursive: true })
    const sums = 'cd "$1"; unzip -tqq CRPS.zip; md5sum --quiet -c CRPS.zip.md5; sha256sum --quiet -c CRPS.zip.sha256'
    await compare(`verify of ${name}`, [
      zipperDoes("zipper verify", () => ["verify", "--config", config]),
      ...shellDoes("unzip -t and both sums", sums, () => [join(target, "CRPS")])
    ])
  }
}
