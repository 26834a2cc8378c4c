import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as PublishPlan from "../../domain/PublishPlan.ts"
import { Disk } from "../Disk.ts"
import { discard, move } from "./folders.ts"
import type { FolderLayout } from "./layout.ts"
import { StoreError } from "./model.ts"

/** Finishes the steps, from wherever they were left, and makes that durable. */
export const forward = Effect.fnUntraced(function* (
  paths: FolderLayout,
  steps: ReadonlyArray<PublishPlan.Step>
) {
  const disk = yield* Disk
  for (const { action, name } of steps) {
    const place = join(paths.home, name)
    yield* action === "replace" ? move(join(paths.next, name), place) : disk.remove(place)
  }
  yield* disk.sync(paths.home)
})

/** Undoes the steps, from wherever they were left, and makes that durable. */
export const back = Effect.fnUntraced(function* (
  paths: FolderLayout,
  steps: ReadonlyArray<PublishPlan.Step>
) {
  const disk = yield* Disk
  for (const { existed, name } of [...steps].reverse()) {
    const place = join(paths.home, name)
    yield* existed ? move(join(paths.old, name), place) : disk.remove(place)
  }
  yield* disk.sync(paths.home)
})

/** A journal that makes no sense. */
export const unreadable = (path: string) =>
  new StoreError({
    reason: "Other",
    path,
    message: `the record of an unfinished publication, ${path}, cannot be understood`,
    transient: false
  })

/**
 * Ends a publication that is done or undone. The journal goes first, durably: were it to come back after a
 * power cut when the next publication has begun, it would undo that.
 */
export const settle = Effect.fnUntraced(function* (paths: FolderLayout, journal: string) {
  const disk = yield* Disk
  yield* disk.remove(journal)
  yield* disk.sync(paths.work)
  yield* discard(paths.work)
})
