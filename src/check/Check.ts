import { dirname } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type ArchiveConfig, type Config, everyFolder, nameRule, stateDirOf, wholeName } from "../config/Config.ts"
import type { Job } from "../config/ReplicationJob.ts"
import { Notifier } from "../notify/Notifier.ts"
import { bookmarkGaps } from "../replication/Bookmarks.ts"
import { unloadedKey } from "../replication/Keys.ts"
import { doneCommand, looksAt } from "../replication/Look.ts"
import { longNames, plan } from "../replication/Plan.ts"
import { Receiver } from "../replication/Receiver.ts"
import { ReplicaEnd } from "../replication/RecoverEnd.ts"
import { bareRoots, findRenamed, noSnapshots, remarksOn } from "../replication/Remarks.ts"
import { Sender } from "../replication/Sender.ts"
import { missingPermissions, placeOf, poolProblems, survey, targetNames } from "../replication/Survey.ts"
import { Transfer } from "../replication/Transfer.ts"
import { Hooks } from "../runs/Hooks.ts"
import { Lock } from "../runs/Lock.ts"
import { isMetrics, otherOwner } from "../runs/Metrics.ts"
import { type ExcludeRules, withoutExcluded } from "../source/Exclude.ts"
import { chooseFolders, someNames } from "../source/FolderChoice.ts"
import { type FolderName, topFolder } from "../source/FolderName.ts"
import { replacedText, Tree, unsafeText } from "../source/Tree.ts"
import type { FolderRecord } from "../store/FolderState.ts"
import { checkOwner, Store } from "../store/Store.ts"
import { Disk } from "../system/Disk.ts"
import { type Platform, platform } from "../system/Platform.ts"
import { notALog } from "../system/RotatingFile.ts"
import { document, flag, optional, text } from "../text/Document.ts"
import * as RawPath from "../text/RawPath.ts"
import { bytes, count, quoted } from "../text/Text.ts"
import { allowCommand, missing, parseAllow, permissionsOf } from "../zfs/Allow.ts"
import { isWithin } from "../zfs/DatasetName.ts"
import { onEnd } from "../zfs/Endpoint.ts"
import type { SourceInfo } from "../zfs/SourceLayout.ts"
import { TargetSnapshots } from "../zfs/TargetSnapshots.ts"
import { Zfs } from "../zfs/Zfs.ts"
import { checkSnapshots } from "./CheckSnapshots.ts"
import { CronLine } from "./Crontab.ts"
import { CheckFinding, type Finding, ok, problem, warning } from "./Finding.ts"
import { SystemdUnit } from "./Systemd.ts"

/** What `check --json` prints. */
export const CheckDocument = document({
  ok: flag("no problem: a run would work; otherwise the exit status is 3"),
  findings: Schema.Array(CheckFinding),
  crontab: text("the file that the lines are for"),
  cron: Schema.Array(CronLine).annotations({ description: "none while there is a problem" }),
  systemd: optional(
    Schema.Array(SystemdUnit).annotations({
      description: "with --systemd: units in place of the lines; none while there is a problem, or without systemd"
    })
  )
})

type Paths = Pick<ArchiveConfig, "source_path" | "target_path" | "snapshot_prefix" | "folders">

type StateConfig = Pick<
  Config,
  "source_path" | "target_path" | "state_dir" | "metrics_file" | "ping_url" | "replication"
>

/** Looks at what a run of the archive job depends on, by the run's own probes. Leaves nothing behind, never fails. */
export const check = Effect.fn("Check")(function* (
  config: Paths & ExcludeRules & Pick<ArchiveConfig, "tmp_dir" | "lockfile_path" | "log_file">
) {
  const findings = yield* Effect.all([
    checkSource(config),
    checkTarget(config),
    checkTargetSnapshots,
    checkLock(config.lockfile_path),
    checkLog(config.log_file),
    checkNotifier
  ])
  return findings.flat()
})

/** The same for a replication job: both hosts, datasets, places, rights, programs. Changes nothing, never fails. */
export const checkReplication = Effect.fn("CheckReplication")(
  function* (job: Job) {
    const { label } = yield* Sender
    const found = yield* survey(job, 0)
    const lacking = yield* missingPermissions(job, found, false)
    const moved = yield* findRenamed(job, found)
    const gaps = yield* bookmarkGaps(job, found)
    yield* (yield* Transfer).tools
    const { label: receiver } = yield* Receiver
    const closed = yield* poolProblems(found)
    const refusals = found.items.flatMap(({ source, target }) => {
      const next = plan(source, found.targets.get(target), { mode: job.mode, rollback: false })
      const reason = next._tag === "Diverged" || next._tag === "Blocked" ? next.reason : longNames(next, source, target)
      if (reason !== undefined) return [`${source.name}: ${onEnd(receiver)}${reason}`]
      if (next._tag === "UpToDate" || next._tag === "NothingToSend") return []
      const keys = { mode: job.mode, target, place: placeOf(found, target) }
      const unloaded = unloadedKey(source, keys, { source: label, target: receiver })
      return unloaded === undefined ? [] : [`${source.name}: ${unloaded}`]
    })
    // A run of a job with `snapshot` takes some first.
    const bare = job.snapshot ? 0 : found.items.filter(({ source }) => source.snapshots.length === 0).length
    const roots = job.snapshot ? [] : [...bareRoots(job, found)]
    const subject = subjectOf(job)
    return [
      ok(
        subject,
        `${job.direction} of ${count(found.items.length, "dataset")} from ${label} to ${receiver}${job.snapshot ? "; each run takes a snapshot first" : ""}`
      ),
      ...Array.from(found.missing, ([dataset, why]) => problem(subject, `${dataset}: ${why}`)),
      ...found.unplaced.map(({ dataset, error }) => problem(subject, `${dataset}: ${error}`)),
      ...[...closed, ...lacking].map((line) => problem(subject, line)),
      ...gaps.map(({ line }) =>
        warning(
          subject,
          `${line} (without it no bookmark is kept at the source, and the latest common snapshot must stay)`
        )
      ),
      ...roots.map((root) => problem(subject, `${root}: ${noSnapshots}`)),
      ...Array.from(moved, ([dataset, { advice }]) => problem(subject, `${dataset}: ${advice}`)),
      ...refusals.map((line) => problem(subject, line)),
      ...(yield* remarksOn(job, found, moved)).map(({ text }) => warning(subject, text)),
      ...(bare === 0 ? [] : [warning(subject, `${count(bare, "dataset")} without a snapshot: nothing of it is sent`)])
    ]
  },
  (effect, job) => orProblem(subjectOf(job))(effect)
)

/** Replicas of the job that `zipper recover --look` shows. `config`: the file that has the job; undefined for the default one. */
export const checkLooks = Effect.fn("CheckLooks")(
  function* (job: Job, config: string | undefined) {
    const replicas = targetNames(job, job.datasets)
    const looks = yield* looksAt((name) => replicas.some((replica) => isWithin(name, replica)))
    const { label } = yield* ReplicaEnd
    return looks.map(({ folder, name, replica }) => {
      const done = doneCommand(job.name, config, folder)
      return warning(
        subjectOf(job),
        `${folder} on ${label} shows ${replica} (${name}); when that is not needed any more: ${done}`
      )
    })
  },
  Effect.orElseSucceed((): ReadonlyArray<Finding> => [])
)

const untested = ({ name, tested }: Pick<Platform, "name" | "tested">): ReadonlyArray<Finding> =>
  tested
    ? []
    : [
        warning(
          "system",
          `zipper is written for ${name} and not yet run on it by its authors; run zipper demo --dataset POOL/SCRATCH (an empty dataset) first, which tries everything here`
        )
      ]

const subjectOf = ({ name }: Job): string => `replication ${name}`

/** The same for the system, and for where runs report; no run fails for want of these. A ping would count as a run. */
export const checkState = Effect.fn("CheckState")(function* (config: StateConfig, system = platform) {
  const { metrics_file } = config
  return [
    ...untested(system),
    // With a target, state is kept in it, and the target was looked at.
    ...(config.target_path === undefined ? yield* checkStateDir(stateDirOf(config)) : []),
    ...(metrics_file === undefined ? [] : yield* checkMetrics(metrics_file, stateDirOf(config))),
    ...pings(config)
  ]
})

const orProblem =
  (subject: string) =>
  <E extends { readonly message: string }, R>(effect: Effect.Effect<ReadonlyArray<Finding>, E, R>) =>
    Effect.catchAll(effect, ({ message }) => Effect.succeed([problem(subject, message)]))

/** The findings, or the failure as a warning with its `consequence`. */
const orWarning =
  (subject: string, consequence: string) =>
  <E extends { readonly message: string }, R>(effect: Effect.Effect<ReadonlyArray<Finding>, E, R>) =>
    Effect.catchAll(effect, ({ message }) => Effect.succeed([warning(subject, `${message}: ${consequence}`)]))

const problemOf = <A, E extends { readonly message: string }, R>(
  subject: string,
  probe: Effect.Effect<A, E, R>,
  lead = ""
) =>
  Effect.match(probe, {
    onSuccess: (): ReadonlyArray<Finding> => [],
    onFailure: ({ message }) => [problem(subject, `${lead}${message}`)]
  })

const checkSource = Effect.fnUntraced(
  function* (config: Paths & ExcludeRules) {
    const sourcePath = config.source_path
    const zfs = yield* Zfs
    const tree = yield* Tree
    const store = yield* Store
    const source = yield* zfs.locate(sourcePath)
    const view = withoutExcluded((yield* zfs.snapshot(source)).view, config)
    const wanted = wholeName(config.folders)
    const { folders, replaced, skipped, unreadable, unsafe } = yield* tree.folders(view, wanted)
    // What cannot be read of the target is a finding of checkTarget.
    const records = replaced.length === 0 ? undefined : yield* Effect.orElseSucceed(store.records, () => undefined)
    const children = source.datasets.length - 1
    const how = source.dataset === undefined ? "read live" : `dataset ${source.dataset}`
    const findings: Array<Finding> = [ok("source", `${sourcePath}, ${how}`)]
    if (children > 0) findings.push(ok("children", `${count(children, "child dataset")} will be in the same snapshot`))
    findings.push(...(yield* checkRights(source)))
    for (const { at, reason } of view.blocked) findings.push(problem("source", `${RawPath.display(at)}: ${reason}`))
    for (const { folder, reason } of unreadable) findings.push(problem("source", `${folder}: ${reason}`))
    const known = new Set([...unreadable.map(({ folder }) => folder), ...view.blocked.map(({ at }) => topFolder(at))])
    for (const folder of folders) {
      if (!known.has(folder)) findings.push(...(yield* problemOf("source", tree.readable(view, folder), `${folder}: `)))
      findings.push(...(yield* problemOf("target", Effect.scoped(store.stage(folder)))))
    }
    const { others } = yield* chooseFolders(sourcePath, wanted)
    const nothing = `no folder in ${sourcePath} has a name that ${nameRule(config.folders)}: there is nothing to archive`
    const everyOne = others.length === 0 ? "" : `; "folders": "${everyFolder}" takes every one: ${someNames(others)}`
    findings.push(
      folders.length === 0
        ? problem("folders", `${nothing}${everyOne}`)
        : ok(
            "folders",
            `${folders.length} to archive (${someNames(folders)}), ${count(skipped, "other entry", "other entries")} passed over; what lies deeper in them was not read: a dry run lists all of it, and only a run reads the files`
          )
    )
    if (folders.length > 0 && others.length > 0) {
      findings.push(
        ok("folders", `not archived, since the name ${nameRule(config.folders, false)}: ${someNames(others)}`)
      )
    }
    findings.push(...unsafe.map((each) => problem("folders", unsafeText(each))))
    for (const { folder, type } of replaced.filter((each) => records?.get(each.folder)?.zipSize !== undefined)) {
      findings.push(problem("folders", `${folder}: ${replacedText(type)}`))
    }
    findings.push(...(yield* problemOf("folders", store.requireDistinct(folders))))
    findings.push(...(yield* checkSnapshots(config, source)))
    return findings
  },
  Effect.scoped,
  orProblem("source")
)

/** Whether a user other than root has the permissions that a run needs; without `diff` it only takes longer. */
export const checkRights = Effect.fnUntraced(function* ({ datasets, grant }: SourceInfo) {
  if (grant === undefined) return []
  const sender = yield* Sender
  const wanted = permissionsOf("archive")
  return yield* Effect.gen(function* () {
    const account = yield* sender.account
    const findings: Array<Finding> = []
    for (const dataset of datasets) {
      const permissions = missing(account, parseAllow(yield* sender.allowed(dataset)), dataset, wanted, "here")
      if (permissions.length === 0) continue
      const command = allowCommand({ user: account.user, permissions, dataset })
      const detail = `${account.user} may not ${permissions.join(", ")} on ${dataset}; as root: ${command}`
      findings.push(
        permissions.every((each) => each === "diff")
          ? warning("rights", `${detail} (without it every file is compared in each run)`)
          : problem("rights", detail)
      )
    }
    return findings.length > 0
      ? findings
      : [ok("rights", `${account.user} may ${wanted.join(", ")} on ${count(datasets.length, "dataset")}`)]
  }).pipe(
    Effect.catchAll(({ message }) =>
      Effect.succeed([warning("rights", `not root, and ${message}; a run needs what this grants: ${grant}`)])
    )
  )
})

const checkTarget = Effect.fnUntraced(function* (config: Paths & Pick<ArchiveConfig, "tmp_dir">) {
  const store = yield* Store
  yield* (yield* Zfs).checkTarget(config.target_path)
  const report = yield* store.preflight
  const records = yield* store.records
  const elsewhere = `${config.tmp_dir} is on another file system or mount: archives are put together inside the target`
  const findings = [
    targetFinding(config.target_path, report.free, records),
    ...(config.tmp_dir === undefined ? [] : [ok("tmp_dir", report.stagesInTmp ? config.tmp_dir : elsewhere)]),
    ...(yield* checkOwnership(config)),
    ...(yield* checkTargetLock(config.target_path)),
    ...(yield* checkFolders(config.target_path, records))
  ]
  const { broken, healed } = yield* store.recover
  return [
    ...findings,
    ...healed.map((line) => warning("recovery", `left by an interrupted run: ${line}`)),
    ...broken.map(({ folder, reason }) => problem("recovery", `${folder}: ${reason}`))
  ]
}, orProblem("target"))

/** By the probe of a run: that one can be taken, and what the retention makes of those that are there. */
const checkTargetSnapshots = Effect.gen(function* () {
  const plan = yield* (yield* TargetSnapshots).probe
  if (plan === undefined) return []
  const { datasets, history, kept } = plan
  const more = datasets.length > 1 ? ` and ${count(datasets.length - 1, "dataset")} at its folders` : ""
  const there =
    history.count === 0
      ? "none is there yet"
      : `${count(history.count, "snapshot")} from ${history.oldest_utc} to ${history.newest_utc}, of which ${kept} will be kept`
  return [ok("target_snapshots", `${datasets[0]}${more}: ${there}`)]
}).pipe(orProblem("target_snapshots"))

/** checkSource reports a source that cannot be found. */
const checkOwnership = Effect.fnUntraced(function* (config: Paths) {
  const source = yield* Effect.option((yield* Zfs).locate(config.source_path))
  return source._tag === "None" ? [] : yield* problemOf("target", checkOwner(config, source.value))
})

const checkTargetLock = Effect.fnUntraced(function* (target: string) {
  const stateFolder = stateDirOf({ target_path: target })
  if (yield* (yield* Lock).probeIn(stateFolder)) return []
  const detail = `${stateFolder} is on a file system without locks: let no two configurations have this target`
  return [warning("target", detail)]
})

/** The folders of archives can be written to, as far as permissions show. */
const checkFolders = Effect.fnUntraced(function* (target: string, records: ReadonlyMap<FolderName, FolderRecord>) {
  const disk = yield* Disk
  const found = yield* Effect.forEach(
    records.keys(),
    Effect.fnUntraced(function* (folder) {
      const path = `${target}/${folder}`
      const isFolder = (yield* disk.stat(path))?.kind === "directory"
      return isFolder ? yield* problemOf("target", disk.writable(path), `${folder}: `) : []
    }),
    { concurrency: 16 }
  )
  return found.flat()
})

// A new archive is put together beside the two that are there.
const targetFinding = (path: string, free: number | undefined, records: ReadonlyMap<string, FolderRecord>): Finding => {
  if (free === undefined) return ok("target", `${path}, which does not tell how much is free`)
  const detail = `${path}, ${bytes(free)} free`
  if (free === 0) return problem("target", `${detail}: nothing can be written`)
  const largest = Math.max(0, ...[...records.values()].map(({ zipSize }) => zipSize ?? 0))
  return free < largest
    ? warning("target", `${detail}, less than the largest archive there needs (${bytes(largest)})`)
    : ok("target", detail)
}

const checkLock = Effect.fnUntraced(function* (path: string) {
  yield* (yield* Lock).probe(path)
  return [ok("lock", path)]
}, orProblem("lock"))

// A log that cannot be written is no reason for a run to fail, so it is none here.
const checkLog = Effect.fnUntraced(
  function* (path: string) {
    const disk = yield* Disk
    const stat = yield* disk.stat(path)
    if (stat !== undefined && stat.kind !== "file") return yield* refuse(`${path} is not a regular file`)
    yield* disk.writable(stat === undefined ? dirname(path) : path)
    const obstacle = notALog((yield* Effect.orElseSucceed(disk.head(path), () => "")) ?? "")
    if (obstacle !== undefined) return yield* refuse(`${path}: ${obstacle}`)
    return [ok("log", path)]
  },
  orWarning("log", "nothing will be logged there")
)

/** For orWarning. */
const refuse = (message: string) => Effect.fail({ message })

/** Whether messages can be sent. {@link check} has it too. */
export const checkNotifier = Effect.gen(function* () {
  const found = yield* (yield* Notifier).probe
  if (found === "Hook") return [ok("gotify", "not configured; messages go through the hook failure")]
  return [
    found === "Gotify"
      ? ok("gotify", "the server answers; `zipper notify-test` sends a message")
      : warning(
          "gotify",
          "a server answers, but gotify.url does not end in /message: only `zipper notify-test` can tell whether it is Gotify"
        )
  ]
}).pipe(
  Effect.catchAll((error) =>
    Effect.succeed([
      error.reason === "NotConfigured"
        ? warning("gotify", "not configured: no message is sent about a failure")
        : // A message that cannot arrive, however often it is tried, is as good as none.
          (error.transient ? warning : problem)("gotify", error.message)
    ])
  )
)

/** A program that is not there keeps a run from its work. */
export const checkHooks = Effect.fn("CheckHooks")(function* ({ source_path }: Pick<Config, "source_path">) {
  const names = yield* (yield* Hooks).probe
  const idle = source_path === undefined ? names.filter((name) => name !== "failure") : []
  return [
    ...(names.length === 0 ? [] : [ok("hooks", `${names.join(", ")}: there, and not run now`)]),
    ...idle.map((name) => warning("hooks", `${name} is for the archive job alone, and there is none`))
  ]
}, orProblem("hooks"))

const checkStateDir = Effect.fnUntraced(
  function* (path: string) {
    const disk = yield* Disk
    const stat = yield* disk.stat(path)
    if (stat !== undefined && stat.kind !== "directory") return yield* refuse(`${path} is no folder`)
    let there = path
    while (there !== "/" && (yield* disk.stat(there)) === undefined) there = dirname(there)
    yield* disk.writable(there)
    return [ok("state_dir", there === path ? path : `${path}, which the first run makes`)]
  },
  orWarning("state_dir", "no history is kept, and status and report will know of no run")
)

const checkMetrics = Effect.fnUntraced(
  function* (path: string, stateDir: string) {
    const disk = yield* Disk
    const folder = dirname(path)
    if ((yield* disk.stat(folder)) === undefined) return yield* refuse(`there is no folder ${folder}`)
    if ((yield* disk.stat(path))?.kind === "directory") return yield* refuse(`${path} is a folder`)
    yield* disk.writable(folder)
    const found = yield* disk.read(path)
    if (!isMetrics(found)) return yield* refuse(`${path} holds no metrics of zipper, and is left as it is`)
    const owner = otherOwner(found, stateDir)
    if (owner === undefined) {
      const unread = `${path}: node_exporter reads only files whose names end in .prom`
      return [path.endsWith(".prom") ? ok("metrics_file", path) : warning("metrics_file", unread)]
    }
    const detail = `${path} has the metrics of another configuration, whose state is in ${quoted(owner)}, and the next run replaces them: give each configuration a file of its own`
    return [warning("metrics_file", detail)]
  },
  orWarning("metrics_file", "no metrics will be written")
)

/** Never the addresses: they are secrets. */
const pings = (config: StateConfig): ReadonlyArray<Finding> => {
  const archive = config.ping_url !== undefined && config.source_path !== undefined
  const jobs = [
    ...(archive ? ["the archive job"] : []),
    ...config.replication.flatMap(({ name, ping_url }) => (ping_url === undefined ? [] : [name]))
  ]
  return [
    ...(config.ping_url !== undefined && !archive
      ? [warning("ping_url", "there is no archive job that would call it; a replication job has its own")]
      : []),
    ...(jobs.length === 0
      ? []
      : [ok("ping_url", `set for ${jobs.join(", ")}; not called now: that would count as a run`)])
  ]
}
