import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { sumAll } from "effect/Number"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { Lock } from "../runs/Lock.ts"
import { asPreflight, PreflightError, retryTransient, waitForLock } from "../runs/Run.ts"
import { countField, document, flag, instant, optional, seconds, secondsOf, text } from "../text/Document.ts"
import { bytes, count, duration, firstNames } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import { permissionsOf } from "../zfs/Allow.ts"
import { modeProperty, placeholderProperty, type SendMode, type Snapshot } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin, parentOf, poolOf } from "../zfs/DatasetName.ts"
import { onEnd } from "../zfs/Endpoint.ts"
import { commandText } from "../zfs/ZfsCommand.ts"
import { Receiver } from "./Receiver.ts"
import { type PropertyOf, RecoveredEnd, ReplicaEnd } from "./RecoverEnd.ts"
import {
  copyName,
  cutAfter,
  keysOf,
  planRecovery,
  RecoverRefusal,
  type RecoveryItem,
  recoveryProperty,
  settingsFor,
  unlocking,
  type ZfsArguments
} from "./RecoverPlan.ts"
import { replicateDataset } from "./ReplicateDataset.ts"
import { Sender } from "./Sender.ts"
import { failPreflight, missingOn, poolMissing } from "./Survey.ts"
import { Transfer } from "./Transfer.ts"

export interface RecoverRequest {
  /** Its name at the source. */
  readonly dataset: string
  readonly replica: string
  readonly target: string
  readonly at: string | undefined
  /** What `zfs load-key -L` takes, and for `prompt` the passphrase. */
  readonly key: { readonly location: string; readonly input: Redacted.Redacted | undefined } | undefined
  /** Both ends are one machine: a key file that the replica names is there. */
  readonly sameHost: boolean
  readonly run: string
  readonly retries: number
  readonly lockfile: string
  readonly lockWait: number
}

/**
 * Makes a working dataset of a replica and of each below it, with all snapshots up to the last that is asked for. Fails
 * with RecoverRefusal when something is there already, with PreflightError and LockError with nothing done. Other
 * failures are in the summary: what was received stays, marked, and the next call goes on with it.
 */
export const runRecover = Effect.fn("Recover.run")(
  function* (job: Job, request: RecoverRequest) {
    const { lockWait, lockfile, retries, run } = request
    yield* (yield* Lock).acquire(lockfile).pipe(waitForLock(lockWait))
    const started = yield* Clock.currentTimeMillis
    const { existing, properties, ...found } = yield* surveyRecovery(job, request)
    const plan = yield* found.plan
    const sender = yield* Sender
    for (const { dataset, reason } of plan.leftOut) yield* Effect.logWarning(`${dataset} is left out: ${reason}`)
    const link = { lost: false }
    const receive = Effect.fnUntraced(function* (item: RecoveryItem, to: NonNullable<RecoveryItem["to"]>) {
      const settings = { job: { ...job, mode: item.mode }, rollback: false, retries, link, mark }
      // The replica gets no bookmark: nothing goes on from it.
      const work = replicateDataset({ ...settings, bookmarks: () => undefined })
      const read = (name: string) => Effect.map(sender.read(name), (found) => found && cutAfter(found, to))
      const received = work({ ...item, source: cutAfter(item.source, to) }, existing.get(item.target))
      const end = item.received ? undefined : yield* Effect.provideService(received, Sender, { ...sender, read })
      const { bytes = 0, error = yield* checkEnd(item, to) } = { bytes: 0, error: undefined, ...end }
      return { bytes, error, result: end?.result === "refused" ? ("refused" as const) : ("failed" as const) }
    })
    const namesOf = (replica: string) => ({
      dataset: copyName(replica, request.replica, request.dataset),
      replica,
      target: copyName(replica, request.replica, request.target)
    })
    const results = new Map<string, RecoverDataset>()
    for (const item of plan.items) {
      const { source, target, to } = item
      const fallen = ancestorsOf(target).find((above) => results.get(above)?.error !== undefined)
      const end = to === undefined || fallen !== undefined ? undefined : yield* receive(item, to)
      const error = fallen === undefined ? end?.error : `not tried: its parent ${fallen} failed`
      results.set(target, {
        ...namesOf(source.name),
        result: error === undefined ? (to === undefined ? "made" : "recovered") : (end?.result ?? "failed"),
        ...(to === undefined ? {} : { snapshot: to.name, guid: to.guid }),
        bytes: end?.bytes ?? 0,
        ...(error === undefined ? {} : { error })
      })
    }
    const leftOut = plan.leftOut.map(({ dataset, reason }): RecoverDataset => {
      return { ...namesOf(dataset), result: "left_out", bytes: 0, error: reason }
    })
    const all = [...results.values()]
    const lost = ({ result, target }: RecoverDataset) =>
      result === "made" && !all.some((each) => each.result === "recovered" && isWithin(each.target, target))
    const datasets = [...all.map((each) => (lost(each) ? { ...each, ...notMade } : each)), ...leftOut]
    const [failed = 0, refused = 0] = (["failed", "refused"] as const).map(
      (wanted) => datasets.filter(({ result }) => result === wanted).length
    )
    const complete = failed + refused > 0 ? [] : plan.items
    const { todo, troubles } = yield* finish(complete, request, properties).pipe(
      Effect.catchAll(({ message }) => Effect.as(Effect.logError(message), { todo: [], troubles: 1 }))
    )
    yield* logAdvice(job, request, complete, properties)
    const { dryRun = false, label } = yield* RecoveredEnd
    const summary: RecoverDocument = {
      version: 1,
      dry_run: dryRun,
      job: job.name,
      run,
      started_at_utc: utcSeconds(started),
      seconds: secondsOf((yield* Clock.currentTimeMillis) - started),
      host: label,
      target: request.target,
      failed: failed + troubles,
      refused,
      bytes: sumAll(datasets.map(({ bytes }) => bytes)),
      datasets,
      todo
    }
    if (failed + refused > 0) {
      yield* Effect.logWarning("what was received stays, with our mark: the same command goes on there")
    }
    yield* Effect.logInfo(recoverTotals(summary))
    return summary
  },
  Effect.scoped,
  Effect.onInterrupt(() => Effect.logError("stopped by a signal: what was received stays; the same command goes on"))
)

const mark = recoveryProperty
const notMade = { result: "failed", error: "nothing below it was received" } as const

const surveyRecovery = Effect.fn("Recover.survey")(function* (job: Job, request: RecoverRequest) {
  const { at, dataset, replica, retries, target } = request
  const retry = retryTransient(retries)
  const [sender, receiver] = [yield* Sender, yield* Receiver]
  const accounts = [yield* retry(sender.account), yield* retry(receiver.account)] as const
  const { datasets: replicas } = yield* retry(sender.tree([replica]))
  const [root] = replicas
  if (root === undefined) {
    const message = `there is no replica of ${dataset} on ${sender.label}: nothing is at ${replica}`
    return yield* new PreflightError({ message })
  }
  const parent = parentOf(target) ?? target
  if ((yield* retry(receiver.read(parent))) === undefined) {
    const isPool = (yield* retry(receiver.read(poolOf(target)))) !== undefined
    const message = `on ${receiver.label}: there is no dataset ${parent} to put it into: ${commandText(["create", "-p", parent])}`
    return yield* new PreflightError({ message: isPool ? message : poolMissing(receiver.label, poolOf(target)) })
  }
  if (isWithin(target, replica) && (yield* retry(receiver.read(replica)))?.guid === root.guid) {
    return yield* new PreflightError({ message: `${target} would lie inside of the replica ${replica}` })
  }
  const found = yield* retry(receiver.tree([target]))
  yield* failPreflight([
    ...(yield* missingOn(sender, accounts[0], permissionsOf("send"), [{ dataset: replica, where: "both" }])),
    ...(yield* missingOn(receiver, accounts[1], permissionsOf("receive"), [
      found.has(target) ? { dataset: target, where: "here" } : { dataset: parent, where: "both" }
    ]))
  ])
  yield* retry((yield* Transfer).tools)
  const properties = yield* retry((yield* ReplicaEnd).properties(replica))
  const marks = yield* retry((yield* RecoveredEnd).properties(target))
  const has = (name: string, mark: string) => marks.get(name)?.local(mark) !== undefined
  // A dataset is received with canmount=off.
  const markOf = (name: string) =>
    has(name, recoveryProperty)
      ? (marks.get(name)?.value("canmount") ?? "off") === "off"
        ? "recover"
        : "received"
      : has(name, placeholderProperty)
        ? "placeholder"
        : undefined
  const where = onEnd((yield* RecoveredEnd).label)
  const planned = planRecovery({
    at,
    replicas,
    target,
    now: yield* Clock.currentTimeMillis,
    modeOf: (name) => modeIn(properties.get(name)) ?? job.mode,
    existing: new Map(
      Array.from(found, ([name, { snapshots }]) => [name, { mark: markOf(name), guids: guidsOf(snapshots) }])
    )
  })
  // Else it is found to be missing when hours of streams are through.
  const [, file] = /^file:\/\/(.*)/.exec(request.key?.location ?? "") ?? []
  if (file !== undefined && (yield* retry((yield* RecoveredEnd).isFree(file)))) {
    return yield* new PreflightError({ message: `on ${receiver.label}: there is no file ${file} for --key` })
  }
  const plan = Either.mapLeft(planned, ({ message, reason }) => {
    const shown = reason === "Exists" ? `${where}${message}` : message
    return new RecoverRefusal({ reason, message: shown })
  })
  return { existing: found, plan, properties }
}, asPreflight)

const modeIn = (of: PropertyOf | undefined): SendMode | undefined => {
  const value = of?.local(modeProperty)
  return value === "raw" || value === "plain" ? value : undefined
}

const guidsOf = (snapshots: ReadonlyArray<Snapshot>) => new Set(snapshots.map(({ guid }) => guid))

/** Why the target does not end where it was asked to, but for snapshots of its own; undefined when it does. */
const checkEnd = Effect.fnUntraced(
  function* ({ source, target }: RecoveryItem, { guid, name }: Snapshot) {
    const replica = guidsOf(source.snapshots)
    const newest = (yield* (yield* Receiver).read(target))?.snapshots.findLast((each) => replica.has(each.guid))
    return newest?.guid === guid
      ? undefined
      : `${target} ends at @${newest?.name} (guid ${newest?.guid}) and not at @${name} (guid ${guid}): an earlier call went further, or another program is at work on it`
  },
  Effect.catchAll(({ message }) => Effect.succeed(message))
)

/**
 * Why a folder is not to be the mountpoint of `dataset`. Another one may be mounted there now, or at the next boot, and one
 * of the two would lie over the other.
 */
const mountpointsInUse = Effect.fnUntraced(function* (target: string) {
  const end = yield* RecoveredEnd
  const listed = yield* Effect.orElseSucceed(end.mountpoints, () => undefined)
  const others = [...(listed ?? [])].filter(([name]) => !isWithin(name, target))
  const owners = new Map(others.map(([name, folder]) => [folder, name]))
  const refused: Array<string> = []
  const look = Effect.fnUntraced(function* (folder: string) {
    const owner = owners.get(folder)
    if (owner !== undefined) return `is that of ${owner}`
    const above = refused.find((each) => folder.startsWith(`${each}/`))
    if (above !== undefined) return `lies in ${above}, which is in use`
    if (listed === undefined) return "may be that of another dataset"
    return (yield* Effect.orElseSucceed(end.isFree(folder), () => false)) ? undefined : "is not empty"
  })
  return (folder: string, dataset: string) =>
    Effect.tap(look(folder), (reason) => {
      if (reason === undefined) owners.set(folder, dataset)
      else refused.push(folder)
    })
})

/**
 * Makes of what was received datasets that are used: properties, keys, mounts; then takes off the marks, that of the root last
 * and only where nothing failed: the next call tries again. What cannot be done is logged as a command, and given back.
 */
const finish = Effect.fn("Recover.finish")(function* (
  items: ReadonlyArray<RecoveryItem>,
  request: RecoverRequest,
  properties: ReadonlyMap<string, PropertyOf>
) {
  const end = yield* RecoveredEnd
  const { dryRun = false } = end
  const todo: Array<string> = []
  let troubles = 0
  const later = (why: string, ...commands: ReadonlyArray<ZfsArguments>) =>
    Effect.forEach(commands, (args) => {
      todo.push(commandText(args))
      return Effect.logWarning(`${why}; on ${end.label}: ${commandText(args)}`)
    })
  const attempt = (what: string, args: ZfsArguments, input?: Redacted.Redacted) =>
    end.change(what, args, input).pipe(
      Effect.as(true),
      Effect.catchAll(({ message }) => {
        troubles += 1
        return Effect.as(later(message, args), false)
      })
    )
  if (items.length === 0) return { todo, troubles }
  const before = yield* end.properties(request.target)
  const inUse = yield* mountpointsInUse(request.target)
  for (const item of items) {
    const { source, target } = item
    const received = new Map(properties.get(source.name)?.received)
    const folder = received.get("mountpoint") ?? ""
    const isSet = !folder.startsWith("/") || before.get(target)?.value("mountpoint") === folder
    const reason = isSet ? undefined : yield* inUse(folder, target)
    if (reason !== undefined) {
      received.delete("mountpoint")
      const why = `${target} does not get the mountpoint of its original, since ${folder} ${reason}; to set it later`
      yield* later(why, ["set", `mountpoint=${folder}`, target])
    }
    for (const args of settingsFor(item, received)) yield* attempt(`set properties of ${target}`, args)
  }
  const opened = new Map<string, string | undefined>()
  for (const key of keysOf(items)) {
    const { joins, source, target } = key
    const now = before.get(target)
    if (now !== undefined && now.value("encryptionroot") !== target) continue
    const known = properties.get(source)?.value("keylocation")
    const file = request.sameHost && known?.startsWith("file://") ? { location: known, input: undefined } : undefined
    const { input, location } = request.key ?? file ?? {}
    const load = ["load-key", ...(location === undefined ? [] : ["-L", location]), target]
    const isOpen =
      now?.value("keystatus") === "available" ||
      (location !== undefined && (yield* attempt(`load the key of ${target}`, load, input)))
    if (!isOpen) {
      yield* later(`the key of ${target} is not loaded`, ...unlocking(key).slice(location === undefined ? 0 : 1))
      continue
    }
    opened.set(target, location)
    if (joins && opened.has(parentOf(target) ?? "")) yield* attempt(`join ${target}`, ["change-key", "-i", target])
    else if (location !== undefined && location !== "prompt") {
      yield* attempt(`set the key location of ${target}`, ["set", `keylocation=${location}`, target])
    }
  }
  const now = yield* end.properties(request.target)
  const { root } = yield* end.account
  const unmounted = new Set<string>()
  for (const { target } of items.filter(({ source }) => source.kind === "filesystem")) {
    const of = now.get(target)
    const folder = of?.value("mountpoint") ?? ""
    const isWanted = of?.value("canmount") === "on" && folder.startsWith("/") && of.value("mounted") === "no"
    if (!dryRun && !isWanted) continue
    const why = unmounted.has(parentOf(target) ?? "")
      ? "its parent is not mounted yet"
      : !root
        ? "only root can mount"
        : dryRun || of?.value("keystatus") !== "unavailable"
          ? undefined
          : "its key is not loaded"
    const mount = ["mount", target]
    const isFree = dryRun || why !== undefined || (yield* Effect.orElseSucceed(end.isFree(folder), () => false))
    const reason = isFree ? why : `${folder} is not empty`
    if (reason !== undefined) yield* later(`${target} is not mounted: ${reason}`, mount)
    if (reason !== undefined || !(yield* attempt(`mount ${target}`, mount))) unmounted.add(target)
  }
  for (const { target, to } of items.toReversed()) {
    const unmark = ["inherit", to === undefined ? placeholderProperty : recoveryProperty, target]
    if (target !== request.target || troubles === 0) yield* attempt(`take the mark off ${target}`, unmark)
    else yield* later(`${target} keeps its mark: the same command tries again, or, when all is done by hand`, unmark)
  }
  return { todo, troubles }
})

/** What a person has to know that no command shows. */
const logAdvice = Effect.fnUntraced(function* (
  job: Job,
  { at, dataset, target }: RecoverRequest,
  items: ReadonlyArray<RecoveryItem>,
  properties: ReadonlyMap<string, PropertyOf>
) {
  const { label } = yield* RecoveredEnd
  const bare = items.filter(({ source: { name } }) => properties.get(name)?.received.size === 0)
  if (bare[0] !== undefined) {
    const folder = bare[0].source.kind === "volume" ? [] : ["mountpoint=/mnt/data"]
    const set = commandText(["set", ...folder, "compression=zstd", bare[0].target])
    const which = bare.length === items.length ? "" : ` to ${firstNames(bare.map((item) => item.target))}`
    yield* Effect.logInfo(
      `the streams bring no properties${which}: what the original had set is not known, and ${bare[0].target} has what it inherits and the defaults; to change that, on ${label}, for instance: ${set}`
    )
  }
  const newer = items.filter(({ source, to }) => to !== undefined && source.snapshots.at(-1)?.guid !== to.guid)
  // No run sends a dataset of another name.
  if (at === undefined || newer[0] === undefined || target !== dataset) return
  yield* Effect.logWarning(
    `${count(newer.length, "replica")} (the first is ${newer[0].source.name}) have snapshots later than what was recovered: a run of the job ${job.name} that sends ${target} would be refused (status 4); rename the replica before, and that run starts a new one`
  )
})

const RecoverDataset = Schema.Struct({
  dataset: text("its name at the source"),
  replica: text("what it was recovered of"),
  target: text("what was made of it"),
  result: Schema.Literal("recovered", "made", "left_out", "refused", "failed"),
  snapshot: optional(text("the last one that came along, name after the @")),
  guid: optional(text("guid of that snapshot, compared with that of the replica")),
  bytes: countField("sent"),
  error: optional(text("why it failed or was left out"))
})
type RecoverDataset = typeof RecoverDataset.Type

export const RecoverDocument = document({
  dry_run: flag("nothing was changed: the results are those that a run would have"),
  job: text("name of the job that the replica is of"),
  run: text("id of the run, as in the log"),
  started_at_utc: instant("when it began"),
  seconds: seconds("time it took"),
  host: text("the machine of the target: this host, or another"),
  target: text("what was asked for"),
  refused: countField("datasets left alone so that nothing is destroyed; above 0 the exit status is 4"),
  failed: countField("datasets that failed, and steps at the end that did; above 0 the exit status is 1"),
  bytes: countField("sent"),
  datasets: Schema.Array(RecoverDataset),
  todo: Schema.Array(text("a command for that machine, in order: what could not be done"))
})
export type RecoverDocument = typeof RecoverDocument.Type

/** The last line: `2 recovered to tank/data, 0 failed; 1.2 GiB, 12 s`. */
const recoverTotals = ({ bytes: sent, datasets, dry_run, failed, refused, seconds, target }: RecoverDocument) => {
  const done = datasets.filter(({ result }) => result === "recovered" || result === "made").length
  const none = refused === 0 ? "" : `, ${refused} refused`
  const end = `${bytes(sent)}, ${duration(seconds * 1000)}`
  return `${done} ${dry_run ? "would be recovered" : "recovered"} to ${target}${none}, ${failed} failed; ${end}`
}
