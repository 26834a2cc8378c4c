import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Job } from "../config/ReplicationJob.ts"
import { count, duration, firstNames } from "../text/Text.ts"
import type { SourceDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, parentOf, poolOf } from "../zfs/DatasetName.ts"
import { placeId, placeIn } from "./Bookmarks.ts"
import { keyRemark } from "./Keys.ts"
import { moveAway, plan } from "./Plan.ts"
import { commonWith, sortReplicas } from "./Prune.ts"
import { Receiver } from "./Receiver.ts"
import { isBeside } from "./ReplaceParent.ts"
import { minimalRoots } from "./Selection.ts"
import { Sender } from "./Sender.ts"
import { type DatasetPair, type Survey, targetNames } from "./Survey.ts"

/**
 * Logs the remarks, as warnings where something is to be done, and gives their texts. A summary with one does not count as all well.
 */
export const logRemarks = Effect.fn("Replication.remark")(function* (job: Job, found: Survey, moved: Renamed) {
  const remarks = yield* remarksOn(job, found, moved)
  for (const { dataset, lasts, text } of remarks) {
    const line = lasts === true ? Effect.logInfo(text) : Effect.logWarning(text)
    yield* dataset === undefined ? line : Effect.annotateLogs(line, "dataset", dataset)
  }
  return remarks.map(({ text }) => text)
})

interface Remark {
  readonly dataset: string | undefined
  readonly text: string
  /** It stays so at every run, and the replica goes on. */
  readonly lasts?: boolean
}

/** What of a job needs a look though nothing fails: sentences on one dataset or on several. */
export const remarksOn = Effect.fn("Replication.remarksOn")(function* (job: Job, found: Survey, moved: Renamed) {
  const [from, to] = [(yield* Sender).label, (yield* Receiver).label]
  const now = (yield* Clock.currentTimeMillis) / 1000
  const sources = found.items.map(({ source }) => source)
  const several = [orphansRemark(job, found, moved, { from, to }), staleRemark(staleOf(sources, now), from)]
  const remarks: ReadonlyArray<Remark> = [
    ...(yield* elsewhereRemarks(found, moved)),
    ...keyRemarks(job, found, to),
    ...promotedRemarks(found, from, to),
    ...several.flatMap((text) => (text === undefined ? [] : [{ dataset: undefined, text }]))
  ]
  return remarks
})

/** Datasets that the job names, of which nothing has a snapshot and nothing ever arrived. */
export const bareRoots = (job: Job, { items, targets }: Survey): ReadonlySet<string> => {
  const roots = new Set(minimalRoots(job.datasets))
  const bare = new Set(items.flatMap(({ source: { name } }) => (roots.has(name) ? [name] : [])))
  for (const { source, target } of items) {
    const isOfUse =
      source.snapshots.length > 0 ||
      plan(source, targets.get(target), { mode: job.mode, rollback: false })._tag !== "NothingToSend"
    if (isOfUse) for (const name of [...ancestorsOf(source.name), source.name]) bare.delete(name)
  }
  return bare
}

export const noSnapshots =
  "neither it nor anything below it has a snapshot: there is nothing to send; is something taking snapshots there?"

/** By the name of a dataset: the replica of its old name, and the advice. */
export type Renamed = ReadonlyMap<string, { readonly owner: string; readonly advice: string }>

/**
 * Why a dataset that would be sent in full is not, by its name: a replica whose source is gone has snapshots of it, so that
 * it seems to have been renamed. Looks at what the job wrote, and beside its roots.
 */
export const findRenamed = Effect.fn("Replication.renamed")(function* (job: Job, found: Survey) {
  const fresh = found.items.filter(({ source, target }) => source.snapshots.length > 0 && !found.targets.has(target))
  if (fresh.length === 0) return new Map<string, never>()
  const roots = new Set(minimalRoots(job.datasets))
  const beside = yield* Effect.forEach(
    fresh.filter(({ source }) => roots.has(source.name)),
    replicasBeside(found)
  )
  const orphans = sortReplicas(job, found).orphans.flatMap(({ name }) => found.targets.get(name) ?? [])
  const owners = new Map(
    [...orphans, ...beside.flat()].flatMap(({ name, snapshots }) => snapshots.map(({ guid }) => [guid, name] as const))
  )
  const { label } = yield* Receiver
  return new Map(
    fresh.flatMap(({ source, target }) => {
      const owner = source.snapshots.flatMap(({ guid }) => owners.get(guid) ?? []).at(-1)
      if (owner === undefined) return []
      return [[source.name, { owner, advice: renameAdvice(found, owner, target, label) }] as const]
    })
  )
})

const renameAdvice = ({ targets }: Survey, old: string, target: string, label: string): string => {
  let [from, to] = [old, target]
  // What is below a dataset is renamed with it.
  for (;;) {
    const [above, over] = [parentOf(from), parentOf(to)]
    if (above === undefined || over === undefined || targets.has(over)) break
    if (from.slice(above.length) !== to.slice(over.length)) break
    ;[from, to] = [above, over]
  }
  const command = `zfs rename ${targets.has(parentOf(to) ?? "") ? "" : "-p "}'${from}' '${to}'`
  return `it seems to have been renamed: ${old} on ${label} has snapshots of it, and its own source is gone; rename that one (there: ${command}) and run again; to send all of it once more instead, have that one be no replica any more (there: zfs inherit zipper:send '${old}')`
}

/** Replicas beside that of a root, whose source is gone. */
const replicasBeside = (found: Survey) =>
  Effect.fnUntraced(
    function* ({ source: { name }, target }: DatasetPair) {
      const [from, to] = [parentOf(name), parentOf(target)]
      if (from === undefined || to === undefined || !found.targets.has(to)) return []
      if (name.slice(from.length) !== target.slice(to.length)) return []
      const sources = new Set((yield* (yield* Sender).tree([from])).datasets.map((source) => source.name))
      const there = yield* (yield* Receiver).tree([to])
      return [...there.values()].filter(
        ({ mode, name: replica }) =>
          mode !== undefined && !isBeside(replica) && !sources.has(from + replica.slice(to.length))
      )
    },
    Effect.catchAll(({ message }) => Effect.as(Effect.logDebug(`not looked for a rename: ${message}`), []))
  )

/** What goes in full to a new place, though the bookmarks at the source tell of a replica elsewhere in that pool. */
const elsewhereRemarks = Effect.fnUntraced(
  function* ({ items, targets }: Survey, moved: Renamed) {
    const { label, tree } = yield* Receiver
    const fresh = items.filter(
      ({ source, target }) =>
        !targets.has(target) &&
        !moved.has(source.name) &&
        source.bookmarks.some(({ guid, name }) => placeIn(name, guid))
    )
    const all = yield* tree([...new Set(fresh.map(({ target }) => poolOf(target)))])
    const replicas = new Map(
      [...all.values()].flatMap((each) =>
        each.mode === undefined ? [] : [[placeId(targets, each.name), each] as const]
      )
    )
    const found = fresh.flatMap(({ source, target }) => {
      const old = source.bookmarks.flatMap(({ guid, name }) => {
        const replica = replicas.get(placeIn(name, guid))
        return replica?.snapshots.some((each) => each.guid === guid) ? [replica.name] : []
      })
      return old.length === 0 ? [] : [{ source, target, old: old.at(-1) }]
    })
    const tops = new Set(minimalRoots(found.map(({ target }) => target)))
    return found.flatMap(({ old, source, target }): ReadonlyArray<Remark> => {
      if (!tops.has(target)) return []
      const command = `zfs rename -p '${old}' '${target}'`
      const text = `all of it is sent to ${target}, though ${old} on ${label} is a replica of it: if only the name of the host, destination or dataset changed, rename that one before the first run (there: ${command}), and only what is new is sent`
      return [{ dataset: source.name, text }]
    })
  },
  Effect.catchAll(({ message }) => Effect.as(Effect.logDebug(`not looked for replicas elsewhere: ${message}`), []))
)

const keyRemarks = (job: Job, { items, targets }: Survey, there: string) =>
  items.flatMap(({ source, target: name }) => {
    const target = targets.get(name)
    if (job.mode !== "raw" || target === undefined) return []
    const next = plan(source, target, { mode: job.mode, rollback: false })._tag
    if (next !== "UpToDate" && next !== "Incremental" && next !== "Resume") return []
    const text = keyRemark(source, target, { sends: next !== "UpToDate", there })
    return text === undefined ? [] : [{ dataset: source.name, text }]
  })

/** What a promotion at the source took: snapshots that no incremental stream brings, and the base of a replica. */
const promotedRemarks = ({ items, targets, tree }: Survey, from: string, there: string): ReadonlyArray<Remark> => {
  const holders = new Map(tree.flatMap(({ name, snapshots }) => snapshots.map(({ guid }) => [guid, name] as const)))
  const left = new Map<string, { readonly origin: string; readonly keeper: string }>()
  for (const { source, target } of items) {
    const own = new Set(source.snapshots.map(({ guid }) => guid))
    for (const { guid } of targets.get(target)?.snapshots ?? []) {
      if (!own.has(guid)) left.set(guid, { origin: source.name, keeper: target })
    }
  }
  return items.flatMap(({ source, target }) => {
    const replica = targets.get(target)
    if (replica === undefined) return []
    const common = new Set(commonWith(source, replica).map(({ guid }) => guid))
    const holder = replica.snapshots.flatMap(({ guid }) => holders.get(guid) ?? []).at(-1)
    if (common.size === 0 && holder !== undefined) {
      const text = `${holder} on ${from} has the snapshots of ${target} now, and this dataset none of them: a clone of it was promoted (there: zfs promote '${source.name}' takes them back), one is a copy of the other, or they changed names (give their replicas the same names)`
      return [{ dataset: source.name, text }]
    }
    const first = source.snapshots.findIndex(({ guid }) => common.has(guid))
    const apart = source.snapshots.slice(0, Math.max(0, first)).filter(({ guid }) => left.has(guid))
    const of = left.get(apart[0]?.guid ?? "")
    if (of === undefined) return []
    const which = `${count(apart.length, "snapshot")} that were in the replica of ${of.origin} (${firstNames(apart.map(({ name }) => `@${name}`))})`
    const text = `${which} are older than what ${target} on ${there} began with and never reach it: the dataset seems to have been a clone of ${of.origin} that was promoted; ${of.keeper} has them, so keep that one, or move ${target} out of the way (there: ${moveAway(target)}) and the next run starts anew with them`
    return [{ dataset: source.name, text, lasts: true }]
  })
}

/** Replicas whose source is gone from below a dataset of the job. When that dataset itself is gone, the run fails. */
const orphansRemark = (job: Job, found: Survey, moved: Renamed, { from, to }: Record<"from" | "to", string>) => {
  const failing = targetNames(job, [...found.missing.keys()])
  const owners = new Set(Array.from(moved.values(), ({ owner }) => owner))
  const orphans = sortReplicas(job, found).orphans.filter(
    ({ name }) => !owners.has(name) && !failing.some((root) => isWithin(name, root))
  )
  const [first] = orphans
  if (first === undefined) return undefined
  const what = orphans.length === 1 ? first.name : `${count(orphans.length, "replica")} (the first is ${first.name})`
  return `${what} on ${to}: the source is gone from ${from}, destroyed or renamed; the replica stays as it is (to hear no more of it, there: zfs inherit zipper:send '${first.name}')`
}

const day = 86_400
const latestCount = 10

interface Stale {
  readonly dataset: string
  readonly age: number
  /** The longest time that there was between two of its latest snapshots. */
  readonly usual: number
}

/** Stale: the newest snapshot is a day older than three times the longest recent gap. `now`: seconds since 1970. */
export const staleOf = (sources: ReadonlyArray<SourceDataset>, now: number): ReadonlyArray<Stale> =>
  sources.flatMap(({ name, snapshots }) => {
    const latest = snapshots
      .map(({ creation }) => creation)
      .toSorted((a, b) => a - b)
      .slice(-latestCount)
    const newest = latest.at(-1)
    if (newest === undefined || latest.length < 3) return []
    const usual = Math.max(...latest.slice(1).map((creation, index) => creation - (latest[index] ?? creation)))
    const age = now - newest
    return age > day + 3 * usual ? [{ dataset: name, age, usual }] : []
  })

const staleRemark = (stale: ReadonlyArray<Stale>, label: string): string | undefined => {
  const [first] = stale.toSorted((a, b) => b.age - a.age)
  if (first === undefined) return undefined
  const others =
    stale.length === 1 ? "" : ` (and ${stale.length - 1} more ${stale.length === 2 ? "does" : "do"} not either)`
  return `${first.dataset} on ${label} got no snapshot for ${duration(first.age * 1000)}, and one every ${duration(first.usual * 1000)} at least before${others}: is something still taking snapshots there? Its replica is no newer`
}
