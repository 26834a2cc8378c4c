import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Errno from "../../domain/Errno.ts"
import * as RawPath from "../../domain/RawPath.ts"
import { encode, property } from "../../domain/SnapshotMark.ts"
import * as SnapshotName from "../../domain/SnapshotName.ts"
import type { Blocked, Graft, SnapshotRef, SourceView } from "../../domain/Source.ts"
import { fingerprint, type Layout, sourceOf } from "../../domain/SourceLayout.ts"
import { datasetOf, table } from "../../domain/ZfsList.ts"
import type { Process } from "../Process.ts"
import { changesSince } from "./changes.ts"
import { type Commands, complaint, failure, understood } from "./command.ts"
import { type SnapshotHandle, ZfsError, type ZfsSettings } from "./contract.ts"
import { destroy } from "./destroy.ts"
import { canRead } from "./folder.ts"
import { datasetsOf, readLayout } from "./layout.ts"
import { startOf } from "./processes.ts"

/** One atomic snapshot of all the source's datasets; see the tag. */
export const takeSnapshot = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  settings: ZfsSettings & { readonly hostname: string },
  path: string
) {
  const layout = yield* readLayout(process, commands, path)
  yield* Effect.forEach(layout.blocked, ({ reason }) => Effect.logDebug(reason), { discard: true })
  const kept = yield* Ref.make(false)
  const ref = yield* Effect.acquireRelease(create(process, commands, settings, layout), (taken) =>
    Ref.get(kept).pipe(Effect.flatMap((keep) => (keep ? Effect.void : release(commands, taken))))
  )
  const view = yield* viewOf(layout, ref)
  const handle: SnapshotHandle = {
    view,
    changesSince: (base) => changesSince(commands, layout, ref, base),
    keep: Ref.set(kept, true)
  }
  return handle
})

const create = Effect.fnUntraced(function* (
  process_: typeof Process.Service,
  commands: Commands,
  settings: ZfsSettings & { readonly hostname: string },
  layout: Layout
) {
  const mark = encode({
    host: settings.hostname,
    pid: process.pid,
    start: (yield* startOf(process_, process.pid)) ?? "",
    run: settings.runId,
    job: settings.jobId,
    layout: fingerprint(layout)
  })
  const datasets = datasetsOf(layout)
  const name = yield* createFirstFree(commands, settings.prefix, mark, layout.dataset, datasets)
  return yield* readBack(commands, layout.dataset, datasets, name).pipe(
    // Its guids unknown, it cannot be handed on; by name it can still be taken away.
    Effect.onError(() =>
      Effect.forEach(datasets, (dataset) =>
        Effect.ignoreLogged(commands.attempt(["destroy", `${dataset}@${name}`]))
      )
    )
  )
})

/** How many seconds ahead a free name is looked for, after the clock was set back or for a second run in a second. */
const namesToTry = 60

const createFirstFree = Effect.fnUntraced(function* (
  commands: Commands,
  prefix: string,
  mark: string,
  dataset: string,
  datasets: ReadonlyArray<string>
) {
  const now = yield* Clock.currentTimeMillis
  for (let second = 0; ; second++) {
    const name = SnapshotName.format(prefix, now + second * 1000)
    const completed = yield* commands.attempt([
      ...["snapshot", "-o", `${property}=${mark}`],
      ...datasets.map((each) => `${each}@${name}`)
    ])
    if (completed.exitCode === 0) return name
    if (second === namesToTry || !/dataset already exists/.test(complaint(completed))) {
      return yield* failure(`take a snapshot of ${dataset}`, dataset, completed)
    }
  }
})

const readBack = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  datasets: ReadonlyArray<string>,
  name: string
) {
  const purpose = `read the new snapshot of ${dataset}`
  const listed = yield* commands.run(purpose, dataset, [
    ...["list", "-H", "-p", "-t", "snapshot", "-o", "name,guid"],
    ...datasets.map((each) => `${each}@${name}`)
  ])
  const guids: Record<string, string> = {}
  for (const [full = "", guid = ""] of yield* understood(commands, purpose, table(listed, 2))) {
    guids[datasetOf(full)] = guid
  }
  return { name, guids } satisfies SnapshotRef
})

const release = (commands: Commands, ref: SnapshotRef) =>
  Effect.forEach(
    Object.entries(ref.guids),
    ([dataset, guid]) =>
      destroy(commands, `${dataset}@${ref.name}`, guid).pipe(
        Effect.catchAll((error) => Effect.logWarning(`${error.message}; the next run will try again`))
      ),
    { discard: true }
  )

const inSnapshot = (mountpoint: RawPath.RawPath, name: string): RawPath.RawPath =>
  RawPath.join(mountpoint, RawPath.fromText(`.zfs/snapshot/${name}`))

const viewOf = Effect.fnUntraced(function* (layout: Layout, ref: SnapshotRef) {
  const root = RawPath.join(inSnapshot(layout.mountpoint, ref.name), layout.within)
  yield* Effect.mapError(
    canRead(root),
    (cause) =>
      new ZfsError({
        reason: "Unmounted",
        message: `cannot read the snapshot at ${RawPath.display(root)}: ${Errno.explain(cause)}; see whether it can be listed by hand, and that zfs get snapdir '${layout.dataset}' is not "disabled"`,
        transient: false,
        cause
      })
  )
  const grafts: Array<Graft> = []
  const blocked: Array<Blocked> = [...layout.blocked]
  for (const { at, dataset, mountpoint } of layout.children) {
    const graft = { at, root: inSnapshot(mountpoint, ref.name) }
    const readable = yield* Effect.either(canRead(graft.root))
    if (readable._tag === "Right") grafts.push(graft)
    else {
      blocked.push({
        at,
        reason: `the snapshot of child dataset ${dataset} cannot be read at ${RawPath.display(graft.root)}: ${Errno.explain(readable.left)}`
      })
    }
  }
  return {
    label: `${layout.dataset}@${ref.name}`,
    snapshot: ref,
    root,
    livePath: sourceOf(layout),
    grafts,
    blocked,
    frozen: true
  } satisfies SourceView
})
