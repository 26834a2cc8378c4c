import type { Which } from "./ArchiveSet.ts"
import type { FolderName } from "./FolderName.ts"
import type { Restored, RestorePlan } from "./RestorePlan.ts"

/** What became of `zipper restore`. */
export interface RestoreSummary {
  readonly folder: FolderName
  readonly which: Which
  /** Absolute path of the archive. */
  readonly zip: string
  /** `refused`: nothing was written. `incomplete`: not everything is there as it is in the archive. */
  readonly result: "restored" | "incomplete" | "refused"
  /** Undefined when it was not got that far. */
  readonly plan: RestorePlan | undefined
  readonly restored: Restored | undefined
  /** What was told as errors, a line each. */
  readonly problems: ReadonlyArray<string>
  readonly seconds: number
}
