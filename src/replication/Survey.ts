import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type Job, targetOf, targetsOf } from "../config/ReplicationJob.ts"
import { retryTransient } from "../runs/Retry.ts"
import { asPreflight, PreflightError } from "../runs/Run.ts"
import { allowCommand, missing, parse, permissionsOf, type Where } from "../zfs/Allow.ts"
import type { SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, poolOf } from "../zfs/DatasetName.ts"
import type { Account, End } from "./End.ts"
import { Receiver } from "./Receiver.ts"
import { minimalRoots, select } from "./Selection.ts"
import { Sender } from "./Sender.ts"

const nothing: ReadonlyArray<string> = []

/** A dataset on an end, and whether permissions count on it, on what will be below it, or both. */
export interface Place {
  readonly dataset: string
  readonly where: Where
}

/**
 * What the account may not do on this end though it has to: a line for each dataset, with the command that grants
 * it there and below. Permissions at the top of what is asked for are enough for all of it, so that the usual
 * case costs one look. Where nobody can tell, nothing is missing: zfs itself will say.
 */
export const missingOn = Effect.fnUntraced(function* (
  end: End,
  account: Account,
  wanted: ReadonlyArray<string>,
  places: ReadonlyArray<Place>
) {
  if (account.root) return []
  const lacking = (place: Place) =>
    end.allowed(place.dataset).pipe(
      Effect.map((table) => missing(account, parse(table), place.dataset, wanted, place.where)),
      Effect.catchAll((error) =>
        Effect.as(
          Effect.logDebug(`the permissions on ${place.dataset} are not known: ${error.message}`),
          nothing
        )
      )
    )
  const lines: Array<string> = []
  for (const top of minimalRoots(places.map(({ dataset }) => dataset))) {
    if ((yield* lacking({ dataset: top, where: "both" })).length === 0) continue
    const each = yield* Effect.forEach(
      places.filter(({ dataset }) => isWithin(dataset, top)),
      lacking
    )
    const permissions = wanted.filter((permission) => each.some((some) => some.includes(permission)))
    if (permissions.length > 0) lines.push(grantLine(end, account.user, permissions, top))
  }
  return lines
})

/** What a run of the job may not do on either end though it has to: a line each. Nothing for root. */
export const missingPermissions = Effect.fnUntraced(function* (found: Survey, rollback: boolean) {
  const sources = found.items.map(({ source }): Place => ({ dataset: source.name, where: "here" }))
  const targets = placesOf(
    (dataset) => found.targets.has(dataset),
    found.items.map(({ target }) => target)
  )
  const receiving = rollback ? permissionsOf("receive", "rollback") : permissionsOf("receive")
  return [
    ...(yield* missingOn(yield* Sender, found.sender, permissionsOf("send"), sources)),
    ...(yield* missingOn(yield* Receiver, found.receiver, receiving, targets))
  ]
})

/** `as root on nas: zfs allow -u backup send,hold tank/data`. */
const grantLine = (
  end: Pick<End, "label">,
  user: string,
  permissions: ReadonlyArray<string>,
  dataset: string
): string =>
  `${user} may not ${permissions.join(", ")} on ${dataset}; as root on ${end.label}: ${allowCommand({ user, permissions, dataset })}`

/** Where a replica's permissions come from: itself, or the nearest dataset above it that exists. */
const placeOf = (exists: (dataset: string) => boolean, target: string): Place | undefined => {
  if (exists(target)) return { dataset: target, where: "here" }
  const nearest = ancestorsOf(target).findLast(exists)
  return nearest === undefined ? undefined : { dataset: nearest, where: "both" }
}

/** The same for each, once; a dataset that is named for both counts for both. */
const placesOf = (
  exists: (dataset: string) => boolean,
  targets: ReadonlyArray<string>
): ReadonlyArray<Place> => {
  const places = new Map<string, Place>()
  for (const place of targets.flatMap((target) => placeOf(exists, target) ?? [])) {
    if (places.get(place.dataset)?.where !== "both") places.set(place.dataset, place)
  }
  return [...places.values()]
}

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
