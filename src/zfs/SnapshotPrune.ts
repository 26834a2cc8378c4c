import * as fs from "node:fs/promises"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { isRunning, type Process } from "../system/Process.ts"
import type { Role } from "./Allow.ts"
import { byCreatetxg } from "./Dataset.ts"
import type { SourceInfo } from "./SourceLayout.ts"
import { at, type Commands, complaint, type OpenZfs, readOutput, ZfsError } from "./ZfsCommand.ts"
import { readSnapshots, rows, shortName, snapshotColumns, table } from "./ZfsList.ts"

/** The user property that marks a snapshot as ours. */
export const markProperty = "zipper:run"

/** What {@link property} says: who took the snapshot, and of what. */
export interface SnapshotMark {
  readonly host: string
  readonly pid: number
  /** When that process started, as its system tells it: tells it from a later process with the same pid. */
  readonly start: string
  readonly run: string
  readonly job: string
  /** SourceLayout.fingerprint. */
  readonly layout: string
  /** Where the job's archives go; marks of older versions come without. */
  readonly target?: string | undefined
}

/** `host=nas,pid=1234,start=…,run=…,job=…,layout=…,target=…`, values percent-encoded. */
export const encodeMark = (mark: SnapshotMark): string =>
  [
    ...(["host", "pid", "start", "run", "job", "layout"] as const),
    ...(mark.target === undefined || encodeURIComponent(mark.target).length > longestTarget
      ? []
      : (["target"] as const))
  ]
    .map((key) => `${key}=${encodeURIComponent(mark[key] ?? "")}`)
    .join(",")

/** A longer path is left out: the value of a property has a limit of 8 KiB. */
const longestTarget = 4000

/** Undefined when {@link encode} does not make such text. */
export const decodeMark = (text: string): SnapshotMark | undefined => {
  const match =
    /^host=([^,=]*),pid=(\d{1,10}),start=([^,=]*),run=([^,=]*),job=([^,=]*),layout=([^,=]*)(?:,target=([^,=]*))?$/.exec(
      text
    )
  if (match === null) return undefined
  try {
    const [host = "", pid = "", start = "", run = "", job = "", layout = ""] = match
      .slice(1, 7)
      .map((value) => decodeURIComponent(value))
    const target = match[7] === undefined ? {} : { target: decodeURIComponent(match[7]) }
    return { host, pid: Number(pid), start, run, job, layout, ...target }
  } catch {
    return undefined
  }
}

/** `auto-zip-20250101120000`: prefix and time in UTC. `millis` is in milliseconds since 1970. */
export const formatName = (prefix: string, millis: number): string =>
  `${prefix}-${new Date(millis).toISOString().slice(0, 19).replace(/[-T:]/g, "")}`

/** In milliseconds since 1970; undefined unless {@link format} makes exactly that name. */
export const parseName = (prefix: string, name: string): number | undefined => {
  if (!name.startsWith(`${prefix}-`)) return undefined
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(name.slice(prefix.length + 1))
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  const millis = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(millis) || formatName(prefix, millis) !== name ? undefined : millis
}

export interface PruneReport {
  /** Full names, `dataset@snapshot`. */
  readonly destroyed: ReadonlyArray<string>
  /** Those that could not be destroyed (held, busy, cloned), with the reason. */
  readonly spared: ReadonlyArray<{ readonly snapshot: string; readonly reason: string }>
}

export const planPrune = Effect.fnUntraced(function* (openZfs: OpenZfs, source: SourceInfo, keep: ReadonlySet<string>) {
  const { settings } = openZfs
  const { alive, snapshots } = yield* readMarked(
    openZfs,
    source,
    (name) => parseName(openZfs.settings.prefix, name) !== undefined
  )
  const { former, id } = source.job ?? { id: settings.jobId, former: [] }
  return select(snapshots, { prefix: settings.prefix, jobs: new Set([id, ...former]), keep, alive })
})

/** See ZfsService.marked. */
export const marked = Effect.fnUntraced(function* (openZfs: OpenZfs, source: SourceInfo) {
  const { alive, snapshots } = yield* readMarked(openZfs, source, isNamedByAny)
  return snapshots.filter((snapshot) => {
    const mark = snapshot.mark === undefined ? undefined : decodeMark(snapshot.mark)
    return mark !== undefined && !alive(mark, snapshot)
  })
})

/** Whether a snapshot has our kind of name under any prefix: `snapshot_prefix` may have been another one. */
const isNamedByAny = (name: string): boolean => parseName(name.replace(/-\d+$/, ""), name) !== undefined

/** The source's snapshots with our mark, and whether the run behind a mark may still be at work. */
const readMarked = Effect.fnUntraced(function* (
  { commands, process, settings }: OpenZfs,
  { datasets }: SourceInfo,
  isNamed: (name: string) => boolean
) {
  const snapshots = yield* listMarked(commands, isNamed, datasets)
  const marks = snapshots.flatMap(({ mark }) => (mark === undefined ? [] : (decodeMark(mark) ?? [])))
  const running = yield* runningPids(process, settings.hostname, marks)
  const now = (yield* Clock.currentTimeMillis) / 1000
  const alive = (mark: SnapshotMark, { creation }: MarkedSnapshot): boolean =>
    mark.host === settings.hostname
      ? running.has(mark.pid) && (running.get(mark.pid) ?? mark.start) === mark.start
      : Math.abs(now - creation) < foreignRunSeconds
  return { alive, snapshots }
})

/** Snapshots that carry our property themselves (an inherited or received one does not count) and have our kind of name. */
const listMarked = Effect.fnUntraced(function* (
  commands: Commands,
  isNamed: (name: string) => boolean,
  datasets: ReadonlyArray<string>
) {
  const dataset = datasets[0] ?? ""
  const purpose = `list the snapshots of ${dataset}`
  const got = yield* commands.run(purpose, dataset, [
    ...["get", "-H", "-p", "-s", "local", "-d", "1", "-t", "snapshot", "-o", "name,value", markProperty],
    ...datasets
  ])
  const marks = new Map<string, string>()
  for (const [name = "", value = ""] of rows(got)) {
    if (isNamed(shortName(name))) marks.set(name, value)
  }
  if (marks.size === 0) return []
  // One that another process has just destroyed makes the exit status 1; the rest is listed all the same.
  const listed = yield* commands.attempt([
    ...["list", "-H", "-p", "-t", "snapshot", "-o", snapshotColumns],
    ...marks.keys()
  ])
  if (listed.exitCode !== 0 && !/does not exist/.test(complaint(listed))) {
    return yield* commands.failure(purpose, dataset, listed)
  }
  const listing = yield* readOutput(commands, purpose, readSnapshots(listed.stdout))
  return [...listing].flatMap(([of, { snapshots }]) =>
    snapshots.map((snapshot): MarkedSnapshot => {
      const name = `${of}@${snapshot.name}`
      return { ...snapshot, name, mark: marks.get(name) }
    })
  )
})

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

/**
 * When a process started, in the system's own words; undefined when there is no such process, or its start cannot be
 * told.
 */
export const startOf = (runner: typeof Process.Service, pid: number): Effect.Effect<string | undefined> =>
  process.platform === "linux"
    ? Effect.promise(() => startOnLinux(pid))
    : runner.run({ program: "ps", args: ["-o", "lstart=", "-p", String(pid)], env: { TZ: "UTC" } }).pipe(
        Effect.map(({ stdout }) => stdout.trim().replace(/\s+/g, " ") || undefined),
        Effect.orElseSucceed(() => undefined)
      )

// Ticks since boot, and which boot.
const startOnLinux = async (pid: number): Promise<string | undefined> => {
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

/** How long a run on another host, whose processes are out of sight, counts as alive. */
const foreignRunSeconds = 86_400

export interface MarkedSnapshot {
  /** `dataset@snapshot`. */
  readonly name: string
  readonly guid: string
  readonly createtxg: bigint
  readonly creation: number
  readonly holds: number
  readonly clones: ReadonlyArray<string>
  /** Our user property, where it is set on the snapshot itself. */
  readonly mark: string | undefined
}

export interface PruneRules {
  readonly prefix: string
  /** What the marks of this job's snapshots say. */
  readonly jobs: ReadonlySet<string>
  /** guids that are still needed. */
  readonly keep: ReadonlySet<string>
  /** Whether the run behind a mark may still be at work. */
  readonly alive: (mark: SnapshotMark, snapshot: MarkedSnapshot) => boolean
}

export interface PrunePlan {
  readonly destroy: ReadonlyArray<MarkedSnapshot>
  /** Due, but something else needs them. */
  readonly spare: PruneReport["spared"]
}

/** Chooses what nothing needs: ours by property and by exact name, of this job, of no run that is alive, not kept. */
export const select = (snapshots: ReadonlyArray<MarkedSnapshot>, rules: PruneRules): PrunePlan => {
  const due = snapshots.filter((snapshot) => isDue(snapshot, rules)).sort(byCreatetxg)
  return {
    destroy: due.filter((snapshot) => obstacle(snapshot) === undefined),
    spare: due.flatMap((snapshot) => {
      const reason = obstacle(snapshot)
      return reason === undefined ? [] : [{ snapshot: snapshot.name, reason }]
    })
  }
}

const isDue = (snapshot: MarkedSnapshot, rules: PruneRules): boolean => {
  if (snapshot.mark === undefined || rules.keep.has(snapshot.guid)) return false
  if (parseName(rules.prefix, shortName(snapshot.name)) === undefined) return false
  const mark = decodeMark(snapshot.mark)
  return mark !== undefined && rules.jobs.has(mark.job) && !rules.alive(mark, snapshot)
}

const obstacle = ({ clones, holds, name }: MarkedSnapshot): string | undefined =>
  holds > 0
    ? `it is held; zfs holds '${name}' tells by whom, zfs release lets go`
    : clones.length > 0
      ? `it has clones: ${clones.join(", ")}`
      : undefined

/** Destroys one by one; what cannot be destroyed is spared, with the reason. */
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

interface Options {
  /** Look first whether the snapshot is held or cloned, and refuse at once. */
  readonly spareNeeded?: boolean
  readonly role?: Role
}

/**
 * Destroys `name` if it still has that guid; one that is gone is no failure. Busy is retried: a file of it may be
 * open for a moment.
 */
export const destroy = Effect.fnUntraced(
  function* (commands: Commands, name: string, guid: string, options: Options = {}) {
    const purpose = `destroy the snapshot ${name}`
    const dataset = name.split("@", 1)[0] ?? name
    const columns = options.spareNeeded === true ? "guid,userrefs,clones" : "guid"
    const found = yield* commands.attempt(["list", "-H", "-p", "-t", "snapshot", "-o", columns, name])
    if (found.exitCode !== 0) {
      const error = commands.failure(purpose, dataset, found)
      return error.reason === "NotFound" ? undefined : yield* error
    }
    const row = yield* readOutput(commands, purpose, table(found.stdout, columns.split(",").length))
    const why = foundObstacle(row[0] ?? [], guid)
    if (why !== undefined) {
      return yield* new ZfsError({
        reason: "Other",
        message: `${at(commands.endpoint)}cannot ${purpose}: ${why}`,
        transient: false
      })
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

const foundObstacle = ([found, holds = "0", clones = "-"]: ReadonlyArray<string>, guid: string) => {
  if (found?.trim() !== guid) return "another snapshot has taken its name"
  if (holds !== "0") return "it is held (zfs holds says by whom)"
  return clones === "-" || clones === "" ? undefined : `it has clones: ${clones.replaceAll(",", ", ")}`
}
