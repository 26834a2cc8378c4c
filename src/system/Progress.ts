import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

export interface ProgressFigures {
  /** Bytes. Fewer than before: it begins anew, or something else follows. */
  readonly done: number
  /** Bytes; undefined where it is not known. May be corrected later. */
  readonly total: number | undefined
  /** The total is a guess: no time left is shown. */
  readonly isGuess?: boolean
  readonly label?: string | undefined
}

/** Shows how far long work is, where there is a terminal. */
export class Progress extends Context.Tag("zipper/Progress")<
  Progress,
  {
    /** Shows `label` on a line of its own until the scope closes. The function that it gives may be called often. */
    readonly start: (label: string) => Effect.Effect<(figures: ProgressFigures) => void, never, Scope.Scope>
  }
>() {
  static readonly layerNone: Layer.Layer<Progress> = Layer.succeed(Progress, {
    start: () => Effect.succeed(() => {})
  })
}
