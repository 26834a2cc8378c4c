import * as fs from "node:fs/promises"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { type Platform, platform } from "../system/Platform.ts"
import { isRunning, type Process } from "../system/Process.ts"
import type { Role } from "./Allow.ts"
import { byCreatetxg, type Snapshot } from "./Dataset.ts"
import type { Runner, SourceInfo } from "./SourceLayout.ts"
import { at, type Commands, complaint, readOutput, ZfsError } from "./ZfsCommand.ts"
import { datasetOf, listing, readSnapshots, rows, shortName, snapshotColumns, table } from "./ZfsList.ts"

/**
 * What destroys snapshots, and what prevents that a wrong one is destroyed. All of it goes through {@link destroy}, which compares
 * the guid right before, and refuses held and cloned ones where `spareNeeded` says so:
 * - the archive job, at the source: a snapshot of ours has a name of our kind and the user property `zipper:run`, set on itself. A run
 *   destroys its own when it ends without keeping it (Zfs.snapshot), and those that {@link select} gives (Zfs.prune): of its own job,
 *   not kept by the cursor, and not of a run that may still be at work;
 * - the same job, at its target (TargetSnapshots): its own, by `zipper:target`, that a retention does not keep;
 * - replication, at a replica: what a retention does not keep (replication/Prune), and what a rollback listed (replication/Plan).
 * Zfs.snapshot alone destroys by name, what it took a moment before and could not read back.
 */

export const markProperty = "zipper:run"

/** The same for the snapshots of the target, so that neither prune takes what is the other's. */
export const targetProperty = "zipper:target"

export interface SnapshotMark {
  readonly host: string
  readonly pid: number
  /** See {@link startOf}: a later process may have the same pid. */
  readonly start: string
  readonly run: string
  readonly job: string
  readonly layout: string
  /** Where the job's archives go; marks of older versions come without. */
  readonly target?: string | undefined
}

/** The value of a property has a limit of 8 KiB: a longer path is left out. */
const longestTarget = 4000

/** `host=nas,pid=1234,start=…,run=…,job=…,layout=…,target=…`, values percent-encoded. */
export const encodeMark = ({ host, job, layout, pid, run, start, target }: SnapshotMark): string => {
  const fits = target !== undefined && encodeURIComponent(target).length <= longestTarget
  return Object.entries({ host, pid, start, run, job, layout, ...(fits ? { target } : {}) })
    .map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
    .join(",")
}

const markPattern =
  /^host=([^,=]*),pid=(\d{1,10}),start=([^,=]*),run=([^,=]*),job=([^,=]*),layout=([^,=]*)(?:,target=([^,=]*))?$/

/** Undefined when {@link encodeMark} does not make such text. */
export const decodeMark = (text: string): SnapshotMark | undefined => {
  const match = markPattern.exec(text)
  if (match === null) return undefined
  try {
    const [host = "", pid = "", start = "", run = "", job = "", layout = "", target] = match
      .slice(1)
      .filter((value) => value !== undefined)
      .map((value) => decodeURIComponent(value))
    return { host, pid: Number(pid), start, run, job, layout, ...(target === undefined ? {} : { target }) }
  } catch {
    return undefined
  }
}

/** `auto-zip-20250101120000`: prefix and time in UTC. `millis` is in milliseconds since 1970. */
export const formatName = (prefix: string, millis: number): string =>
  `${prefix}-${new Date(millis).toISOString().slice(0, 19).replace(/[-T:]/g, "")}`

/** In milliseconds since 1970; undefined unless {@link formatName} makes exactly that name. */
export const parseName = (prefix: string, name: string): number | undefined => {
  if (!name.startsWith(`${prefix}-`)) return undefined
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(name.slice(prefix.length + 1))
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  const millis = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(millis) || formatName(prefix, millis) !== name ? undefined : millis
}

export interface ZfsSettings {
  readonly prefix: string
  readonly runId: string
  readonly jobId: string
  /** Where the job's archives go: in the mark, so that another job can see whether this one still exists. */
  readonly target?: string
  readonly hostname?: string
  /** The names of the folders to archive. */
  readonly folders: RegExp
}

export interface OpenZfs extends Runner {
  readonly settings: ZfsSettings & { readonly hostname: string }
}

/** `name`: `dataset@snapshot`. `mark`: our property, where it is set on the snapshot itself. */
export interface MarkedSnapshot extends Snapshot {
  readonly mark: string | undefined
}

export interface PruneReport {
  readonly destroyed: ReadonlyArray<string>
  /** Those that could not be destroyed (held, busy, cloned), with the reason. */
  readonly spared: ReadonlyArray<{ readonly snapshot: string; readonly reason: string }>
}

export const markedSnapshots = Effect.fnUntraced(function* (openZfs: OpenZfs, source: SourceInfo) {
  // `snapshot_prefix` may have been another one.
  const { alive, snapshots } = yield* readMarked(openZfs, source, (name) => name.replace(/-\d+$/, ""))
  return snapshots.filter((snapshot) => {
    const mark = decodeMark(snapshot.mark ?? "")
    return mark !== undefined && !alive(mark, snapshot)
  })
})

export const planPrune = Effect.fnUntraced(function* (openZfs: OpenZfs, source: SourceInfo, keep: ReadonlySet<string>) {
  const { jobId, prefix } = openZfs.settings
  const { alive, snapshots } = yield* readMarked(openZfs, source, () => prefix)
  const { former, id } = source.job ?? { id: jobId, former: [] }
  return select(snapshots, { prefix, jobs: new Set([id, ...former]), keep, alive })
})

export interface PruneRules {
  readonly prefix: string
  readonly jobs: ReadonlySet<string>
  readonly keep: ReadonlySet<string>
  readonly alive: (mark: SnapshotMark, snapshot: MarkedSnapshot) => boolean
}

/** Chooses what nothing needs: ours by property and by exact name, of this job, of no run that is alive, not kept. */
export const select = (snapshots: ReadonlyArray<MarkedSnapshot>, rules: PruneRules) => {
  const destroy: Array<MarkedSnapshot> = []
  const spare: Array<PruneReport["spared"][number]> = []
  for (const snapshot of snapshots.filter((each) => isDue(each, rules)).sort(byCreatetxg)) {
    const reason = obstacle(snapshot)
    if (reason === undefined) destroy.push(snapshot)
    else spare.push({ snapshot: snapshot.name, reason })
  }
  return { destroy, spare }
}

const isDue = (snapshot: MarkedSnapshot, rules: PruneRules): boolean => {
  if (rules.keep.has(snapshot.guid) || parseName(rules.prefix, shortName(snapshot.name)) === undefined) return false
  const mark = decodeMark(snapshot.mark ?? "")
  return mark !== undefined && rules.jobs.has(mark.job) && !rules.alive(mark, snapshot)
}

export const obstacle = ({
  clones,
  holds,
  name
}: Pick<MarkedSnapshot, "clones" | "holds" | "name">): string | undefined => {
  if (holds > 0) return `it is held; zfs holds '${name}' tells by whom, zfs release lets go`
  return clones.length > 0 ? `it has clones: ${clones.join(", ")}` : undefined
}

/** How long a run on another host, whose processes cannot be seen, counts as alive. */
const foreignRunSeconds = 86_400

/** The source's snapshots with our mark and a name under `prefixOf` it, and which marks are of a run at work. */
const readMarked = Effect.fnUntraced(function* (
  { commands, process, settings }: OpenZfs,
  source: SourceInfo,
  prefixOf: (name: string) => string
) {
  const snapshots = yield* listMarked(commands, markProperty, prefixOf, source.datasets)
  const starts = new Map<number, string | undefined>()
  for (const snapshot of snapshots) {
    const mark = decodeMark(snapshot.mark ?? "")
    if (mark?.host !== settings.hostname || starts.has(mark.pid) || !isRunning(mark.pid)) continue
    starts.set(mark.pid, yield* startOf(process, mark.pid))
  }
  const now = (yield* Clock.currentTimeMillis) / 1000
  const alive: PruneRules["alive"] = ({ host, pid, start }, { creation }) =>
    host === settings.hostname
      ? starts.has(pid) && (starts.get(pid) ?? start) === start
      : Math.abs(now - creation) < foreignRunSeconds
  return { alive, snapshots }
})

export const listMarked = Effect.fnUntraced(function* (
  commands: Commands,
  property: string,
  prefixOf: (name: string) => string,
  datasets: ReadonlyArray<string>
) {
  const dataset = datasets[0] ?? ""
  const purpose = `list the snapshots of ${dataset}`
  // An inherited or received property does not count.
  const got = yield* commands.run(purpose, dataset, [
    ...["get", "-H", "-p", "-s", "local", "-d", "1", "-t", "snapshot", "-o", "name,value", property],
    ...datasets
  ])
  const isNamed = (name: string) => parseName(prefixOf(name), name) !== undefined
  const marks = new Map<string, string>()
  for (const [name = "", value = ""] of rows(got)) if (isNamed(shortName(name))) marks.set(name, value)
  if (marks.size === 0) return []
  // One that another process has just destroyed makes the exit status 1; the rest is listed all the same.
  const listed = yield* commands.attempt(listing("snapshot", snapshotColumns, marks.keys()))
  if (listed.exitCode !== 0 && !/does not exist/.test(complaint(listed))) {
    return yield* commands.failure(purpose, dataset, listed)
  }
  const found = yield* readOutput(commands, purpose, readSnapshots(listed.stdout))
  return [...found].flatMap(([of, { snapshots }]) =>
    snapshots.map((snapshot): MarkedSnapshot => {
      const name = `${of}@${snapshot.name}`
      return { ...snapshot, name, mark: marks.get(name) }
    })
  )
})

/** When a process started, as its system prints it; undefined without such a process, or when that is unknown. */
export const startOf = (
  runner: typeof Process.Service,
  pid: number,
  { startInProc }: Pick<Platform, "startInProc"> = platform
): Effect.Effect<string | undefined> =>
  startInProc
    ? Effect.promise(() => startFromProc(pid))
    : runner.run({ program: "ps", args: ["-o", "lstart=", "-p", String(pid)], env: { TZ: "UTC" } }).pipe(
        Effect.map(({ stdout }) => stdout.trim().replace(/\s+/g, " ") || undefined),
        Effect.orElseSucceed(() => undefined)
      )

const startFromProc = async (pid: number): Promise<string | undefined> => {
  try {
    const stat = await fs.readFile(`/proc/${pid}/stat`, "latin1")
    const boot = await fs.readFile("/proc/sys/kernel/random/boot_id", "latin1")
    // The name, second, may hold spaces and parentheses; the start is field 22.
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
    return ticks === undefined ? undefined : `${ticks}@${boot.slice(0, 8)}`
  } catch {
    return undefined
  }
}

export const destroyAll = Effect.fnUntraced(function* (commands: Commands, plan: ReturnType<typeof select>) {
  const destroyed: Array<string> = []
  const spared = [...plan.spare]
  for (const { guid, name } of plan.destroy) {
    const outcome = yield* Effect.either(destroy(commands, name, guid))
    if (outcome._tag === "Right") destroyed.push(name)
    else spared.push({ snapshot: name, reason: outcome.left.message.replace(`cannot ${destroying(name)}: `, "") })
  }
  return { destroyed, spared } satisfies PruneReport
})

interface Options {
  readonly spareNeeded?: boolean
  readonly role?: Role
}

const destroying = (name: string): string => `destroy the snapshot ${name}`

/** Destroys `name` if it still has that guid; one that is gone is no failure. Retries while a file is open. */
export const destroy = Effect.fnUntraced(
  function* (commands: Commands, name: string, guid: string, options: Options = {}) {
    const purpose = destroying(name)
    const dataset = datasetOf(name)
    const columns = options.spareNeeded === true ? "guid,userrefs,clones" : "guid"
    const listed = yield* commands.run(purpose, dataset, listing("snapshot", columns, [name]))
    const [row = []] = yield* readOutput(commands, purpose, table(listed, columns.split(",").length))
    const why = refusal(row, guid)
    if (why !== undefined) {
      const message = `${at(commands.endpoint)}cannot ${purpose}: ${why}`
      return yield* new ZfsError({ reason: "Other", message, transient: false })
    }
    yield* commands.run(purpose, dataset, ["destroy", name], options.role)
  },
  Effect.retry({
    schedule: Schedule.spaced("250 millis"),
    times: 8,
    while: (error) => error.reason === "Busy"
  }),
  Effect.catchIf(
    (error) => error.reason === "NotFound",
    () => Effect.void
  )
)

const refusal = ([found, holds = "0", clones = "-"]: ReadonlyArray<string>, guid: string) => {
  if (found?.trim() !== guid) return "another snapshot has taken its name"
  if (holds !== "0") return "it is held (zfs holds says by whom)"
  return clones === "-" || clones === "" ? undefined : `it has clones: ${clones.replaceAll(",", ", ")}`
}
