import * as Effect from "effect/Effect"

/** Work in promises as an effect. Interruption aborts and awaits it. Failures that are not `expected` are defects. */
export const abortable = <A, E>(
  work: (signal: AbortSignal) => Promise<A>,
  expected: (cause: unknown) => cause is E
): Effect.Effect<A, E> =>
  Effect.async<A, E>((resume) => {
    const controller = new AbortController()
    const ended = work(controller.signal).then(
      (value) => resume(Effect.succeed(value)),
      (cause) => resume(expected(cause) ? Effect.fail(cause) : Effect.die(cause))
    )
    return Effect.promise(() => {
      controller.abort()
      return ended
    })
  })
