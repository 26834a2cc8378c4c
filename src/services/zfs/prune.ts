import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { readSnapshots, snapshotColumns } from "../../domain/replication/Listing.ts"
import { decode, property, type SnapshotMark } from "../../domain/SnapshotMark.ts"
import * as SnapshotName from "../../domain/SnapshotName.ts"
import { type PrunePlan, type Snapshot, select } from "../../domain/SnapshotPrune.ts"
import { rows, shortName } from "../../domain/ZfsList.ts"
import type { Process } from "../Process.ts"
import { isRunning } from "../process/alive.ts"
import { type Commands, complaint, failure, understood } from "./command.ts"
import type { PruneReport, SourceInfo, ZfsSettings } from "./contract.ts"
import { destroy } from "./destroy.ts"
import { startOf } from "./processes.ts"

/** How long a run on another host, which we cannot look at, is taken to be alive. */
const foreignRunSeconds = 86_400

/** Looks at the datasets' snapshots and chooses those that nobody needs. Changes nothing. */
export const planPrune = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  settings: ZfsSettings & { readonly hostname: string },
  source: SourceInfo,
  keep: ReadonlySet<string>
) {
  const { alive, snapshots } = yield* lookAtMarked(process, commands, settings, source)
  const { former, id } = source.job ?? { id: settings.jobId, former: [] }
  return select(snapshots, { prefix: settings.prefix, jobs: new Set([id, ...former]), keep, alive })
})

/** See ZfsService.marked. */
export const marked = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  settings: ZfsSettings & { readonly hostname: string },
  source: SourceInfo
) {
  const { alive, snapshots } = yield* lookAtMarked(process, commands, settings, source)
  return snapshots.filter((snapshot) => {
    const mark = snapshot.mark === undefined ? undefined : decode(snapshot.mark)
    return mark !== undefined && !alive(mark, snapshot)
  })
})

/** The source's snapshots with our mark, and whether the run behind a mark may still be at work. */
const lookAtMarked = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  commands: Commands,
  settings: ZfsSettings & { readonly hostname: string },
  { datasets }: SourceInfo
) {
  const snapshots = yield* listMarked(commands, settings.prefix, datasets)
  const marks = snapshots.flatMap(({ mark }) => (mark === undefined ? [] : (decode(mark) ?? [])))
  const running = yield* runningPids(process, settings.hostname, marks)
  const now = (yield* Clock.currentTimeMillis) / 1000
  const alive = (mark: SnapshotMark, { creation }: Snapshot): boolean =>
    mark.host === settings.hostname
      ? running.has(mark.pid) && (running.get(mark.pid) ?? mark.start) === mark.start
      : Math.abs(now - creation) < foreignRunSeconds
  return { alive, snapshots }
})

/** Destroys them one by one; what cannot be destroyed is spared, and its reason told. */
export const destroyAll = Effect.fnUntraced(function* (commands: Commands, plan: PrunePlan) {
  const destroyed: Array<string> = []
  const spared = [...plan.spare]
  for (const { guid, name } of plan.destroy) {
    const outcome = yield* Effect.either(destroy(commands, name, guid))
    if (outcome._tag === "Right") destroyed.push(name)
    else spared.push({ snapshot: name, reason: outcome.left.message })
  }
  return { destroyed, spared } satisfies PruneReport
})

/** Snapshots that carry our property themselves (an inherited or received one does not count) and have our kind of name. */
const listMarked = Effect.fnUntraced(function* (
  commands: Commands,
  prefix: string,
  datasets: ReadonlyArray<string>
) {
  const dataset = datasets[0] ?? ""
  const got = yield* commands.run(`list the snapshots of ${dataset}`, dataset, [
    ...["get", "-H", "-p", "-s", "local", "-d", "1", "-t", "snapshot", "-o", "name,value", property],
    ...datasets
  ])
  const marks = new Map<string, string>()
  for (const [name = "", value = ""] of rows(got)) {
    if (SnapshotName.parse(prefix, shortName(name)) !== undefined) marks.set(name, value)
  }
  if (marks.size === 0) return []
  // One that has just been destroyed by somebody makes the exit status 1; the rest is listed all the same.
  const listed = yield* commands.attempt([
    ...["list", "-H", "-p", "-t", "snapshot", "-o", snapshotColumns],
    ...marks.keys()
  ])
  if (listed.exitCode !== 0 && !/does not exist/.test(complaint(listed))) {
    return yield* failure(`list the snapshots of ${dataset}`, dataset, listed)
  }
  const listing = yield* understood(
    commands,
    `list the snapshots of ${dataset}`,
    readSnapshots(listed.stdout)
  )
  return [...listing].flatMap(([of, { snapshots }]) =>
    snapshots.map((snapshot): Snapshot => {
      const name = `${of}@${snapshot.name}`
      return { ...snapshot, name, mark: marks.get(name) }
    })
  )
})

/** Those of the marks' processes that exist, with their start where it can be told. */
const runningPids = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  host: string,
  marks: ReadonlyArray<SnapshotMark>
) {
  const running = new Map<number, string | undefined>()
  for (const { host: theirs, pid } of marks) {
    if (theirs !== host || running.has(pid) || !isRunning(pid)) continue
    running.set(pid, yield* startOf(process, pid))
  }
  return running
})
