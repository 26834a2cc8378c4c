import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { TargetDataset } from "../../domain/replication/State.ts"

/** What a dry run pretends that the receiver has: shown by the receiver, changed by it and by the transfer. */
export class Rehearsal extends Context.Tag("zipper/Rehearsal")<
  Rehearsal,
  { readonly put: (dataset: TargetDataset) => Effect.Effect<void> }
>() {}
