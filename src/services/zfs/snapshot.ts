import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Errno from "../../domain/Errno.ts"
import type { FolderName } from "../../domain/FolderName.ts"
import * as RawPath from "../../domain/RawPath.ts"
import { encode, property } from "../../domain/SnapshotMark.ts"
import * as SnapshotName from "../../domain/SnapshotName.ts"
import {
  type Blocked,
  type Graft,
  type SnapshotRef,
  type SourceView,
  topSegment
} from "../../domain/Source.ts"
import { fingerprint, type Layout, sourceOf } from "../../domain/SourceLayout.ts"
import { datasetOf, table } from "../../domain/ZfsList.ts"
import type { Process } from "../Process.ts"
import { changesSince } from "./changes.ts"
import { type Commands, complaint, failure, understood } from "./command.ts"
import { type SnapshotHandle, type SourceInfo, ZfsError, type ZfsSettings } from "./contract.ts"
import { destroy } from "./destroy.ts"
import { canRead } from "./folder.ts"
import { hold, inSnapshot } from "./hold.ts"
import { datasetsOf, readLayout } from "./layout.ts"
import { startOf } from "./processes.ts"

/** One atomic snapshot of all the source's datasets; see the tag. */
export const takeSnapshot = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  settings: ZfsSettings & { readonly hostname: string },
  source: SourceInfo
) {
  const layout = yield* readLayout(process, commands, source.path)
  yield* Effect.forEach(layout.blocked, ({ reason }) => Effect.logDebug(reason), { discard: true })
  const kept = yield* Ref.make(false)
  const ref = yield* Effect.acquireRelease(create(process, commands, settings, layout, source.job), (taken) =>
    Ref.get(kept).pipe(Effect.flatMap((keep) => (keep ? Effect.void : release(commands, taken))))
  )
  const view = yield* viewOf(layout, ref)
  const handle: SnapshotHandle = {
    view,
    changesSince: (base) => changesSince(commands, layout, ref, base),
    hold: holdChildren(layout, ref),
    keep: Ref.set(kept, true)
  }
  return handle
})

const create = Effect.fnUntraced(function* (
  process_: typeof Process.Service,
  commands: Commands,
  settings: ZfsSettings & { readonly hostname: string },
  layout: Layout,
  job: SourceInfo["job"]
) {
  const mark = encode({
    host: settings.hostname,
    pid: process.pid,
    start: (yield* startOf(process_, process.pid)) ?? "",
    run: settings.runId,
    job: job?.id ?? settings.jobId,
    layout: fingerprint(layout),
    target: settings.target
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

const viewOf = Effect.fnUntraced(function* (layout: Layout, ref: SnapshotRef) {
  const top = inSnapshot(layout.mountpoint, ref.name)
  const root = RawPath.join(top, layout.within)
  const own = `the snapshot ${layout.dataset}@${ref.name}`
  yield* hold(top, own).pipe(
    Effect.mapError(
      (error) =>
        new ZfsError({
          ...error,
          message: `${error.message}; see also whether it can be listed by hand, and that zfs get snapdir '${layout.dataset}' is not "disabled"`,
          cause: error
        })
    )
  )
  yield* Effect.mapError(
    canRead(root),
    (cause) =>
      new ZfsError({
        reason: "Unmounted",
        message: `cannot read the source folder in ${own}, at ${RawPath.display(root)}: ${Errno.explain(cause)}`,
        transient: false,
        cause
      })
  )
  const grafts: Array<Graft> = []
  const blocked: Array<Blocked> = [...layout.blocked]
  for (const child of layout.children) {
    const { at, mountpoint } = child
    // Closed again at once: there may be thousands. Each is held open while its folder is read.
    const readable = yield* Effect.either(Effect.scoped(holdChild(child, ref)))
    if (readable._tag === "Right") grafts.push({ at, root: inSnapshot(mountpoint, ref.name) })
    else blocked.push({ at, reason: readable.left.message })
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

const holdChild = ({ dataset, mountpoint }: Layout["children"][number], ref: SnapshotRef) =>
  hold(inSnapshot(mountpoint, ref.name), `the snapshot of child dataset ${dataset}`)

/** See SnapshotHandle.hold. */
const holdChildren = (layout: Layout, ref: SnapshotRef) => (folder: FolderName) =>
  Effect.forEach(
    layout.children.filter(({ at }) => topSegment(at) === folder),
    (child) => holdChild(child, ref),
    { discard: true }
  )
