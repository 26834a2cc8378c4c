import { createHash } from "node:crypto"
import { hostname } from "node:os"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { type FolderName, parseFolderName } from "../source/FolderName.ts"
import { isLasting, type Mount } from "../system/MountTable.ts"
import { Process } from "../system/Process.ts"
import { countField, instant, optional, orNull, text } from "../text/Document.ts"
import * as RawPath from "../text/RawPath.ts"
import { count } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import { readAccount, readAllowed } from "./Account.ts"
import { allowCommand, missing, parseAllow, permissionsOf } from "./Allow.ts"
import { byCreatetxg, type Snapshot } from "./Dataset.ts"
import { isWithin, poolOf } from "./DatasetName.ts"
import { local } from "./Endpoint.ts"
import type { JobIds } from "./JobIdentity.ts"
import { applyRetention, type Retention } from "./Retention.ts"
import {
  decodeMark,
  destroy,
  listMarked,
  type MarkedSnapshot,
  type OpenZfs,
  obstacle,
  parseName,
  targetProperty,
  type ZfsSettings
} from "./SnapshotPrune.ts"
import {
  findHome,
  type Home,
  listAround,
  mountedIn,
  notMountedReason,
  type Runner,
  readMounts,
  realPath,
  root
} from "./SourceLayout.ts"
import { markOf, takeMarked } from "./Zfs.ts"
import { makeCommands, userName, ZfsError } from "./ZfsCommand.ts"
import type { ListedFileSystem } from "./ZfsList.ts"
import { shortName } from "./ZfsList.ts"

/**
 * Snapshots of the target: the history beyond two generations. One is taken, of the target's dataset and of those
 * mounted at its folders together, when the archives are not those of the newest one (its mark says which they were).
 * So a run makes up for one that failed or was killed, and the same bytes published again are nothing new. Property
 * and name differ from those of the source's snapshots: in one dataset, each prune takes its own.
 */
export class TargetSnapshots extends Context.Tag("zipper/TargetSnapshots")<
  TargetSnapshots,
  {
    /** Fails where none can be taken or destroyed; undefined where the configuration wants none. */
    readonly probe: Effect.Effect<TargetPlan | undefined, ZfsError>
    /** Takes a snapshot unless the newest one has these archives, thins the others out; the result has what failed. */
    readonly update: (job: JobIds | undefined, archives: Archives) => Effect.Effect<TargetUpdate | undefined>
  }
>() {
  static readonly layer = (settings: TargetSettings): Layer.Layer<TargetSnapshots, never, Process> =>
    layerOn(settings, change)

  /** Takes and destroys nothing, and logs what a run would do. */
  static readonly layerDryRun = (settings: TargetSettings): Layer.Layer<TargetSnapshots, never, Process> =>
    layerOn(settings, pretend)

  static readonly layerNone: Layer.Layer<TargetSnapshots> = Layer.succeed(TargetSnapshots, {
    probe: Effect.succeed(undefined),
    update: () => Effect.succeed(undefined)
  })
}

/** SHA-256 of the current archive of each folder. */
type Archives = ReadonlyMap<string, string>

interface TargetSettings extends ZfsSettings {
  readonly target: string
  readonly retention: Retention
}

/** What `check` shows. */
interface TargetPlan {
  readonly datasets: ReadonlyArray<string>
  readonly history: TargetHistory
  /** How many of these the retention keeps. */
  readonly kept: number
}

const figures = {
  count: countField("snapshots of the target that this job has taken and kept"),
  oldest_utc: orNull(instant("when the oldest of them was taken")),
  newest_utc: orNull(instant("when the newest was taken")),
  error: optional(text("why none could be taken, or an old one not destroyed"))
}

/** How far back the history of a target goes. */
export const TargetHistory = Schema.Struct(figures)
export type TargetHistory = typeof TargetHistory.Type

export const TargetUpdate = Schema.Struct({
  taken: orNull(text("the snapshot of the target that the run took; null when no archive changed, and in a dry run")),
  destroyed: countField("older ones that the retention did not keep"),
  ...figures
})
export type TargetUpdate = typeof TargetUpdate.Type

/** One snapshot of the target: those of its datasets that have one name. */
interface TargetSnapshot extends Snapshot {
  readonly archives: string
  readonly members: ReadonlyArray<MarkedSnapshot>
}

interface Found {
  readonly openZfs: OpenZfs
  readonly retention: Retention
  readonly datasets: ReadonlyArray<string>
  readonly ids: JobIds
  readonly found: ReadonlyArray<TargetSnapshot>
}

/** `due`: what the new snapshot is marked with; undefined when none is due. */
type Apply = (found: Found, due: string | undefined) => Effect.Effect<TargetUpdate, ZfsError>

const layerOn = ({ retention, target, ...given }: TargetSettings, apply: Apply) =>
  Layer.effect(
    TargetSnapshots,
    Effect.map(Process, (process): typeof TargetSnapshots.Service => {
      const settings = { ...given, target, hostname: given.hostname ?? hostname() }
      const openZfs: OpenZfs = { process, commands: makeCommands(process, local, { role: "target" }), settings }
      return {
        probe: Effect.gen(function* () {
          const layout = yield* readTarget(openZfs, target)
          // What is wrong with a target that is not there, the store says.
          if (layout === undefined) return undefined
          const datasets = yield* usableDatasets(layout)
          yield* requireRights(openZfs, datasets)
          const found = yield* takenBefore(openZfs, datasets, undefined)
          const { keep } = yield* choose(found, retention)
          return { datasets, history: historyOf(found), kept: keep.length }
        }).pipe(Effect.withSpan("TargetSnapshots.probe")),
        update: Effect.fn("TargetSnapshots.update")(
          function* (job: JobIds | undefined, archives: Archives) {
            const layout = yield* readTarget(openZfs, target)
            if (layout === undefined) return undefined
            const datasets = yield* usableDatasets(layout)
            const ids = job ?? { id: settings.jobId, former: [] }
            const found = yield* takenBefore(openZfs, datasets, ids)
            const digest = digestOf(archives)
            const isDue = archives.size > 0 && found.at(-1)?.archives !== digest
            return yield* apply({ openZfs, retention, datasets, ids, found }, isDue ? digest : undefined)
          },
          Effect.catchAll(({ message }) =>
            Effect.succeed({ taken: null, destroyed: 0, ...historyOf([]), error: message })
          )
        )
      }
    })
  )

const prefixOf = ({ settings }: OpenZfs): string => `${settings.prefix}-target`

const digestOf = (archives: Archives): string =>
  createHash("sha256")
    .update(JSON.stringify([...archives].sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest("hex")
    .slice(0, 16)

const change: Apply = Effect.fnUntraced(function* ({ datasets, found: before, ids, openZfs, retention }, due) {
  const taken =
    due === undefined
      ? undefined
      : yield* markOf(openZfs, ids, due).pipe(
          Effect.flatMap((mark) => takeMarked(openZfs, prefixOf(openZfs), datasets, [targetProperty, mark])),
          Effect.either
        )
  const ref = taken !== undefined && Either.isRight(taken) ? taken.right : undefined
  // Where none could be taken, the old ones are thinned out all the same.
  const found = ref === undefined ? before : yield* takenBefore(openZfs, datasets, ids)
  const { destroy: old, keep } = yield* choose(found, retention)
  for (const { reasons, snapshot } of keep) {
    if (!reasons.every((reason) => reason === "held" || reason === "cloned")) continue
    const why = snapshot.members.flatMap((member) => obstacle(member) ?? [])
    yield* Effect.logWarning(`snapshot ${snapshot.members[0]?.name} was not destroyed: ${why[0]}`)
  }
  const failed: Array<string> = []
  const gone = yield* Effect.filter(old, (snapshot) =>
    Effect.map(
      Effect.forEach(snapshot.members, (member) => destroyMember(openZfs, member, failed)),
      (outcomes) => outcomes.every((isGone) => isGone)
    )
  )
  const error = taken !== undefined && Either.isLeft(taken) ? taken.left.message : failed[0]
  const history = historyOf(found.filter((snapshot) => !gone.includes(snapshot)))
  if (ref !== undefined || gone.length > 0) {
    const what = ref === undefined ? "no new one" : `took ${datasets[0]}@${ref.name}`
    const without = gone.length === 0 ? "" : `, ${count(gone.length, "older one")} destroyed`
    yield* Effect.logInfo(`snapshots of the target: ${what}${without}; ${history.count} kept`)
  }
  const update = { taken: ref?.name ?? null, destroyed: gone.length, ...history }
  return error === undefined ? update : { ...update, error }
})

/** Whether it is gone. One that is read now, held or cloned is left to the next run; `failed` gets other failures. */
const destroyMember = (openZfs: OpenZfs, { guid, name }: MarkedSnapshot, failed: Array<string>) =>
  destroy(openZfs.commands, name, guid, { spareNeeded: true }).pipe(
    Effect.as(true),
    Effect.catchAll(({ message, reason }) => {
      const passes = reason === "Busy" || /it is held|it has clones/.test(message)
      if (passes) return Effect.as(Effect.logWarning(`${message}; the next run will try again`), false)
      failed.push(message)
      return Effect.succeed(false)
    })
  )

const pretend: Apply = Effect.fnUntraced(function* ({ datasets, found, retention }, due) {
  const newest = found.at(-1)
  const creation = Math.floor((yield* Clock.currentTimeMillis) / 1000)
  const next = newest && { ...newest, createtxg: newest.createtxg + 1n, creation, members: [] }
  if (due !== undefined) yield* Effect.logInfo(`would take a snapshot of ${datasets.join(", ")}`)
  const { destroy: old } = yield* choose(due === undefined || next === undefined ? found : [...found, next], retention)
  for (const { name } of old.flatMap(({ members }) => members)) {
    yield* Effect.logInfo(`would destroy the snapshot ${name}`)
  }
  return { taken: null, destroyed: 0, ...historyOf(found) }
})

const choose = (found: ReadonlyArray<TargetSnapshot>, retention: Retention) =>
  Effect.mapError(
    applyRetention(found, retention, { newestCommon: new Set() }),
    (message) => new ZfsError({ reason: "Other", message, transient: false })
  )

const historyOf = (found: ReadonlyArray<TargetSnapshot>): TargetHistory => {
  const [oldest, newest] = [Math.min, Math.max].map((end) =>
    found.length === 0 ? null : utcSeconds(1000 * end(...found.map(({ creation }) => creation)))
  )
  return { count: found.length, oldest_utc: oldest ?? null, newest_utc: newest ?? null }
}

/** Name of the form that {@link takeMarked} gives here, under any prefix: it may have been another one. */
const anyPrefix = (name: string): string => name.replace(/-\d+$/, "")

/** Snapshots of the target with our mark, oldest first; of all jobs where `job` is left out. */
export const takenBefore = Effect.fnUntraced(function* (
  { commands }: Pick<Runner, "commands">,
  datasets: ReadonlyArray<string>,
  job: JobIds | undefined
) {
  const marked = yield* listMarked(commands, targetProperty, anyPrefix, datasets)
  return groupByName(marked, job === undefined ? undefined : new Set([job.id, ...job.former]))
})

/** Those of one name are one snapshot, which is held or cloned when one of them is. */
export const groupByName = (
  marked: ReadonlyArray<MarkedSnapshot>,
  jobs: ReadonlySet<string> | undefined
): ReadonlyArray<TargetSnapshot> => {
  const found = new Map<string, TargetSnapshot>()
  for (const member of marked) {
    const mark = decodeMark(member.mark ?? "")
    const name = shortName(member.name)
    if (mark === undefined || jobs?.has(mark.job) === false) continue
    if (!anyPrefix(name).endsWith("-target") || parseName(anyPrefix(name), name) === undefined) continue
    const known = found.get(name)
    found.set(name, {
      ...(known ?? member),
      name,
      archives: known?.archives ?? mark.layout,
      holds: (known?.holds ?? 0) + member.holds,
      clones: [...(known?.clones ?? []), ...member.clones],
      members: [...(known?.members ?? []), member]
    })
  }
  return [...found.values()].sort(byCreatetxg)
}

/** The target's dataset, and what is mounted at its folders, or should be. */
interface TargetLayout extends Home {
  readonly path: RawPath.RawPath
  readonly places: ReadonlyMap<FolderName, TargetPlace>
}

interface TargetPlace {
  /** Undefined for a file system of another kind. */
  readonly dataset: string | undefined
  readonly mountpoint: RawPath.RawPath
  /** Why its snapshot cannot be taken or read. */
  readonly problem: string | undefined
  /** It is there, so that archives are written to it. */
  readonly mounted: boolean
}

const remedies = {
  plain: "target_snapshots is for a target on ZFS: leave that key out, or set target_path to a folder of a dataset",
  frozen: "set target_path to the folder in the dataset itself"
}

/** Undefined when nothing is at the path. Fails when it is not on ZFS. */
export const readTarget = Effect.fnUntraced(function* (
  { commands, process }: Runner,
  target: string,
  advice = remedies
) {
  const path = yield* realPath(target)
  if (path === undefined) return undefined
  const mounts = yield* readMounts(process)
  const home = yield* findHome(mounts, path, advice)
  const places = placesIn(home.dataset, path, mounts, yield* listAround(commands, home))
  return { ...home, path, places } satisfies TargetLayout
})

export const placesIn = (
  dataset: string,
  target: RawPath.RawPath,
  mounts: ReadonlyArray<Mount>,
  datasets: ReadonlyArray<ListedFileSystem>
): ReadonlyMap<FolderName, TargetPlace> => {
  const folderAt = (path: RawPath.RawPath) =>
    parseFolderName(RawPath.toText(RawPath.relativeTo(target, path) ?? RawPath.here) ?? "")
  const places = new Map<FolderName, TargetPlace>()
  const mounted = mountedIn(mounts)
  for (const listed of datasets) {
    const folder = mounted.has(listed.name) || listed.canmount === "off" ? undefined : folderAt(listed.mountpoint)
    if (folder === undefined) continue
    const { mountpoint, name } = listed
    places.set(folder, { dataset: name, mountpoint, problem: notMountedReason(listed), mounted: false })
  }
  for (const { device, mountpoint, root: top, type } of mounts.filter(isLasting)) {
    const folder = folderAt(mountpoint)
    if (folder === undefined) continue
    const isDataset = type === "zfs" && top === root
    const isTogether = isDataset && poolOf(device) === poolOf(dataset)
    const what = isDataset
      ? `${device}, of another pool`
      : type === "zfs"
        ? `a bind mount of ${device}`
        : `a mount of ${type}`
    const problem = isTogether
      ? undefined
      : `${RawPath.display(mountpoint)} is ${what}, which no snapshot of ${dataset} holds: target_snapshots needs it unmounted, or left out itself`
    places.set(folder, { dataset: isDataset ? device : undefined, mountpoint, problem, mounted: true })
  }
  return places
}

/** What one snapshot has to cover. A dataset that is not mounted fails its folder elsewhere, and gets no archive. */
const usableDatasets = ({ dataset, places }: TargetLayout): Effect.Effect<ReadonlyArray<string>, ZfsError> => {
  const mounted = [...places.values()].filter((place) => place.mounted)
  const problem = mounted.find((place) => place.problem !== undefined)?.problem
  return problem === undefined
    ? Effect.succeed([...new Set([dataset, ...mounted.flatMap((place) => place.dataset ?? []).sort()])])
    : Effect.fail(new ZfsError({ reason: "NotZfs", message: problem, transient: false }))
}

/** Root needs none of them. */
const requireRights = Effect.fnUntraced(function* ({ commands, process }: Runner, datasets: ReadonlyArray<string>) {
  const account = yield* readAccount(process, { endpoint: local, role: "target", user: userName })
  if (account.root) return
  const wanted = permissionsOf("target")
  const lacking = yield* Effect.filter(datasets, (dataset) =>
    Effect.map(
      readAllowed(commands, dataset),
      (allowed) => missing(account, parseAllow(allowed), dataset, wanted, "here").length > 0
    )
  )
  // What is granted on a dataset counts below it too.
  const [first, ...more] = lacking.filter((each) => !lacking.some((other) => other !== each && isWithin(each, other)))
  if (first === undefined) return
  const commandsFor = [first, ...more].map((dataset) =>
    allowCommand({ user: account.user, permissions: wanted, dataset })
  )
  const message = `${account.user} may not take and destroy the snapshots of ${[first, ...more].join(", ")} that target_snapshots asks for; as root: ${commandsFor.join(" && ")}`
  return yield* new ZfsError({ reason: "PermissionDenied", message, transient: false })
})
