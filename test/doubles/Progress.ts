import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Progress, type ProgressFigures } from "../../src/system/Progress.ts"

/** One display: all that it showed, and whether it is still there. */
export interface Shown {
  readonly label: string
  readonly figures: Array<ProgressFigures>
  open: boolean
}

/** Keeps the displays in `all`, in the order in which they began. */
export const memoryProgress = (all: Array<Shown>): Layer.Layer<Progress> =>
  Layer.succeed(Progress, {
    start: Effect.fnUntraced(function* (label) {
      const shown: Shown = { label, figures: [], open: true }
      yield* Effect.acquireRelease(
        Effect.sync(() => all.push(shown)),
        () => Effect.sync(() => Object.assign(shown, { open: false }))
      )
      return (figures: ProgressFigures) => {
        shown.figures.push(figures)
      }
    })
  })
