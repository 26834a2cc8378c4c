import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Cursor } from "../../domain/Cursor.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import type { FolderFailure, FolderRecord } from "../../domain/FolderState.ts"
import type { SourceName } from "../../domain/JobIdentity.ts"
import { Disk } from "../Disk.ts"
import { type Finding, leftover } from "./folderRecovery.ts"
import { owner, wouldClaim } from "./identity.ts"
import * as jobState from "./jobState.ts"
import * as Layout from "./layout.ts"
import { asStoreError, type Publication, type Published, type Staging, type StoreSettings } from "./model.ts"
import { unmounted } from "./mounts.ts"
import { operationsOn, reading } from "./operation.ts"
import { type Probe, preflight } from "./preflight.ts"
import { records } from "./records.ts"
import { recoverFolders } from "./recovery.ts"
import { decodeState } from "./survey.ts"

/**
 * A store that reads what the real one reads and writes nothing. `rehearse`: says what a run would do; `report`: for whoever
 * asks how things stand, records that may not be read are an error.
 */
export const makeDryRun = Effect.fnUntraced(function* (
  settings: StoreSettings,
  purpose: "rehearse" | "report",
  probe: Probe = "ask"
) {
  const layout = Layout.make(settings)
  const operation = operationsOn(Context.make(Disk, yield* Disk))
  return {
    preflight: preflight(layout, probe).pipe(operation("preflight", reading.preflight)),
    stateFolder: Effect.succeed(layout.job),
    owner: owner(layout, purpose).pipe(operation("owner", reading.owner)),
    claim: (source: SourceName) => wouldClaim(layout, source).pipe(operation("claim", reading.owner)),
    recover: recoverFolders(layout, new Set<FolderName>(), wouldHeal).pipe(
      operation("recover", reading.recover)
    ),
    unmounted: (accepted: ReadonlyArray<FolderName>) =>
      unmounted(layout, accepted, purpose).pipe(
        Effect.map(({ broken }) => broken),
        operation("unmounted", reading.unmounted)
      ),
    records: recordsAfterRecovery(layout, purpose).pipe(operation("records", reading.records)),
    cursor: jobState.cursor(layout, purpose).pipe(operation("cursor", reading.cursor)),
    // To read an archive as a whole is too much work for a dry run.
    previous: (_folder: FolderName) => Effect.succeed(undefined),
    stage: (folder: FolderName) => {
      const paths = Layout.folder(layout, folder)
      return Effect.succeed<Staging>({ folder, zip: join(paths.next, paths.names.zip) })
    },
    sync: () => Effect.void,
    publish: (staging: Staging, _: Publication) =>
      wouldPublish(Layout.folder(layout, staging.folder)).pipe(
        operation("publish", `cannot look at ${staging.folder}`)
      ),
    recordFailure: (failed: Omit<FolderFailure, "version" | "failures">) =>
      Effect.logInfo(`would write down that ${failed.folder} failed`),
    advance: (cursor: Cursor) => Effect.logInfo(`would compare the next run with ${cursor.base.name}`)
  }
})

/** Recovery would have set aside the state of a folder whose journal is damaged, and a run would archive it. */
const recordsAfterRecovery = Effect.fnUntraced(function* (
  layout: Layout.Layout,
  purpose: "rehearse" | "report"
) {
  const found = yield* records(layout, purpose)
  const after = yield* Effect.forEach(
    found,
    Effect.fnUntraced(function* ([folder, record]) {
      const left = yield* leftover(Layout.folder(layout, folder)).pipe(
        // Recovery has reported the folder as broken, and nothing is asked about it.
        Effect.orElseSucceed(() => undefined)
      )
      return [folder, left?._tag === "Unreadable" ? { ...record, state: undefined } : record] as const
    }),
    { concurrency: 16 }
  )
  return new Map<FolderName, FolderRecord>(after)
})

const wouldHeal = (paths: Layout.FolderLayout) =>
  Effect.gen(function* () {
    const found = yield* leftover(paths)
    switch (found._tag) {
      case "Nothing":
        return {}
      case "Staging":
        return { healed: "would remove what an interrupted run had prepared but not published" }
      case "Forward":
        return { healed: "would finish the publication that was interrupted" }
      case "Back":
        return { healed: "would undo the publication that had failed and was interrupted" }
      case "Unreadable":
        return {
          warning: `the record of an interrupted publication (${found.path}) cannot be understood; what belongs to it would be set aside, and the folder archived anew`
        }
    }
  }).pipe(
    Effect.map((finding): Finding => finding),
    asStoreError(`cannot look at what an interrupted run left of ${paths.folder}`)
  )

const wouldPublish = Effect.fnUntraced(function* (paths: Layout.FolderLayout) {
  const disk = yield* Disk
  const zip = join(paths.home, paths.names.zip)
  const stat = yield* disk.stat(zip)
  const state =
    stat === undefined ? undefined : decodeState(paths, yield* disk.read(join(paths.home, paths.names.state)))
  // An archive without a state is hashed when it is published for real; that is too much work for a dry run.
  const damaged = stat !== undefined && state !== undefined && state.zip_size !== stat.size
  const rotated = stat !== undefined && !damaged
  const rotation = rotated
    ? `; the current archive would become ${paths.names.prevZip}`
    : damaged
      ? `; the current archive has another size than when it was published, and would be replaced without becoming ${paths.names.prevZip}`
      : ""
  yield* Effect.logDebug(`would publish ${zip}${rotation}`)
  return { folder: paths.folder, zip, rotated, rehearsed: true } satisfies Published
})
