import * as Effect from "effect/Effect"
import { stateDirOf } from "../domain/Config.ts"
import type { FolderName } from "../domain/FolderName.ts"
import type { FolderRecord } from "../domain/FolderState.ts"
import * as RawPath from "../domain/RawPath.ts"
import { topSegment } from "../domain/Source.ts"
import { bytes, count } from "../domain/Units.ts"
import { Disk } from "../services/Disk.ts"
import { Lock } from "../services/Lock.ts"
import { Notifier } from "../services/Notifier.ts"
import { Store } from "../services/Store.ts"
import { Tree } from "../services/Tree.ts"
import { Zfs } from "../services/Zfs.ts"
import { checkRights } from "./CheckRights.ts"
import { checkSnapshots } from "./CheckSnapshots.ts"
import { checkOwner } from "./ClaimTarget.ts"
import { type Finding, ok, problem, warning } from "./Finding.ts"

/**
 * Looks at everything a run depends on, by the run's own probes, and leaves nothing behind: source and child datasets, folders, rights, target,
 * staging, free space, lock, log, Gotify. Never fails: a problem is a finding, and one does not hide the others.
 */
export const check = Effect.fn("Check")(function* (config: {
  readonly source_path: string
  readonly target_path: string
  readonly tmp_dir?: string | undefined
  readonly lockfile_path: string
  readonly log_file: string
}) {
  const findings = yield* Effect.all([
    checkSource(config),
    checkTarget(config),
    checkLock(config.lockfile_path),
    checkLog(config.log_file),
    checkNotifier
  ])
  return findings.flat()
})

const checkSource = Effect.fnUntraced(
  function* (config: { readonly source_path: string; readonly target_path: string }) {
    const sourcePath = config.source_path
    const zfs = yield* Zfs
    const tree = yield* Tree
    const source = yield* zfs.locate(sourcePath)
    const { view } = yield* zfs.snapshot(source)
    const { folders, skipped, unreadable } = yield* tree.folders(view)
    const children = source.datasets.length - 1
    const findings: Array<Finding> = [
      ok(
        "source",
        source.dataset === undefined ? `${sourcePath}, read live` : `${sourcePath}, dataset ${source.dataset}`
      )
    ]
    if (children > 0)
      findings.push(ok("children", `${count(children, "child dataset")} will be in the same snapshot`))
    findings.push(...(yield* checkRights(source)))
    for (const { at, reason } of view.blocked)
      findings.push(problem("source", `${RawPath.display(at)}: ${reason}`))
    for (const { folder, reason } of unreadable) findings.push(problem("source", `${folder}: ${reason}`))
    for (const folder of folders) {
      if (unreadable.some((each) => each.folder === folder)) continue
      if (view.blocked.some(({ at }) => topSegment(at) === folder)) continue
      const listed = yield* Effect.either(tree.readable(view, folder))
      if (listed._tag === "Left") findings.push(problem("source", `${folder}: ${listed.left.message}`))
    }
    findings.push(
      folders.length === 0
        ? problem(
            "folders",
            `none in ${sourcePath} has a name of four upper-case letters or digits: there is nothing to archive`
          )
        : ok(
            "folders",
            `${folders.length} to archive, ${skipped} other entries passed over; what lies deeper in them was not read: zipper run --dry-run lists all of it, and only a run reads the files`
          )
    )
    findings.push(...(yield* checkSnapshots(config, source)))
    return findings
  },
  Effect.scoped,
  Effect.catchAll((error) => Effect.succeed([problem("source", error.message)]))
)

const checkTarget = Effect.fnUntraced(
  function* (config: {
    readonly source_path: string
    readonly target_path: string
    readonly tmp_dir?: string | undefined
  }) {
    const store = yield* Store
    yield* (yield* Zfs).checkTarget(config.target_path)
    const report = yield* store.preflight
    const findings = [targetFinding(config.target_path, report.free, yield* store.records)]
    if (config.tmp_dir !== undefined) {
      findings.push(
        report.stagesInTmp
          ? ok("tmp_dir", config.tmp_dir)
          : ok(
              "tmp_dir",
              `${config.tmp_dir} is on another file system or mount: archives are put together inside the target`
            )
      )
    }
    findings.push(...(yield* checkOwnership(config)))
    findings.push(...(yield* checkTargetLock(config.target_path)))
    findings.push(...(yield* checkFolders(config.target_path, yield* store.records)))
    const { broken, healed } = yield* store.recover
    return [
      ...findings,
      ...healed.map((line) => warning("recovery", `left by an interrupted run: ${line}`)),
      ...broken.map(({ folder, reason }) => problem("recovery", `${folder}: ${reason}`))
    ]
  },
  Effect.catchAll((error) => Effect.succeed([problem("target", error.message)]))
)

/** A source that cannot be found is told of by itself. */
const checkOwnership = Effect.fnUntraced(function* (config: {
  readonly source_path: string
  readonly target_path: string
}) {
  const source = yield* Effect.either((yield* Zfs).locate(config.source_path))
  if (source._tag === "Left") return []
  const owned = yield* Effect.either(checkOwner(config, source.right))
  return owned._tag === "Right" ? [] : [problem("target", owned.left.message)]
})

/** Another configuration may have this target. */
const checkTargetLock = Effect.fnUntraced(function* (target: string) {
  const stateFolder = stateDirOf({ target_path: target })
  const hasLocks = yield* (yield* Lock).probeIn(stateFolder)
  return hasLocks
    ? []
    : [
        warning(
          "target",
          `${stateFolder} is on a file system without locks: let no two configurations have this target`
        )
      ]
})

/** The folders of archives can be written to, as far as permissions tell. */
const checkFolders = Effect.fnUntraced(function* (
  target: string,
  records: ReadonlyMap<FolderName, FolderRecord>
) {
  const disk = yield* Disk
  const found = yield* Effect.forEach(
    records.keys(),
    Effect.fnUntraced(function* (folder) {
      const path = `${target}/${folder}`
      if ((yield* disk.stat(path))?.kind !== "directory") return []
      const asked = yield* Effect.either(disk.writable(path))
      return asked._tag === "Right" ? [] : [problem("target", `${folder}: ${asked.left.message}`)]
    }),
    { concurrency: 16 }
  )
  return found.flat()
})

// A new archive is put together beside the two that are there.
const targetFinding = (
  path: string,
  free: number | undefined,
  records: ReadonlyMap<string, FolderRecord>
): Finding => {
  if (free === undefined) return ok("target", `${path}, which does not tell how much is free`)
  const detail = `${path}, ${bytes(free)} free`
  if (free === 0) return problem("target", `${detail}: nothing can be written`)
  const largest = Math.max(0, ...[...records.values()].map(({ zipSize }) => zipSize ?? 0))
  return free < largest
    ? warning("target", `${detail}, less than the largest archive there needs (${bytes(largest)})`)
    : ok("target", detail)
}

const checkLock = Effect.fnUntraced(
  function* (path: string) {
    yield* (yield* Lock).probe(path)
    return [ok("lock", path)]
  },
  Effect.catchAll((error) => Effect.succeed([problem("lock", error.message)]))
)

// A log that cannot be written is no reason for a run to fail, so it is none here.
const checkLog = Effect.fnUntraced(
  function* (path: string) {
    const disk = yield* Disk
    const stat = yield* disk.stat(path)
    if (stat !== undefined && stat.kind !== "file") {
      return [warning("log", `${path} is not a regular file: nothing will be logged there`)]
    }
    yield* disk.writable(stat === undefined ? path.replace(/\/[^/]*$/, "") || "/" : path)
    return [ok("log", path)]
  },
  Effect.catchAll((error) =>
    Effect.succeed([warning("log", `${error.message}: nothing will be logged there`)])
  )
)

const checkNotifier = Effect.gen(function* () {
  const notifier = yield* Notifier
  const found = yield* notifier.probe
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
        ? warning("gotify", "not configured: nobody is told of a failure")
        : // A message that cannot arrive, however often it is tried, is as good as none.
          (error.transient ? warning : problem)("gotify", error.message)
    ])
  )
)
