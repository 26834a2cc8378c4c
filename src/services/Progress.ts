import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

/** Shows how far long work is, to a person who watches. */
export class Progress extends Context.Tag("zipper/Progress")<
  Progress,
  {
    /**
     * Begins to show `label`; what it gives takes the figures (bytes so far, bytes in all where known). The
     * display is gone when the scope closes.
     */
    readonly start: (
      label: string
    ) => Effect.Effect<
      (figures: { readonly done: number; readonly total: number | undefined }) => void,
      never,
      Scope.Scope
    >
  }
>() {
  /** Nobody watches. */
  static readonly layerNone: Layer.Layer<Progress> = Layer.succeed(Progress, {
    start: () => Effect.succeed(() => {})
  })
}
