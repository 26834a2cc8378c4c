import { spawn, spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { performance } from "node:perf_hooks"

/** One measured process: wall time in seconds, peak memory (of the largest of its processes) in MiB. */
export interface Measured {
  readonly seconds: number
  readonly peakMiB: number
}

/** Runs a command to its end; fails when it does. */
export const measure = async (program: string, args: ReadonlyArray<string>): Promise<Measured> => {
  const started = performance.now()
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], detached: true })
  let stderr = ""
  child.stderr.on("data", (chunk) => (stderr += String(chunk)))
  let peak = 0
  const watch = setInterval(() => {
    if (child.pid !== undefined) peak = Math.max(peak, ...groupOf(child.pid).map(highWater))
  }, 20)
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", resolve)
  })
  clearInterval(watch)
  const seconds = (performance.now() - started) / 1000
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: exit status ${status}\n${stderr}`)
  return { seconds, peakMiB: peak / 1024 }
}

// Linux keeps the peak of each process itself, so looking now and then misses little.
const highWater = (pid: number): number => {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0)
  } catch {
    return 0
  }
}

const groupOf = (leader: number): ReadonlyArray<number> =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ")[2] === String(leader)
      } catch {
        return false
      }
    })

/** The middle one by time. */
export const median = (runs: ReadonlyArray<Measured>): Measured => {
  const sorted = [...runs].sort((a, b) => a.seconds - b.seconds)
  const middle = sorted[Math.floor(sorted.length / 2)]
  if (middle === undefined) throw new Error("nothing was measured")
  return { seconds: middle.seconds, peakMiB: Math.max(...runs.map((run) => run.peakMiB)) }
}

export const installed = (program: string): boolean =>
  spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0
