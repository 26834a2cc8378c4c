import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

/** How far something is. */
export interface ProgressFigures {
  /** Bytes so far. Fewer than before: it begins anew, or something else follows. */
  readonly done: number
  /** Bytes in all; undefined where it is not known. May be corrected later. */
  readonly total: number | undefined
  /** What it is called from now on; as before when left out. */
  readonly label?: string | undefined
}

/** Shows the user how far long work is. */
export class Progress extends Context.Tag("zipper/Progress")<
  Progress,
  {
    /**
     * Begins to show `label` on a line of its own, which is removed when the scope closes. Gives a function that takes the
     * figures and may be called often.
     */
    readonly start: (label: string) => Effect.Effect<(figures: ProgressFigures) => void, never, Scope.Scope>
  }
>() {
  /** Shows nothing. */
  static readonly layerNone: Layer.Layer<Progress> = Layer.succeed(Progress, {
    start: () => Effect.succeed(() => {})
  })
}
