import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { installed, inTurn, type Measured, measure } from "./measure.ts"
import { run } from "./peers.ts"
import { built, configure, corpus, corpusNames, emptied, heading, ratio, row, runs } from "./setting.ts"

/** Getting files back, and checking an archive, against the programs that a user has for it. */

interface Way {
  readonly name: string
  readonly go: () => Promise<Measured>
}

const zipperDoes = (name: string, ...args: ReadonlyArray<string>): Way => ({
  name,
  go: () => measure(process.execPath, [built, ...args, "--quiet"])
})

const shellDoes = (name: string, script: string, ...args: ReadonlyArray<string>): ReadonlyArray<Way> =>
  installed(name.split(" ")[0] ?? name) ? [{ name, go: () => measure("sh", ["-ec", script, "sh", ...args]) }] : []

/** `before` makes ready what each way needs, which is not measured. Ratios: of the first way to this one. */
const compare = async (title: string, ways: ReadonlyArray<Way>, before: () => void): Promise<void> => {
  const medians = await inTurn(
    runs,
    ways.map(({ go }) => () => {
      before()
      return go()
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
    const to = join(emptied("restored"), "to")
    const back = ["restore", "CRPS", "--config", config, "--to", to]
    const ways = [
      zipperDoes("zipper restore", ...back),
      ...(canSkipSync ? [zipperDoes("zipper restore --no-sync", ...back, "--no-sync")] : []),
      ...shellDoes("unzip", 'unzip -q "$1" -d "$2"', zip, to),
      ...shellDoes("unzip and sync", 'unzip -q "$1" -d "$2"; sync -f "$2"', zip, to),
      ...shellDoes("bsdtar", 'mkdir "$2"; bsdtar -xf "$1" -C "$2"', zip, to)
    ]
    await compare(
      `restore of ${name}: zipper checks the archive first, and syncs`,
      ways,
      () => void emptied("restored")
    )
    const sums = 'cd "$1"; unzip -tqq CRPS.zip; md5sum --quiet -c CRPS.zip.md5; sha256sum --quiet -c CRPS.zip.sha256'
    await compare(
      `verify of ${name}`,
      [
        zipperDoes("zipper verify", "verify", "--config", config),
        ...shellDoes("unzip -t and both sums", sums, join(target, "CRPS"))
      ],
      () => undefined
    )
  }
  emptied("restored")
}
