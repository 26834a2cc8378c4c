import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { HistoryRun } from "../domain/History.ts"
import { Disk } from "./Disk.ts"
import type { StateSettings } from "./state/folder.ts"
import type { HistoryError } from "./state/HistoryError.ts"
import { makeHistory } from "./state/history.ts"

/** What there is of it. */
interface FoundHistory {
  /** In the order in which they ended, which is not always that of their times: the clock may have been set. */
  readonly runs: ReadonlyArray<HistoryRun>
  /** Lines that could not be understood. */
  readonly unreadable: number
}

/** One line for each run, in the state folder; the oldest are dropped when there are tens of thousands of them. */
export class History extends Context.Tag("zipper/History")<
  History,
  {
    /** Writes a run down that has ended. Never fails: what goes wrong is a warning. */
    readonly end: (run: HistoryRun) => Effect.Effect<void>
    /** All runs that are known. None when there is no history yet. */
    readonly runs: Effect.Effect<FoundHistory, HistoryError>
  }
>() {
  /** `history.jsonl` in the state folder. */
  static readonly layer = (settings: StateSettings): Layer.Layer<History, never, Disk> =>
    Layer.effect(
      History,
      Effect.map(Disk, (disk) => makeHistory(disk, settings))
    )

  /** Reads what there is and writes nothing: a dry run is no run. */
  static readonly layerDryRun = (settings: StateSettings): Layer.Layer<History, never, Disk> =>
    Layer.effect(
      History,
      Effect.map(Disk, (disk) => ({ ...makeHistory(disk, settings), end: () => Effect.void }))
    )

  /** For a run without a configuration, which has no state folder. */
  static readonly layerNone: Layer.Layer<History> = Layer.succeed(History, {
    end: () => Effect.void,
    runs: Effect.succeed({ runs: [], unreadable: 0 })
  })
}
