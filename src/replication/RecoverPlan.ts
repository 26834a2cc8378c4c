import * as Data from "effect/Data"
import * as Either from "effect/Either"
import { type Job, targetOf } from "../config/ReplicationJob.ts"
import type { SendMode, Snapshot, SourceDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, datasetProblem, isWithin, parentOf } from "../zfs/DatasetName.ts"
import { chooseAt } from "../zfs/SnapshotAt.ts"
import { alike } from "./Keys.ts"

/** User property of a dataset that a recovery has begun and not finished: how its streams are made. */
export const recoveryProperty = "zipper:recover"

/** What a recovery makes of one replica. */
export interface RecoveryItem {
  readonly source: SourceDataset
  readonly target: string
  readonly mode: SendMode
  /** The last snapshot that comes along. Undefined: the replica has none, and lies above others that have one. */
  readonly to: Snapshot | undefined
  /** An earlier call received it, up to `to`, and all others: it may be in use, and gets nothing more. */
  readonly received: boolean
}

export interface RecoveryPlan {
  /** Parents before children. */
  readonly items: ReadonlyArray<RecoveryItem>
  readonly leftOut: ReadonlyArray<{ readonly dataset: string; readonly reason: string }>
}

/** Why nothing is recovered: something is there already, or the command line asks for what there is not. */
export class RecoverRefusal extends Data.TaggedError("RecoverRefusal")<{
  readonly reason: "Exists" | "Impossible"
  readonly message: string
}> {}

/** A dataset at the place of the target. */
interface Existing {
  /** Ours: being received, received and maybe in use, or made to hold others. */
  readonly mark: "recover" | "received" | "placeholder" | undefined
  readonly guids: ReadonlySet<string>
}

interface Asked {
  /** All datasets of the replica, itself first, parents before children. */
  readonly replicas: ReadonlyArray<SourceDataset>
  readonly at: string | undefined
  /** In milliseconds since 1970. */
  readonly now: number
}

/** The snapshots that are recovered or looked at: of the same name, else the newest that are not younger. Left: why none. */
export const chooseSnapshots = ({
  at,
  now,
  replicas
}: Asked): Either.Either<ReadonlyMap<string, Snapshot>, RecoverRefusal> =>
  Either.gen(function* () {
    const impossible = (message: string) => new RecoverRefusal({ reason: "Impossible", message })
    const first = replicas.find(({ snapshots }) => snapshots.length > 0)
    if (first === undefined) {
      const message = `${replicas[0]?.name} is no replica: neither it nor anything below it has a snapshot`
      return yield* Either.left(impossible(message))
    }
    const all = first.snapshots
    const ours = new Set(all.map(({ name }) => name))
    const point =
      at === undefined
        ? undefined
        : yield* Either.mapLeft(chooseAt({ dataset: first.name, all, ours, now }, at), (message) =>
            impossible(`--at: ${message}`)
          )
    const until = point?.moment ?? (point === undefined ? Number.POSITIVE_INFINITY : point.snapshot.creation * 1000)
    const name = point !== undefined && point.moment === undefined ? point.snapshot.name : undefined
    return new Map(
      replicas.flatMap(({ name: dataset, snapshots }) => {
        const chosen =
          snapshots.find((each) => each.name === name) ?? snapshots.findLast(({ creation }) => creation * 1000 <= until)
        return chosen === undefined ? [] : [[dataset, chosen] as const]
      })
    )
  })

/** The dataset of a job that is meant, by its own name or by that of its replica. Left: why there is none. */
export const replicaOf = (
  job: Job,
  name: string
): Either.Either<{ readonly dataset: string; readonly replica: string }, string> => {
  const own = job.datasets.some((root) => isWithin(name, root)) ? [name] : []
  const [dataset, ...others] = new Set([...own, ...sourcesOf(job, name)])
  if (dataset === undefined)
    return Either.left(`${name} is no dataset of the job ${job.name}: ${job.datasets.join(", ")}`)
  if (others.length > 0) {
    return Either.left(
      `${name} is a dataset of the job ${job.name}, and the replica of ${others[0]}: give that name, or another job`
    )
  }
  return Either.mapBoth(targetOf(job, dataset), {
    onLeft: (reason) => `${dataset} ${reason}`,
    onRight: (replica) => ({ dataset, replica })
  })
}

/** The names at the source that the job would write to `replica`. */
export const sourcesOf = (job: Job, replica: string): ReadonlyArray<string> =>
  job.datasets.flatMap((root) => {
    const target = Either.getOrElse(targetOf(job, root), () => undefined)
    return target !== undefined && isWithin(replica, target) ? [copyName(replica, target, root)] : []
  })

/** Where the copy of `dataset` goes, when that of `root` goes to `target`. */
export const copyName = (dataset: string, root: string, target: string): string => target + dataset.slice(root.length)

/**
 * Plans what makes datasets of replicas. Nothing that exists is written to, but for what an earlier call began: marks are
 * taken off when all is received, that of the root last, so that a child without one is either received or not ours.
 */
export const planRecovery = ({
  existing,
  modeOf,
  target,
  ...asked
}: Asked & {
  readonly target: string
  readonly modeOf: (dataset: string) => SendMode
  /** What there is at the target and below it, by name. */
  readonly existing: ReadonlyMap<string, Existing>
}): Either.Either<RecoveryPlan, RecoverRefusal> =>
  Either.gen(function* () {
    const { replicas } = asked
    const root = replicas[0]?.name ?? ""
    const refuse = (reason: RecoverRefusal["reason"], message: string) =>
      Either.left(new RecoverRefusal({ reason, message }))
    const chosen = yield* chooseSnapshots(asked)
    const needed = new Set([...chosen.keys()].flatMap((name) => [...ancestorsOf(name), name]))
    const items = replicas.flatMap((source): ReadonlyArray<RecoveryItem> => {
      if (!needed.has(source.name)) return []
      const asked = chosen.get(source.name)
      const place = copyName(source.name, root, target)
      const there = existing.get(place)
      const received = there !== undefined && (there.mark === undefined || there.mark === "received")
      const shared =
        received && asked && cutAfter(source, asked).snapshots.findLast(({ guid }) => there.guids.has(guid))
      return [{ source, target: place, mode: modeOf(source.name), to: shared || asked, received }]
    })
    const wrong = items.find((item) => datasetProblem(item.target) !== undefined)?.target
    if (wrong !== undefined) return yield* refuse("Impossible", `${JSON.stringify(wrong)} ${datasetProblem(wrong)}`)
    const planned = new Map(items.map((item) => [item.target, item]))
    const bare = planned.get(target)?.to === undefined
    for (const [name, { guids, mark }] of existing) {
      const item = planned.get(name)
      const { to } = item ?? {}
      const begun = to === undefined || mark === "recover" || mark === "received"
      const ours = begun || (mark === undefined && guids.has(to.guid))
      if (item !== undefined && ours && (mark !== undefined || name !== target)) continue
      // A root that is only a parent has the mark of any parent of ours: then nothing else may lie below it.
      if (item === undefined && !bare) continue
      const advice = `give another name, or rename that one (zfs rename '${name}' '${name}-old')`
      return yield* refuse("Exists", `${name} exists already, and nothing is written over: ${advice}`)
    }
    const leftOut = replicas.flatMap(({ name, snapshots }) => {
      const [oldest] = snapshots
      if (needed.has(name)) return []
      return [
        {
          dataset: name,
          reason: oldest === undefined ? "it has no snapshot" : `its first snapshot is ${oldest.name}, which is later`
        }
      ]
    })
    return { items, leftOut }
  })

/** The dataset as if its last snapshot was `to`. */
export const cutAfter = (source: SourceDataset, to: Snapshot): SourceDataset => ({
  ...source,
  snapshots: source.snapshots.filter(({ createtxg }) => createtxg <= to.createtxg),
  bookmarks: source.bookmarks.filter(({ createtxg }) => createtxg <= to.createtxg)
})

/** Why --key cannot be used: its value is logged, and may become a property, so that it holds no secret. */
export const keyProblem = (key: string): string | undefined =>
  !/^(prompt$|file:\/\/\/.|https?:\/\/[^/])/.test(key)
    ? "--key: expected file:///path, https://host/path or prompt"
    : /^https?:\/\/([^/?#]*@|.*\?)/.test(key)
      ? "--key: an address with a user, a password or a query would be shown in logs; give one without, or a file"
      : undefined

/** Arguments of zfs. */
export type ZfsArguments = ReadonlyArray<string>

/**
 * What makes of a dataset that was received one like the original. `received`: properties that came to the replica with streams.
 * canmount, which is off for the time of the transfer, comes last: zfs of 2.2 and later mounts what gets a mountpoint.
 */
export const settingsFor = (
  { source: { kind }, target }: RecoveryItem,
  received: ReadonlyMap<string, string>
): ReadonlyArray<ZfsArguments> => {
  const canmount = received.get("canmount")
  const assignments = [...received].flatMap(([name, value]) => (notToSet.test(name) ? [] : [`${name}=${value}`]))
  return [
    ...(assignments.length === 0 ? [] : [["set", ...assignments, target]]),
    ...(kind !== "filesystem"
      ? []
      : [canmount === undefined ? ["inherit", "-S", "canmount", target] : ["set", `canmount=${canmount}`, target]])
  ]
}

/** Not to be set with the others: a stream brings them, or they are marks of ours, or it is for the end. */
const notToSet = /^(zipper:.*|encryption|key.*|pbkdf2.*|volsize|canmount)$/

/** An encrypted dataset that came with a key of its own. */
interface KeyItem {
  readonly source: string
  readonly target: string
  /** At the original, the key of the parent opened it: that is the wrapping of both. */
  readonly joins: boolean
}

/** A raw stream makes every dataset a root of its own; those are joined that had one passphrase. */
export const keysOf = (items: ReadonlyArray<RecoveryItem>): ReadonlyArray<KeyItem> => {
  const encrypted = items.filter(
    ({ mode, source, to }) => mode === "raw" && source.key !== undefined && to !== undefined
  )
  const salts = new Map(encrypted.map(({ source, target }) => [target, source.key?.salt]))
  return encrypted.map(({ source, target }) => {
    const above = parentOf(target) ?? ""
    return { source: source.name, target, joins: alike(salts.get(above), source.key?.salt) === true }
  })
}

/** The commands for what is still locked. `joined`: it has no key of its own any more. */
export const unlocking = ({ joins, target }: KeyItem): ReadonlyArray<ZfsArguments> => [
  ["load-key", target],
  ...(joins ? [["change-key", "-i", target]] : [])
]
