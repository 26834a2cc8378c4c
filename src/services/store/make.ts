import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Cursor } from "../../domain/Cursor.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import type { FolderFailure } from "../../domain/FolderState.ts"
import type { SourceName } from "../../domain/JobIdentity.ts"
import { Disk } from "../Disk.ts"
import { Hasher } from "../Hasher.ts"
import * as archiveIndex from "./archiveIndex.ts"
import { isFolder } from "./folders.ts"
import { claim, owner } from "./identity.ts"
import * as jobState from "./jobState.ts"
import * as Layout from "./layout.ts"
import type { Publication, Staging, StoreSettings } from "./model.ts"
import { rememberFolders, unmounted } from "./mounts.ts"
import { operationsOn, reading } from "./operation.ts"
import { preflight } from "./preflight.ts"
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
  const operation = operationsOn(context)
  return {
    preflight: preflight(layout, "write").pipe(operation("preflight", reading.preflight)),
    stateFolder: jobState
      .makeJobFolder(layout.job)
      .pipe(Effect.as(layout.job), operation("stateFolder", "cannot use the target")),
    owner: owner(layout, "set aside").pipe(operation("owner", reading.owner)),
    claim: (source: SourceName) =>
      claim(layout, source).pipe(operation("claim", "cannot write down which job the target belongs to")),
    recover: isFolder(layout.job).pipe(
      Effect.zipRight(recover(layout, stages.open)),
      operation("recover", reading.recover)
    ),
    unmounted: (accepted: ReadonlyArray<FolderName>) =>
      unmounted(layout, accepted, "set aside").pipe(
        Effect.tap(({ changed, folders }) => (changed ? rememberFolders(layout, folders) : Effect.void)),
        Effect.map(({ broken }) => broken),
        operation("unmounted", reading.unmounted)
      ),
    records: records(layout, "set aside").pipe(operation("records", reading.records)),
    cursor: jobState.cursor(layout, "set aside").pipe(operation("cursor", reading.cursor)),
    previous: (folder: FolderName) =>
      archiveIndex
        .previous(layout, Layout.folder(layout, folder))
        .pipe(Effect.provide(context), Effect.withSpan("Store.previous")),
    stage: (folder: FolderName) =>
      stage(layout, stages, folder).pipe(operation("stage", `cannot stage ${folder}`)),
    sync: (staging: Staging) =>
      Effect.flatMap(Disk, (disk) => disk.sync(staging.zip)).pipe(
        operation("sync", `cannot bring the archive of ${staging.folder} to the disk`)
      ),
    publish: (staging: Staging, publication: Publication) => {
      const paths = Layout.folder(layout, staging.folder)
      const note = Effect.zipRight(
        jobState.clearFailure(paths),
        archiveIndex.replace(layout, paths, publication.index)
      )
      return publish(paths, staging, publication, note).pipe(
        operation("publish", `cannot publish ${staging.folder}`)
      )
    },
    recordFailure: (failed: Omit<FolderFailure, "version" | "failures">) =>
      jobState
        .recordFailure(layout, failed)
        .pipe(operation("recordFailure", `cannot write down that ${failed.folder} failed`)),
    advance: (cursor: Cursor) =>
      jobState.advance(layout, cursor).pipe(operation("advance", "cannot advance the cursor"))
  }
})
