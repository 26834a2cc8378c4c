import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import { once, twentyFolders } from "./corpora.ts"
import { inTurn, type Measured, measure } from "./measure.ts"
import { run } from "./peers.ts"
import { anHourLater, built, configure, emptied, heading, ratio, row, runs, work } from "./setting.ts"

/** What every hour costs in which nothing changed, and what a user waits for. */
export const start = async (): Promise<void> => {
  const times = Math.max(runs, 21)
  const source = once(join(work, "twenty"), twentyFolders)
  const { config } = configure(emptied("start"), join(source, "FL00"))
  const env = anHourLater()
  const node =
    (...args: ReadonlyArray<string>) =>
    () =>
      measure(process.execPath, args, { env })
  const hour = [built, "run", "--config", config]
  // The first archives, and the second knows them.
  await run(config)
  const told = spawnSync(process.execPath, hour, { env, encoding: "utf8" })
  if (!/20 unchanged/.test(told.stdout + told.stderr))
    throw new Error(`not an hour in which nothing changed:\n${told.stdout}${told.stderr}`)
  const executable = resolve(`dist/zipper-linux-${process.arch}`)
  const alone =
    (...args: ReadonlyArray<string>) =>
    () =>
      measure(executable, args, { env })
  const cases: ReadonlyArray<readonly [name: string, command: () => Promise<Measured>]> = [
    ["node -e 0", node("-e", "0")],
    ["zipper --version", node(built, "--version")],
    ["zipper run --help", node(built, "run", "--help")],
    ["20 folders, nothing changed", node(...hour, "--quiet")],
    ...(existsSync(executable)
      ? ([
          ["executable --version", alone("--version")],
          ["executable, nothing changed", alone(...hour.slice(1), "--quiet")]
        ] as const)
      : [])
  ]
  const commands = cases.map(([, command]) => command)
  const medians = await inTurn(times, commands)
  heading(`start, median of ${times}`, 28, "processor", "of node", "seconds", "of node")
  const [bare] = medians
  for (const [index, { cpu, seconds }] of medians.entries()) {
    if (bare === undefined) continue
    const name = cases[index]?.[0] ?? ""
    row(name, cpu.toFixed(3), ratio(cpu, bare.cpu), seconds.toFixed(3), ratio(seconds, bare.seconds))
  }
}
