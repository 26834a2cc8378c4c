import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import type { Process } from "../Process.ts"

/**
 * When a process started, in words of the system's own that a later process with the same pid does not share;
 * undefined when there is no such process, or its start cannot be told.
 */
export const startOf = (runner: typeof Process.Service, pid: number): Effect.Effect<string | undefined> =>
  process.platform === "linux"
    ? Effect.promise(() => startOnLinux(pid))
    : runner.run({ program: "ps", args: ["-o", "lstart=", "-p", String(pid)], env: { TZ: "UTC" } }).pipe(
        Effect.map(({ stdout }) => stdout.trim().replace(/\s+/g, " ") || undefined),
        Effect.orElseSucceed(() => undefined)
      )

// Ticks since boot, and which boot.
const startOnLinux = async (pid: number): Promise<string | undefined> => {
  try {
    const stat = await fs.readFile(`/proc/${pid}/stat`, "latin1")
    const boot = await fs.readFile("/proc/sys/kernel/random/boot_id", "latin1")
    // The name, second, may hold spaces and parentheses; the start is field 22.
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
    return ticks === undefined ? undefined : `${ticks}@${boot.slice(0, 8)}`
  } catch {
    return undefined
  }
}
