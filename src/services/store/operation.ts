import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { DiskError } from "../Disk.ts"
import { asStoreError, type StoreError } from "./model.ts"

/**
 * Makes operations of the store out of steps: named in traces, with `context` for what they need, and failing
 * with what they were doing.
 */
export const operationsOn =
  <C>(context: Context.Context<C>) =>
  (name: string, doing: string) =>
  <A, R>(step: Effect.Effect<A, DiskError | StoreError, R>) =>
    step.pipe(asStoreError(doing), Effect.provide(context), Effect.withSpan(`Store.${name}`))

/** What operations are about, for their messages. */
export const reading = {
  preflight: "cannot use the target",
  recover: "cannot look for what an interrupted run left",
  unmounted: "cannot see which folders of the target are mounted",
  records: "cannot read what is known of the folders",
  cursor: "cannot read the cursor",
  owner: "cannot read which job the target belongs to"
} as const
