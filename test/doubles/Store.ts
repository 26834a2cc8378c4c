import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import type { FolderName } from "../../src/source/FolderName.ts"
import type { FolderFailure, FolderRecord } from "../../src/store/FolderState.ts"
import type { Cursor } from "../../src/store/Records.ts"
import {
  type BrokenFolder,
  type Publication,
  type Published,
  type RecoveryReport,
  type Staging,
  Store,
  type StoreReport
} from "../../src/store/Store.ts"
import type { StoreError } from "../../src/store/StoreError.ts"
import type { Owner, SourceName } from "../../src/zfs/JobIdentity.ts"
import type { PreviousArchive } from "../../src/zip/ArchiveIndex.ts"

/** All that a store in memory holds: fill it before a test, look at it afterwards. */
export interface MemoryStore {
  /** What `preflight` finds; an error makes it fail. */
  readonly preflight: StoreReport | StoreError
  readonly recovery: RecoveryReport
  /** The source that the target belongs to. */
  readonly owner?: Owner | undefined
  readonly published: ReadonlyMap<FolderName, PublishedSets>
  /** Size of the archive as it lies there, for folders where it is not what the state says; undefined: missing. */
  readonly zipSizes: ReadonlyMap<FolderName, number | undefined>
  readonly failures: ReadonlyMap<FolderName, FolderFailure>
  readonly cursor: Cursor | undefined
  /** Folders that were mounts of their own and are not any more. */
  readonly unmounted: ReadonlyArray<FolderName>
  /** Stagings that are open now. */
  readonly staged: ReadonlySet<FolderName>
  /** Errors that the next attempts to stage or publish a folder end with, one each. */
  readonly stageErrors: ReadonlyMap<FolderName, ReadonlyArray<StoreError>>
  readonly publishErrors: ReadonlyMap<FolderName, ReadonlyArray<StoreError>>
  /** Error of every attempt to write job state (`recordFailure`, `advance`). */
  readonly stateError: StoreError | undefined
  /** What was called, in order, such as "publish ABCD". */
  readonly calls: ReadonlyArray<string>
}

/** The two sets of a folder. */
interface PublishedSets {
  readonly current: Publication
  readonly previous: Publication | undefined
}

/** A store that holds nothing and where everything works. */
export const emptyStore: MemoryStore = {
  preflight: { free: 1e12, stagesInTmp: true },
  recovery: { healed: [], broken: [] },
  published: new Map(),
  zipSizes: new Map(),
  failures: new Map(),
  cursor: undefined,
  unmounted: [],
  staged: new Set(),
  stageErrors: new Map(),
  publishErrors: new Map(),
  stateError: undefined,
  calls: []
}

/** A store in memory: `ref` holds everything that was published and decides what fails. */
export const memoryStore = (ref: Ref.Ref<MemoryStore>): Layer.Layer<Store> => Layer.succeed(Store, makeStore(ref))

const makeStore = (ref: Ref.Ref<MemoryStore>) => {
  const call = (name: string) => Ref.update(ref, (store) => ({ ...store, calls: [...store.calls, name] }))

  /** Fails with the next error that the test has laid out for the folder. */
  const next = (key: "stageErrors" | "publishErrors", folder: FolderName) =>
    Ref.modify(ref, (store) => {
      const [error, ...rest] = store[key].get(folder) ?? []
      return [
        error === undefined ? Effect.void : Effect.fail(error),
        { ...store, [key]: new Map(store[key]).set(folder, rest) }
      ]
    }).pipe(Effect.flatten)

  const writing = Ref.get(ref).pipe(
    Effect.flatMap((store) => (store.stateError === undefined ? Effect.void : Effect.fail(store.stateError)))
  )

  return {
    preflight: call("preflight").pipe(
      Effect.zipRight(Ref.get(ref)),
      Effect.flatMap(
        (store): Effect.Effect<StoreReport, StoreError> =>
          "free" in store.preflight ? Effect.succeed(store.preflight) : Effect.fail(store.preflight)
      )
    ),
    stateFolder: Effect.succeed("/memory/.zipper"),
    owner: Ref.get(ref).pipe(Effect.map((store) => store.owner)),
    requireDistinct: () => Effect.void,
    claim: Effect.fnUntraced(function* (source: SourceName) {
      yield* Ref.update(ref, (store) => ({
        ...store,
        owner: { since_utc: "1970-01-01T00:00:00Z", ...store.owner, ...source }
      }))
      return { id: "memory", former: [] }
    }),
    recover: call("recover").pipe(
      Effect.zipRight(Ref.get(ref)),
      Effect.map((store) => store.recovery)
    ),
    unmounted: (accepted: ReadonlyArray<FolderName>) =>
      Effect.map(Ref.get(ref), (store) =>
        store.unmounted
          .filter((folder) => !accepted.includes(folder))
          .map((folder): BrokenFolder => ({ folder, reason: "its folder of the target is not mounted" }))
      ),
    records: call("records").pipe(Effect.zipRight(Ref.get(ref)), Effect.map(recordsOf)),
    cursor: Ref.get(ref).pipe(Effect.map((store) => store.cursor)),
    previous: Effect.fnUntraced(function* (folder: FolderName) {
      yield* call(`previous ${folder}`)
      return previousOf((yield* Ref.get(ref)).published.get(folder)?.current)
    }),
    stage: Effect.fnUntraced(function* (folder: FolderName) {
      yield* call(`stage ${folder}`)
      yield* next("stageErrors", folder)
      yield* Effect.acquireRelease(
        Ref.update(ref, (store) => ({ ...store, staged: new Set([...store.staged, folder]) })),
        () =>
          Ref.update(ref, (store) => ({
            ...store,
            staged: new Set([...store.staged].filter((name) => name !== folder))
          }))
      )
      return { folder, zip: `/memory/${folder}/.publish/next/${folder}.zip` } satisfies Staging
    }),
    sync: () => Effect.void,
    publish: Effect.fnUntraced(function* ({ folder }: Staging, publication: Publication) {
      yield* call(`publish ${folder}`)
      yield* next("publishErrors", folder)
      return yield* Ref.modify(ref, (store) => {
        const before = store.published.get(folder)?.current
        const same = before?.state.zip_sha256 === publication.state.zip_sha256
        const published: Published = {
          folder,
          zip: `/memory/${folder}/${folder}.zip`,
          rotated: before !== undefined && !same,
          ...(same ? { same } : {})
        }
        const previous = same ? store.published.get(folder)?.previous : before
        return [
          published,
          {
            ...store,
            published: new Map(store.published).set(folder, { current: publication, previous }),
            zipSizes: without(store.zipSizes, folder),
            failures: without(store.failures, folder)
          }
        ]
      })
    }),
    recordFailure: Effect.fnUntraced(function* (failed: Omit<FolderFailure, "version" | "failures">) {
      yield* call(`recordFailure ${failed.folder}`)
      yield* writing
      yield* Ref.update(ref, (store) => {
        const failures = (store.failures.get(failed.folder)?.failures ?? 0) + 1
        const record: FolderFailure = { version: 1, ...failed, failures }
        return { ...store, failures: new Map(store.failures).set(failed.folder, record) }
      })
    }),
    advance: Effect.fnUntraced(function* (cursor: Cursor) {
      yield* call("advance")
      yield* writing
      yield* Ref.update(ref, (store) => ({ ...store, cursor }))
    })
  }
}

const previousOf = (publication: Publication | undefined): PreviousArchive | undefined => {
  if (publication?.index === undefined) return undefined
  const { index, state } = publication
  return {
    zip: `/memory/${state.folder}/${state.folder}.zip`,
    file: { dev: 1, ino: 1, size: state.zip_size, mtimeMs: 0, ctimeMs: 0 },
    pieces: new Uint32Array(),
    checksums: { md5: state.zip_md5, sha256: state.zip_sha256 },
    index
  }
}

const recordsOf = (store: MemoryStore): ReadonlyMap<FolderName, FolderRecord> =>
  new Map(
    [...new Set([...store.published.keys(), ...store.failures.keys()])].sort().map((folder) => {
      const state = store.published.get(folder)?.current.state
      return [
        folder,
        {
          state,
          zipSize: store.zipSizes.has(folder) ? store.zipSizes.get(folder) : state?.zip_size,
          failure: store.failures.get(folder)
        }
      ]
    })
  )

const without = <K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> => {
  const copy = new Map(map)
  copy.delete(key)
  return copy
}
