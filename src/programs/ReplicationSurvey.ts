import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { ancestorsOf, isWithin, poolOf } from "../domain/replication/DatasetName.ts"
import type { Job } from "../domain/replication/Job.ts"
import { targetOf, targetsOf } from "../domain/replication/Mapping.ts"
import { minimalRoots, select } from "../domain/replication/Selection.ts"
import type { SourceDataset, TargetDataset } from "../domain/replication/State.ts"
import { Receiver } from "../services/Receiver.ts"
import type { Account } from "../services/replication/contract.ts"
import { Sender } from "../services/Sender.ts"
import { asPreflight, PreflightError } from "./Preflight.ts"
import { retryTransient } from "./Retry.ts"

/** A dataset that is to be replicated, and where to. */
export interface Item {
  readonly source: SourceDataset
  readonly target: string
}

/** What there is on both ends before anything is done. */
export interface Survey {
  readonly sender: Account
  readonly receiver: Account
  /** Parents before children. */
  readonly items: ReadonlyArray<Item>
  /** Datasets that were asked for and are not there. */
  readonly missing: ReadonlyArray<string>
  /** Everything below the roots at the source, excluded or not. */
  readonly tree: ReadonlyArray<SourceDataset>
  /** The replicas there are, and what lies above and below them, by name. */
  readonly targets: ReadonlyMap<string, TargetDataset>
}

/**
 * Looks at both ends: who we are there, what is asked for, and what of it is at the target. Fails, before anything
 * is done, when an end does not answer, a dataset has no place to go, or its place is inside of what is sent.
 */
export const survey = Effect.fn("Replication.survey")(function* (job: Job, retries: number) {
  const accounts = yield* reach(retries)
  const { items, missing, tree } = yield* choose(job, retries)
  const targets = yield* lookAtTargets(job, items, retries)
  yield* refuseLoops(items, tree, targets)
  yield* warnOfEchoes(items, targets)
  const found: Survey = { ...accounts, items, missing, tree, targets }
  return found
}, asPreflight)

/** Who we are on both ends. */
const reach = Effect.fnUntraced(function* (retries: number) {
  const patiently = retryTransient(retries)
  const sender = yield* patiently((yield* Sender).account)
  const receiver = yield* patiently((yield* Receiver).account)
  return { sender, receiver }
})

/** What is asked for, and the place of each. */
const choose = Effect.fnUntraced(function* (job: Job, retries: number) {
  const sender = yield* Sender
  const { datasets: tree, missing } = yield* sender
    .tree(minimalRoots(job.datasets))
    .pipe(retryTransient(retries))
  const chosen = select({ roots: job.datasets, exclude: job.exclude }, tree)
  for (const { coveredBy, dropped } of chosen.overlaps) {
    yield* Effect.logDebug(`${dropped} is part of ${coveredBy}, and done with it`)
  }
  const named = new Set(job.datasets)
  for (const { dataset, pattern } of chosen.excluded) {
    const text = `${dataset} is left out (--exclude ${pattern})`
    yield* named.has(dataset)
      ? Effect.logWarning(`${text}, though it is named: nothing of it is replicated`)
      : Effect.logDebug(text)
  }
  for (const pattern of chosen.unusedPatterns) {
    yield* Effect.logWarning(`nothing is left out by --exclude ${pattern}: no dataset has such a name`)
  }
  if (chosen.selected.length === 0 && missing.length === 0) {
    return yield* new PreflightError({ message: "every dataset is left out by --exclude: nothing to do" })
  }
  const names = chosen.selected.map(({ name }) => name)
  const places = targetsOf(job, names)
  if (Either.isLeft(places)) return yield* new PreflightError({ message: places.left.join("\n") })
  const items = chosen.selected.flatMap((source): ReadonlyArray<Item> => {
    const target = places.right.get(source.name)
    return target === undefined ? [] : [{ source, target }]
  })
  return { items, missing, tree }
})

/** The replicas, and what lies above them; the pool has to be there. */
const lookAtTargets = Effect.fnUntraced(function* (job: Job, items: ReadonlyArray<Item>, retries: number) {
  const receiver = yield* Receiver
  const patiently = retryTransient(retries)
  const ofRoots = job.datasets.flatMap((root) => Either.match(targetOf(job, root), placed))
  const roots = minimalRoots([...ofRoots, ...items.map(({ target }) => target)])
  const found = new Map(yield* patiently(receiver.tree(roots)))
  const absent = new Set<string>()
  for (const above of new Set(roots.flatMap(ancestorsOf))) {
    if (found.has(above) || ancestorsOf(above).some((ancestor) => absent.has(ancestor))) continue
    const dataset = yield* patiently(receiver.read(above))
    if (dataset === undefined) absent.add(above)
    else found.set(above, dataset)
  }
  const noPool = [...new Set(roots.map(poolOf))].filter((pool) => !found.has(pool))
  if (noPool.length > 0) {
    return yield* new PreflightError({
      message: noPool
        .map(
          (pool) => `on ${receiver.label}: there is no pool ${pool}; is it imported (zpool import ${pool})?`
        )
        .join("\n")
    })
  }
  return found
})

const placed = {
  onLeft: (): ReadonlyArray<string> => [],
  onRight: (target: string): ReadonlyArray<string> => [target]
}

/** A replica must not be written into what it is made from: each run would send the runs before it. */
const refuseLoops = Effect.fnUntraced(function* (
  items: ReadonlyArray<Item>,
  tree: ReadonlyArray<SourceDataset>,
  targets: ReadonlyMap<string, TargetDataset>
) {
  const sources = new Map(tree.map(({ guid, name }) => [guid, name]))
  const loops = new Map<string, string>()
  for (const { target } of items) {
    for (const name of [...ancestorsOf(target), target]) {
      const guid = targets.get(name)?.guid
      const source = guid === undefined ? undefined : sources.get(guid)
      if (source !== undefined) loops.set(source, target)
    }
  }
  if (loops.size === 0) return
  return yield* new PreflightError({
    message: [...loops]
      .map(
        ([source, target]) =>
          `${target} would lie inside of ${source}, which is to be sent: give a destination outside of it`
      )
      .join("\n")
  })
})

/**
 * Two hosts that fetch all of each other get their own back, one level deeper with each run. To restore something looks the
 * same, so that it is no reason to refuse.
 */
const warnOfEchoes = Effect.fnUntraced(function* (
  items: ReadonlyArray<Item>,
  targets: ReadonlyMap<string, TargetDataset>
) {
  const above = [...new Set(items.flatMap(({ target }) => ancestorsOf(target)))]
  const owners = new Map(
    above.flatMap((name) => (targets.get(name)?.snapshots ?? []).map(({ guid }) => [guid, name] as const))
  )
  for (const { source, target } of items) {
    const owner = source.snapshots
      .map(({ guid }) => owners.get(guid))
      .find((name) => name !== undefined && name !== target && isWithin(target, name))
    if (owner === undefined) continue
    const [from, to] = [(yield* Sender).label, (yield* Receiver).label]
    yield* Effect.logWarning(
      `${source.name} on ${from} is a copy of ${owner} on ${to}, and its replica ${target} would lie inside of that: unless something is to be restored, leave it out with --exclude, or each run sends it one level deeper`
    )
  }
})
