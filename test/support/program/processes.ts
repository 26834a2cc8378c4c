import * as fs from "node:fs"
import * as Effect from "effect/Effect"

/** Whether the process runs; a zombie, which still answers to signal 0, does not. */
export const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

/** Whether a process runs whose command line holds these words. */
export const isRunning = (words: string): boolean =>
  fs.readdirSync("/proc").some((pid) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").includes(words)
    } catch {
      return false
    }
  })

/** Looks again and again until it is so. */
export const waitFor = (what: () => boolean) =>
  Effect.promise(async () => {
    while (!what()) await new Promise((resolve) => setTimeout(resolve, 10))
  })
