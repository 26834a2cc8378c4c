import * as Arr from "effect/Array"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type Job, targetOf } from "../config/ReplicationJob.ts"
import { asPreflight, PreflightError, retryTransient } from "../runs/Run.ts"
import type { Account } from "../zfs/Account.ts"
import { allowCommand, missing, parseAllow, permissionsOf, type Role, type Where } from "../zfs/Allow.ts"
import type { SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, poolOf } from "../zfs/DatasetName.ts"
import { onEnd } from "../zfs/Endpoint.ts"
import { receiveProblem } from "../zfs/PoolHealth.ts"
import type { End } from "./End.ts"
import { Receiver } from "./Receiver.ts"
import { minimalRoots, select } from "./Selection.ts"
import { Sender } from "./Sender.ts"

export interface Survey {
  readonly sender: Account
  readonly receiver: Account
  /** Parents before children. */
  readonly items: ReadonlyArray<DatasetPair>
  /** Roots that are not at the source, and why. */
  readonly missing: ReadonlyMap<string, string>
  /** Those that have no place at the target; each fails by itself. */
  readonly unplaced: ReadonlyArray<Unplaced>
  /** Everything below the roots at the source, excluded or not. */
  readonly tree: ReadonlyArray<SourceDataset>
  /** The replicas there are, and what lies above and below them, by name. */
  readonly targets: ReadonlyMap<string, TargetDataset>
}

export interface DatasetPair {
  readonly source: SourceDataset
  readonly target: string
}

interface Unplaced {
  readonly dataset: string
  readonly target: string | null
  readonly error: string
}

/** Reads both ends. Fails with PreflightError when one does not answer, or a replica has no place or would lie inside of what is sent. */
export const survey = Effect.fn("Replication.survey")(function* (job: Job, retries: number) {
  const { missing, sender, tree } = yield* readSource(job, retries)
  const receiver = yield* retryTransient(retries)((yield* Receiver).account)
  const { chosen, nameless } = yield* choose(job, tree, missing.size)
  const { away, targets } = yield* readTargets(job, chosen, retries)
  const { label } = yield* Receiver
  const isAway = ({ target }: DatasetPair) => away.has(poolOf(target))
  const items = chosen.filter((pair) => !isAway(pair))
  const unplaced = [
    ...nameless,
    ...chosen.filter(isAway).map(({ source, target }): Unplaced => {
      return { dataset: source.name, target, error: poolMissing(label, poolOf(target)) }
    })
  ]
  yield* refuseLoops(items, tree, targets)
  yield* warnOfEchoes(items, targets)
  return { sender, receiver, items, missing, unplaced, tree, targets } satisfies Survey
}, asPreflight)

/** Why a survey failed: the source could not be asked. */
export class SourceError extends Data.TaggedError("SourceError")<{ readonly message: string }> {}

const readSource = Effect.fnUntraced(
  function* (job: Job, retries: number) {
    const retry = retryTransient(retries)
    const sender = yield* retry((yield* Sender).account)
    const { datasets: tree, missing } = yield* retry((yield* Sender).tree(minimalRoots(job.datasets)))
    return { sender, tree, missing: yield* explainMissing(missing, tree, retries) }
  },
  Effect.mapError(({ message }) => new SourceError({ message }))
)

/** Why each of these roots is not at the source. Fails when all of them are in pools that are not imported. */
const explainMissing = Effect.fnUntraced(function* (
  missing: ReadonlyArray<string>,
  tree: ReadonlyArray<SourceDataset>,
  retries: number
) {
  const sender = yield* Sender
  const read = (pool: string) => retryTransient(retries)(sender.read(pool))
  const pools = new Set(tree.map(({ name }) => poolOf(name)))
  const away = new Set<string>()
  for (const pool of new Set(missing.map(poolOf))) {
    if (!pools.has(pool) && (yield* read(pool)) === undefined) away.add(pool)
  }
  // A pool may have a colon in its name, but HOST:DATASET is more likely.
  const hint = (pool: string) => (pool.includes(":") ? "; a host goes into --host, not before a dataset" : "")
  const why = (pool: string) => poolMissing(sender.label, pool) + hint(pool)
  const lines = [...away].map(why)
  if (tree.length === 0 && missing.every((root) => away.has(poolOf(root)))) yield* failPreflight(lines)
  return new Map(
    missing.map((root) => {
      const pool = poolOf(root)
      return [root, away.has(pool) ? why(pool) : `there is no such dataset on ${sender.label}`]
    })
  )
})

const choose = Effect.fnUntraced(function* (job: Job, tree: ReadonlyArray<SourceDataset>, missing: number) {
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
  if (chosen.selected.length === 0 && missing === 0) {
    return yield* new PreflightError({ message: "every dataset is left out by --exclude: nothing to do" })
  }
  const [nameless, pairs] = Arr.partitionMap(chosen.selected, (source) =>
    Either.mapBoth(targetOf(job, source.name), {
      onLeft: (why): Unplaced => ({ dataset: source.name, target: null, error: `it ${why}` }),
      onRight: (target): DatasetPair => ({ source, target })
    })
  )
  // Of those that are named, the definition of the job is wrong.
  const wrong = nameless.filter(({ dataset }) => named.has(dataset))
  yield* failPreflight(wrong.map(({ dataset, error }) => `${dataset}: ${error}`))
  return { chosen: pairs, nameless }
})

/** The replicas, what lies above them, and pools that are not there, of which there have to be others. */
const readTargets = Effect.fnUntraced(function* (job: Job, items: ReadonlyArray<DatasetPair>, retries: number) {
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
  const pools = new Set(roots.map(poolOf))
  const away = new Set([...pools].filter((pool) => !found.has(pool)))
  if (away.size === pools.size) yield* failPreflight([...away].map((pool) => poolMissing(receiver.label, pool)))
  return { away, targets: found }
})

/** Fails with these lines, if there are any. */
export const failPreflight = (lines: ReadonlyArray<string>): Effect.Effect<void, PreflightError> =>
  lines.length === 0 ? Effect.void : Effect.fail(new PreflightError({ message: lines.join("\n") }))

export const poolMissing = (label: string, pool: string): string =>
  `no pool ${pool} is imported on ${label} (there: zpool import ${pool})`

/** Without the datasets that have no place at the target. */
export const targetNames = (job: Job, datasets: ReadonlyArray<string>): ReadonlyArray<string> =>
  Arr.getRights(datasets.map((dataset) => targetOf(job, dataset)))

/** The target, or the nearest dataset above it that is there: what a new replica gets its encryption from. */
export const placeOf = ({ targets }: Survey, target: string): TargetDataset | undefined =>
  targets.get([...ancestorsOf(target), target].findLast((name) => targets.has(name)) ?? "")

/** The dataset, or the nearest one above it, of which `find` gives something. */
export const nearestOf = Effect.fnUntraced(function* <A, E>(
  dataset: string,
  find: (name: string) => Effect.Effect<A | undefined, E>
) {
  for (const name of [dataset, ...ancestorsOf(dataset).toReversed()]) {
    const found = yield* find(name)
    if (found !== undefined) return { name, found }
  }
  return undefined
})

/** A replica must not be written into what it is made from: each run would send the runs before it. */
const refuseLoops = (
  items: ReadonlyArray<DatasetPair>,
  tree: ReadonlyArray<SourceDataset>,
  targets: ReadonlyMap<string, TargetDataset>
) => {
  const sources = new Map(tree.map(({ guid, name }) => [guid, name]))
  const loops = new Map<string, string>()
  for (const { target } of items) {
    for (const name of [...ancestorsOf(target), target]) {
      const source = sources.get(targets.get(name)?.guid ?? "")
      if (source !== undefined) loops.set(source, target)
    }
  }
  return failPreflight(
    Array.from(
      loops,
      ([source, target]) =>
        `${target} would lie inside of ${source}, which is to be sent: give a destination outside of it`
    )
  )
}

// Two hosts that pull all of each other get their own back, one level deeper with each run. A restore looks the same. A
// snapshot that the source of that replica does not have any more is none of these: a clone below it was promoted.
const warnOfEchoes = Effect.fnUntraced(function* (
  items: ReadonlyArray<DatasetPair>,
  targets: ReadonlyMap<string, TargetDataset>
) {
  const owners = new Map<string, string>()
  const sources = new Map(items.map(({ source, target }) => [target, source]))
  for (const name of new Set(items.flatMap(({ target }) => ancestorsOf(target)))) {
    const own = sources.get(name)?.snapshots.map(({ guid }) => guid)
    for (const { guid } of targets.get(name)?.snapshots ?? []) {
      if (own === undefined || own.includes(guid)) owners.set(guid, name)
    }
  }
  const [from, to] = [(yield* Sender).label, (yield* Receiver).label]
  for (const { source, target } of items) {
    const owner = source.snapshots
      .map(({ guid }) => owners.get(guid))
      .find((name) => name !== undefined && name !== target && isWithin(target, name))
    if (owner === undefined) continue
    yield* Effect.logWarning(
      `${source.name} on ${from} is a copy of ${owner} on ${to}, and its replica ${target} would lie inside of that: unless something is to be restored, leave it out with --exclude, or each run sends it one level deeper`
    )
  }
})

/** A line for each pool of the targets that no stream can be received into. One that cannot be asked is left to the run. */
export const poolProblems = Effect.fnUntraced(function* ({ items }: Survey) {
  const { isReadOnly, label, pool } = yield* Receiver
  const found = yield* Effect.forEach(new Set(items.map(({ target }) => poolOf(target))), (name) =>
    Effect.zipWith(
      pool(name),
      Effect.orElseSucceed(isReadOnly(name), () => false),
      receiveProblem
    ).pipe(
      Effect.map((why) => (why === undefined ? [] : [`${onEnd(label)}the pool ${name} ${why}`])),
      Effect.catchAll(({ message }) => Effect.as(Effect.logDebug(message), []))
    )
  )
  return found.flat()
})

/** A line for each permission that a run of the job lacks. None for root. */
export const missingPermissions = Effect.fnUntraced(function* (job: Job, found: Survey, rollback: boolean) {
  const sources = found.items.map(({ source }): PermissionScope => ({ dataset: source.name, where: "here" }))
  const receiving = rollback ? permissionsOf("receive", "rollback") : permissionsOf("receive")
  return [
    ...(yield* missingOn(yield* Sender, found.sender, permissionsOf("send", ...snapshotRoles(job)), sources)),
    ...(yield* missingOn(yield* Receiver, found.receiver, receiving, targetScopes(found)))
  ]
})

/** What a job that takes snapshots needs at the source besides `send`. */
export const snapshotRoles = ({ snapshot, sourceRetention }: Job): ReadonlyArray<Role> => [
  ...(snapshot ? (["snapshot"] as const) : []),
  ...(sourceRetention === undefined ? [] : (["prune"] as const))
]

/** A replica's permissions come from itself, or from the nearest dataset above it that exists. */
const targetScopes = ({ items, targets }: Survey): ReadonlyArray<PermissionScope> => {
  const scopes = new Map<string, PermissionScope>()
  for (const { target } of items) {
    const where = targets.has(target) ? "here" : "both"
    const dataset = where === "here" ? target : ancestorsOf(target).findLast((above) => targets.has(above))
    if (dataset !== undefined && scopes.get(dataset)?.where !== "both") scopes.set(dataset, { dataset, where })
  }
  return [...scopes.values()]
}

/** A dataset on an end, and whether permissions count on it, on what will be below it, or both. */
interface PermissionScope {
  readonly dataset: string
  readonly where: Where
}

/**
 * What the account lacks on this end: a line for each topmost dataset, with the command that grants it. Permissions on
 * that count for all below it, so that most jobs need one command. What cannot be read counts as granted: zfs will fail.
 */
export const missingOn = Effect.fnUntraced(function* (
  end: End,
  account: Account,
  wanted: ReadonlyArray<string>,
  places: ReadonlyArray<PermissionScope>
) {
  if (account.root) return []
  const lacking = ({ dataset, where }: PermissionScope): Effect.Effect<ReadonlyArray<string>> =>
    end.allowed(dataset).pipe(
      Effect.map((table) => missing(account, parseAllow(table), dataset, wanted, where)),
      Effect.catchAll(({ message }) =>
        Effect.as(Effect.logDebug(`the permissions on ${dataset} are not known: ${message}`), [])
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
