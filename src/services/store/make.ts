import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Cursor } from "../../domain/Cursor.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import type { FolderFailure } from "../../domain/FolderState.ts"
import { Disk } from "../Disk.ts"
import { Hasher } from "../Hasher.ts"
import { isFolder } from "./folders.ts"
import * as jobState from "./jobState.ts"
import * as Layout from "./layout.ts"
import { asStoreError, type Publication, type Staging, type StoreSettings } from "./model.ts"
import * as preflight from "./preflight.ts"
import { publish } from "./publication.ts"
import { records } from "./records.ts"
import { recover } from "./recovery.ts"
import { type Stages, stage } from "./staging.ts"

/** The store on disk. */
export const make = Effect.fnUntraced(function* (settings: StoreSettings) {
  const layout = Layout.make(settings)
  // Those two and no more: all of the context would bring its Scope along, and stagings would close with that one.
  const context = Context.make(Disk, yield* Disk).pipe(Context.add(Hasher, yield* Hasher))
  const stages: Stages = { open: new Set<FolderName>(), tmp: yield* Effect.makeSemaphore(1) }
  return {
    preflight: preflight
      .preflight(layout, "write")
      .pipe(Effect.provide(context), Effect.withSpan("Store.preflight")),
    recover: isFolder(layout.job).pipe(
      Effect.zipRight(recover(layout, stages.open)),
      asStoreError("cannot look for what an interrupted run left"),
      Effect.provide(context),
      Effect.withSpan("Store.recover")
    ),
    records: records(layout, "set aside").pipe(
      asStoreError("cannot read what is known of the folders"),
      Effect.provide(context),
      Effect.withSpan("Store.records")
    ),
    cursor: jobState
      .cursor(layout, "set aside")
      .pipe(asStoreError("cannot read the cursor"), Effect.provide(context), Effect.withSpan("Store.cursor")),
    stage: Effect.fn("Store.stage")((folder: FolderName) =>
      stage(layout, stages, folder).pipe(Effect.provide(context))
    ),
    publish: Effect.fn("Store.publish")(function* (staging: Staging, publication: Publication) {
      const paths = Layout.folder(layout, staging.folder)
      const published = yield* publish(paths, staging, publication)
      yield* jobState.clearFailure(paths)
      return published
    }, Effect.provide(context)),
    recordFailure: Effect.fn("Store.recordFailure")((failed: Omit<FolderFailure, "version" | "failures">) =>
      jobState
        .recordFailure(layout, failed)
        .pipe(asStoreError(`cannot write down that ${failed.folder} failed`), Effect.provide(context))
    ),
    advance: Effect.fn("Store.advance")((cursor: Cursor) =>
      jobState
        .advance(layout, cursor)
        .pipe(asStoreError("cannot advance the cursor"), Effect.provide(context))
    )
  }
})
