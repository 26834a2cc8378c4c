import { spawn, spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"

/** One measured command: wall and processor time (of the process and all its children) in seconds. */
export interface Measured {
  readonly seconds: number
  readonly cpu: number
  /** Of the largest of its processes; 0 when it was not looked at. */
  readonly peakMiB: number
}

export interface MeasureOptions {
  /** Looks at the memory of the processes all the time, which costs processor time: not together with it. */
  readonly peak?: boolean
  readonly env?: NodeJS.ProcessEnv
}

// bash times to the millisecond, and counts every child that was waited for.
const timed = 'TIMEFORMAT="%R %U %S"; { time "$@" 2>&3 3>&- 4>&-; } 3>&2 2>&4'

/** Runs a command to its end; fails when it does. */
export const measure = async (
  program: string,
  args: ReadonlyArray<string>,
  { env = process.env, peak = false }: MeasureOptions = {}
): Promise<Measured> => {
  const child = spawn("bash", ["-c", timed, "bash", program, ...args], {
    stdio: ["ignore", "ignore", "pipe", "ignore", "pipe"],
    env
  })
  let stderr = ""
  let times = ""
  child.stderr?.on("data", (chunk) => (stderr += String(chunk)))
  child.stdio[4]?.on("data", (chunk) => (times += String(chunk)))
  let highest = 0
  const look = (): void => {
    if (child.pid !== undefined) highest = Math.max(highest, ...descendants(child.pid).map(highWater))
  }
  const watch = peak ? setInterval(look, 10) : undefined
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", resolve)
  })
  clearInterval(watch)
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: exit status ${status}\n${stderr}`)
  const [seconds = Number.NaN, user = Number.NaN, system = Number.NaN] = times.trim().split(" ").map(Number)
  return { seconds, cpu: user + system, peakMiB: highest / 1024 }
}

// Linux keeps the peak of each process itself, so looking now and then misses little.
const highWater = (pid: number): number => Number(/VmHWM:\s+(\d+)/.exec(procFile(`${pid}/status`))?.[1] ?? 0)

const descendants = (pid: number): ReadonlyArray<number> =>
  procFile(`${pid}/task/${pid}/children`)
    .split(" ")
    .filter((word) => word !== "")
    .flatMap((child) => [Number(child), ...descendants(Number(child))])

/** Empty for a process that has ended. */
const procFile = (path: string): string => {
  try {
    return readFileSync(`/proc/${path}`, "latin1")
  } catch {
    return ""
  }
}

export const middle = (figures: ReadonlyArray<number>): number => {
  const sorted = [...figures].sort((a, b) => a - b)
  const found = sorted[Math.floor(sorted.length / 2)]
  if (found === undefined) throw new Error("nothing was measured")
  return found
}

/** The median of each figure, and the highest peak. */
export const median = (all: ReadonlyArray<Measured>): Measured => ({
  seconds: middle(all.map(({ seconds }) => seconds)),
  cpu: middle(all.map(({ cpu }) => cpu)),
  peakMiB: Math.max(...all.map(({ peakMiB }) => peakMiB))
})

/** Each in its turn, `rounds` times: what makes the machine slow for a while falls on all of them. Medians, in their order. */
export const inTurn = async (
  rounds: number,
  commands: ReadonlyArray<() => Promise<Measured>>
): Promise<ReadonlyArray<Measured>> => {
  const all: ReadonlyArray<Array<Measured>> = commands.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [index, command] of commands.entries()) {
      // What the one before left to be written to the disk is not this one's work.
      spawnSync("sync")
      all[index]?.push(await command())
    }
  }
  return all.map(median)
}

export const installed = (program: string): boolean =>
  spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0
