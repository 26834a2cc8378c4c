import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type HookDocument, HookError, Hooks } from "../../src/runs/Hooks.ts"

type Event = HookDocument["event"]

export interface HooksMemory {
  /** What each hook got, in order; `briefly` where it had little time. */
  readonly ran: Array<Parameters<typeof Hooks.Service.run>[0] & { readonly briefly?: true }>
  /** The program of a hook is not there. */
  readonly missing?: string
  readonly failing?: Partial<Record<Event, string>>
  /** What a hook does meanwhile. */
  readonly during?: (event: Event) => Effect.Effect<void>
}

export const memoryHooks = ({ during, failing = {}, missing, ran }: HooksMemory): Layer.Layer<Hooks> =>
  Layer.succeed(Hooks, {
    probe: Effect.suspend(() => (missing === undefined ? Effect.succeed([]) : hookError(missing))),
    run: (about, briefly) =>
      Effect.gen(function* () {
        ran.push({ ...about, ...(briefly && { briefly: true }) })
        yield* during?.(about.event) ?? Effect.void
        const why = failing[about.event]
        if (why !== undefined) return yield* hookError(why)
      })
  })

const hookError = (message: string) => new HookError({ message, transient: false })
