import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

/** How far something is. */
export interface ProgressFigures {
  /** Bytes so far. Fewer than before: it begins anew, or something else follows. */
  readonly done: number
  /** Bytes in all; undefined where nobody knows. May be corrected on the way. */
  readonly total: number | undefined
  /** What it is called from now on; as before when left out. */
  readonly label?: string | undefined
}

/** One display, as a test sees it: all that it showed, and whether it is still there. */
export interface Shown {
  readonly label: string
  readonly figures: Array<ProgressFigures>
  open: boolean
}

/** Shows how far long work is, to a person who watches. */
export class Progress extends Context.Tag("zipper/Progress")<
  Progress,
  {
    /**
     * Begins to show `label`; what it gives takes the figures, as often as there are new ones: it only notes them. Each of
     * several at once has a line of its own, in the order in which they began; its line is gone when the scope closes.
     */
    readonly start: (label: string) => Effect.Effect<(figures: ProgressFigures) => void, never, Scope.Scope>
  }
>() {
  /** Nobody watches. */
  static readonly layerNone: Layer.Layer<Progress> = Layer.succeed(Progress, {
    start: () => Effect.succeed(() => {})
  })

  /** Nobody watches but a test. */
  static readonly layerMemory = (all: Array<Shown>): Layer.Layer<Progress> =>
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
}
