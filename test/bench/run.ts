import { frontier } from "./frontier.ts"
import { leave, machine, wanted } from "./setting.ts"
import { processorByStep } from "./steps.ts"

/**
 * npm run bench [-- --work DIR] [--runs N] [--only PART]… [--corpus NAME]… [--most FILES] [--gigabytes N]
 * Whole processes, medians of N in turn. Corpora are kept in DIR for the next time; without it they go.
 */
const parts: Readonly<Record<string, () => Promise<void>>> = { frontier, steps: processorByStep }

console.log(machine)
try {
  for (const [name, part] of Object.entries(parts)) if (wanted(name)) await part()
} finally {
  leave()
}
