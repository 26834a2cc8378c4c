import { counts, folders, incremental } from "./again.ts"
import { frontier } from "./frontier.ts"
import { memory } from "./memory.ts"
import { pipe } from "./pipe.ts"
import { restore } from "./restore.ts"
import { leave, machine, only } from "./setting.ts"
import { start } from "./start.ts"
import { processorByStep } from "./steps.ts"

/**
 * npm run bench [-- --work DIR] [--to DIR] [--runs N] [--only PART]… [--corpus NAME]… [--most FILES] [--gigabytes N] [--chart FILE]
 * Whole processes, medians of N in turn. Corpora are kept in DIR for the next time; without it they go. --corpus chooses among
 * those of frontier, steps and restore, --most is how many files count and memory go up to (a million only on request), --gigabytes
 * is for pipe. restore writes below --to, or else below --work: a tmpfs leaves the disk out of its figures.
 */
const parts: Readonly<Record<string, () => Promise<void>>> = {
  frontier,
  steps: processorByStep,
  restore,
  memory,
  start,
  pipe,
  incremental,
  count: counts,
  folders
}

for (const name of only ?? []) {
  if (!(name in parts)) throw new Error(`no part ${name}: ${Object.keys(parts).join(", ")}`)
}
console.log(machine)
try {
  for (const [name, part] of Object.entries(parts)) if (only?.includes(name) ?? true) await part()
} finally {
  leave()
}
