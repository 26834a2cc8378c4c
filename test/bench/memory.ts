import { join } from "node:path"
import { eightFolders, once, sparse, tinyFiles } from "./corpora.ts"
import { run } from "./peers.ts"
import { anHourLater, configure, corpus, emptied, heading, most, row, work } from "./setting.ts"

/** The most memory that the process of a first run has at a time, and again when nothing changed. */
export const memory = async (): Promise<void> => {
  const cases: ReadonlyArray<
    readonly [name: string, goal: number, folder: () => string, keys?: Record<string, unknown>]
  > = [
    ["30,000 files", 200, () => corpus("modules")],
    ["30,000 files, threads 1", 120, () => corpus("modules"), { compression: { threads: 1 } }],
    ["10 GB, a hole", 200, () => once(join(work, "sparse", "HUGE"), sparse)],
    ["eight folders at once", 300, () => join(once(join(work, "eight"), eightFolders), "EIG0"), { max_workers: 8 }],
    ...(most < 1e6
      ? []
      : [
          [
            "a million files",
            400,
            () => once(join(work, "tiny1000000", "TINY"), (path) => tinyFiles(path, 1e6))
          ] as const
        ])
  ]
  heading(
    `peak memory in MiB${most < 1e6 ? " (a million files: --most 1000000)" : ""}`,
    26,
    "first run",
    "no change",
    "goal",
    "seconds"
  )
  for (const [name, goal, folder, keys] of cases) {
    const { config } = configure(emptied("memory"), folder(), keys)
    const first = await run(config, { peak: true })
    const again = await run(config, { peak: true, env: anHourLater() })
    row(name, first.peakMiB.toFixed(0), again.peakMiB.toFixed(0), String(goal), first.seconds.toFixed(1))
  }
}
