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
}
