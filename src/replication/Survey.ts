import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type Job, targetOf, targetsOf } from "../config/ReplicationJob.ts"
import { retryTransient } from "../runs/Retry.ts"
import { asPreflight, PreflightError } from "../runs/Run.ts"
import { allowCommand, missing, parseAllow, permissionsOf, type Where } from "../zfs/Allow.ts"
import type { SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, poolOf } from "../zfs/DatasetName.ts"
import type { Account, End } from "./End.ts"
import { Receiver } from "./Receiver.ts"
import { minimalRoots, select } from "./Selection.ts"
import { Sender } from "./Sender.ts"

export interface Survey {
  readonly sender: Account
  readonly receiver: Account
  /** Parents before children. */
  readonly items: ReadonlyArray<DatasetPair>
  readonly missing: ReadonlyArray<string>
  /** Everything below the roots at the source, excluded or not. */
  readonly tree: ReadonlyArray<SourceDataset>
  /** The replicas there are, and what lies above and below them, by name. */
  readonly targets: ReadonlyMap<string, TargetDataset>
}

/** A dataset that is to be replicated, and where to. */
export interface DatasetPair {
  readonly source: SourceDataset
  readonly target: string
}

/**
 * Fails, before anything is done, when an end does not answer, or the place of a dataset is missing or inside what
 * is sent.
 */
export const survey = Effect.fn("Replication.survey")(function* (job: Job, retries: number) {
  const sender = yield* retryTransient(retries)((yield* Sender).account)
  const receiver = yield* retryTransient(retries)((yield* Receiver).account)
  const { items, missing, tree } = yield* choose(job, retries)
  const targets = yield* lookAtTargets(job, items, retries)
  yield* refuseLoops(items, tree, targets)
  yield* warnOfEchoes(items, targets)
  const found: Survey = { sender, receiver, items, missing, tree, targets }
  return found
}, asPreflight)

const choose = Effect.fnUntraced(function* (job: Job, retries: number) {
  const sender = yield* Sender
  const { datasets: tree, missing } = yield* sender.tree(minimalRoots(job.datasets)).pipe(retryTransient(retries))
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
  const items = chosen.selected.flatMap((source): ReadonlyArray<DatasetPair> => {
    const target = places.right.get(source.name)
    return target === undefined ? [] : [{ source, target }]
  })
  return { items, missing, tree }
})

/** The replicas, and what lies above them; the pool has to be there. */
const lookAtTargets = Effect.fnUntraced(function* (job: Job, items: ReadonlyArray<DatasetPair>, retries: number) {
  const receiver = yield* Receiver
  const retry = retryTransient(retries)
  const roots = minimalRoots([...targetNames(job, job.datasets), ...items.map(({ target }) => target)])
  const found = new Map(yield* retry(receiver.tree(roots)))
  const absent = new Set<string>()
  for (const above of new Set(roots.flatMap(ancestorsOf))) {
    if (found.has(above) || ancestorsOf(above).some((ancestor) => absent.has(ancestor))) continue
    const dataset = yield* retry(receiver.read(above))
    if (dataset === undefined) absent.add(above)
    else found.set(above, dataset)
  }
  const noPool = [...new Set(roots.map(poolOf))].filter((pool) => !found.has(pool))
  if (noPool.length > 0) {
    return yield* new PreflightError({
      message: noPool.map((pool) => poolMissing(receiver.label, pool)).join("\n")
    })
  }
  return found
})

export const poolMissing = (label: string, pool: string): string =>
  `on ${label}: there is no pool ${pool}; is it imported (zpool import ${pool})?`

/** Without the datasets that have no place at the target. */
export const targetNames = (job: Job, datasets: ReadonlyArray<string>): ReadonlyArray<string> =>
  Arr.getRights(datasets.map((dataset) => targetOf(job, dataset)))

/** A replica must not be written into what it is made from: each run would send the runs before it. */
const refuseLoops = Effect.fnUntraced(function* (
  items: ReadonlyArray<DatasetPair>,
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
 * Two hosts that fetch all of each other get their own back, one level deeper with each run. A restore looks the
 * same, so this is no reason to refuse.
 */
const warnOfEchoes = Effect.fnUntraced(function* (
  items: ReadonlyArray<DatasetPair>,
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

/** A line for each permission that a run of the job lacks. None for root. */
export const missingPermissions = Effect.fnUntraced(function* (found: Survey, rollback: boolean) {
  const sources = found.items.map(({ source }): PermissionScope => ({ dataset: source.name, where: "here" }))
  const targets = scopesOf(
    (dataset) => found.targets.has(dataset),
    found.items.map(({ target }) => target)
  )
  const receiving = rollback ? permissionsOf("receive", "rollback") : permissionsOf("receive")
  return [
    ...(yield* missingOn(yield* Sender, found.sender, permissionsOf("send"), sources)),
    ...(yield* missingOn(yield* Receiver, found.receiver, receiving, targets))
  ]
})

/**
 * Permissions come from a replica itself, or from the nearest dataset above it that exists; one that stands for both
 * counts for both.
 */
const scopesOf = (
  exists: (dataset: string) => boolean,
  targets: ReadonlyArray<string>
): ReadonlyArray<PermissionScope> => {
  const scopes = new Map<string, PermissionScope>()
  for (const target of targets) {
    const where = exists(target) ? "here" : "both"
    const dataset = where === "here" ? target : ancestorsOf(target).findLast(exists)
    if (dataset === undefined || scopes.get(dataset)?.where === "both") continue
    scopes.set(dataset, { dataset, where })
  }
  return [...scopes.values()]
}

/** A dataset on an end, and whether permissions count on it, on what will be below it, or both. */
export interface PermissionScope {
  readonly dataset: string
  readonly where: Where
}

/**
 * What the account lacks on this end: a line for each dataset, with the command that grants it. Permissions at the
 * top are enough for all below, so that the usual case costs one look. What cannot be read counts as granted: zfs
 * itself will fail.
 */
export const missingOn = Effect.fnUntraced(function* (
  end: End,
  account: Account,
  wanted: ReadonlyArray<string>,
  places: ReadonlyArray<PermissionScope>
) {
  if (account.root) return []
  const lacking = (place: PermissionScope) =>
    end.allowed(place.dataset).pipe(
      Effect.map((table) => missing(account, parseAllow(table), place.dataset, wanted, place.where)),
      Effect.catchAll((error) =>
        Effect.as(
          Effect.logDebug(`the permissions on ${place.dataset} are not known: ${error.message}`),
          Arr.empty<string>()
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
    if (permissions.length === 0) continue
    const { user } = account
    lines.push(
      `${user} may not ${permissions.join(", ")} on ${top}; as root on ${end.label}: ${allowCommand({ user, permissions, dataset: top })}`
    )
  }
  return lines
})

/** Fails with these lines of {@link missingOn}, if there are any. */
export const requirePermissions = (lines: ReadonlyArray<string>): Effect.Effect<void, PreflightError> =>
  lines.length === 0 ? Effect.void : Effect.fail(new PreflightError({ message: lines.join("\n") }))
