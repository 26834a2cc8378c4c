import { byCreatetxg } from "../Createtxg.ts"
import { isMended, lockOut, sourceLost, targetLost } from "./Keys.ts"
import * as Reasons from "./PlanReasons.ts"
import type { SendMode, Snapshot, SourceDataset, TargetDataset } from "./State.ts"
import type { Stream } from "./Stream.ts"

/** What to do about one dataset. */
export type Plan =
  /** The source has no snapshot, and the target never was a replica of it: there is nothing to send. */
  | { readonly _tag: "NothingToSend" }
  /** The target has all that is newest at the source; `at` is the latest common snapshot, by its name on the target. */
  | { readonly _tag: "UpToDate"; readonly at: string }
  /** First time: the earliest snapshot in full, then everything up to the newest. */
  | { readonly _tag: "Full"; readonly streams: ReadonlyArray<Stream> }
  /**
   * From the latest common snapshot (or bookmark) up to the newest, after `rollback` where that was allowed. No
   * streams: only the rollback stands between an interrupted receive and its end; plan again after it.
   */
  | {
      readonly _tag: "Incremental"
      readonly rollback: Rollback | undefined
      readonly streams: ReadonlyArray<Stream>
    }
  /** A receive was interrupted: the rest of its stream first, then plan again. */
  | { readonly _tag: "Resume"; readonly token: string; readonly force: boolean }
  /** Going on would destroy something on the target. */
  | { readonly _tag: "Diverged"; readonly loss: Loss; readonly reason: string }
  /** Something has to be put right first; nothing would be destroyed. */
  | { readonly _tag: "Blocked"; readonly reason: string }

/** What of a target would be destroyed. */
export interface Loss {
  /** The latest common snapshot, by its name on the target, that `--rollback` would go back to; undefined when there is none. */
  readonly back: Snapshot | undefined
  /** Snapshots of the target that the source does not have, oldest first. */
  readonly snapshots: ReadonlyArray<Snapshot>
  /** Bytes written since the newest snapshot. */
  readonly written: number
}

/** Taking the target back to a common snapshot. */
export interface Rollback {
  readonly to: Snapshot
  /** Exactly these are destroyed by it. */
  readonly destroys: ReadonlyArray<Snapshot>
  readonly written: number
}

/** What the plan of a dataset may do. */
interface PlanOptions {
  /** How the streams would be made. */
  readonly mode: SendMode
  /** Whether a target that went its own way may be taken back to the latest common snapshot. */
  readonly rollback: boolean
}

/**
 * What has to be done so that the target ends at the source's newest snapshot. Snapshots match by guid and order by
 * createtxg; names and clocks decide nothing. Nothing on the target is destroyed unless `rollback` allows it, and
 * then exactly what the plan lists. Carried out, the next plan is empty.
 *
 * Reasons are sentences to go after the dataset's name.
 */
export const plan = (
  source: SourceDataset,
  target: TargetDataset | undefined,
  options: PlanOptions
): Plan => {
  const snapshots = inOrder(source.snapshots)
  const earliest = snapshots[0]
  const newest = snapshots.at(-1)
  if (earliest === undefined || newest === undefined) {
    return target !== undefined && isReplica(target)
      ? { _tag: "Blocked", reason: Reasons.sourceEmptied(source) }
      : { _tag: "NothingToSend" }
  }
  const unopened = sourceLost(source, options.mode)
  const firstTime = (force: boolean): Plan =>
    unopened === undefined ? full(earliest, newest, force) : { _tag: "Blocked", reason: unopened }
  if (target === undefined) return firstTime(false)
  const mismatch = Reasons.mismatch(source, target, options.mode)
  if (mismatch !== undefined) return { _tag: "Blocked", reason: mismatch }
  const lost = targetLost(target)
  if (lost !== undefined && !isMended(source, target, options.mode)) {
    return { _tag: "Blocked", reason: Reasons.keyLost(target, lost) }
  }
  if (target.snapshots.length > 0) {
    const onward = goOn(source, target, options)
    return target.resumeToken === undefined ? onward : resumed(source, target, target.resumeToken, onward)
  }
  if (target.resumeToken !== undefined) {
    return keyLoss(source, target, options) ?? resume(target.resumeToken, target.placeholder)
  }
  if (target.placeholder) return firstTime(true)
  return {
    _tag: "Diverged",
    loss: { back: undefined, snapshots: [], written: target.written },
    reason: Reasons.occupied(target)
  }
}

// A parent that we made may have snapshots of its own, where somebody takes them of the whole backup pool.
const isReplica = ({ mode, resumeToken, snapshots }: TargetDataset): boolean =>
  resumeToken !== undefined || (mode !== undefined && snapshots.length > 0)

/**
 * A stream that leaves something without a key that opens it. What no key opens is lost as much as what is destroyed, and no
 * --rollback allows that.
 */
const keyLoss = (source: SourceDataset, target: TargetDataset, { mode }: PlanOptions): Plan | undefined => {
  const unopened = sourceLost(source, mode)
  if (unopened !== undefined) return { _tag: "Blocked", reason: unopened }
  if (target.placeholder || isMended(source, target, mode)) return undefined
  const out = lockOut(source, target, mode)
  if (out === undefined) return undefined
  const { written } = target
  const loss =
    out.what === "target"
      ? { back: undefined, snapshots: inOrder(target.snapshots), written }
      : { back: undefined, snapshots: [], written: 0 }
  return { _tag: "Diverged", loss, reason: Reasons.lockedOut(target, out) }
}

// The half of a first stream is beside what is there, and zfs asks for -F again to put it in its place.
const resume = (token: string, force = false): Plan => ({ _tag: "Resume", token, force })

const full = (earliest: Snapshot, newest: Snapshot, force: boolean): Plan => ({
  _tag: "Full",
  streams: [{ _tag: "Full", to: earliest, force }, ...incremental(earliest, newest)]
})

const incremental = (from: Snapshot, to: Snapshot): ReadonlyArray<Stream> =>
  from.guid === to.guid ? [] : [{ _tag: "Incremental", from, to }]

// zfs takes the whole rest of the stream before it finds out that the target has changed in the meantime.
const resumed = (source: SourceDataset, target: TargetDataset, token: string, onward: Plan): Plan => {
  // Half of a stream is a clone of the snapshot that it goes on from, which therefore cannot be destroyed. When the source
  // has that one no more the token is dead, and whoever resumes finds that out and throws the half away.
  const from = target.snapshots.find(({ clones }) => clones.includes(`${target.name}/%recv`))
  if (from !== undefined && !basesOf(source).has(from.guid)) return resume(token)
  switch (onward._tag) {
    case "Diverged":
    case "Blocked":
      return onward
    case "Incremental":
      return onward.rollback === undefined ? resume(token) : { ...onward, streams: [] }
    default:
      return resume(token)
  }
}

/** Something at the source that an incremental stream can start from. */
type Base =
  | { readonly _tag: "Snapshot"; readonly snapshot: Snapshot; readonly createtxg: bigint }
  | { readonly _tag: "Bookmark"; readonly name: string; readonly guid: string; readonly createtxg: bigint }

// A snapshot wins over its own bookmark: from a bookmark, zfs sends no more than one snapshot at a time.
const basesOf = ({ bookmarks, snapshots }: SourceDataset): ReadonlyMap<string, Base> =>
  new Map<string, Base>([
    ...bookmarks.map(
      ({ createtxg, guid, name }) => [guid, { _tag: "Bookmark", name, guid, createtxg }] as const
    ),
    ...snapshots.map(
      (snapshot) => [snapshot.guid, { _tag: "Snapshot", snapshot, createtxg: snapshot.createtxg }] as const
    )
  ])

/** The plan for a target that has snapshots. */
const goOn = (source: SourceDataset, target: TargetDataset, options: PlanOptions): Plan => {
  const bases = basesOf(source)
  const owned = inOrder(target.snapshots)
  const common = owned.findLast(({ guid }) => bases.has(guid))
  const base = common === undefined ? undefined : bases.get(common.guid)
  if (common === undefined || base === undefined) {
    const loss = { back: undefined, snapshots: owned, written: target.written }
    return { _tag: "Diverged", loss, reason: Reasons.unrelated(target, owned) }
  }
  const ahead = inOrder(source.snapshots).filter(({ createtxg }) => createtxg > base.createtxg)
  const first = ahead[0]
  const newest = ahead.at(-1)
  if (first === undefined || newest === undefined) {
    const lost = targetLost(target)
    return lost === undefined
      ? { _tag: "UpToDate", at: common.name }
      : { _tag: "Blocked", reason: Reasons.mendedByNext(source, lost) }
  }
  const unopened = keyLoss(source, target, options)
  if (unopened !== undefined) return unopened

  const later = owned.filter(({ createtxg }) => createtxg > common.createtxg)
  const { written } = target
  const rollback = later.length > 0 || written > 0 ? { to: common, destroys: later, written } : undefined
  if (rollback !== undefined) {
    if (!options.rollback) {
      const loss = { back: common, snapshots: later, written }
      return { _tag: "Diverged", loss, reason: Reasons.diverged(target, common, later, written) }
    }
    const stuck = Reasons.stuck(target, common, later)
    if (stuck !== undefined) return { _tag: "Blocked", reason: stuck }
  }
  const clash = Reasons.clash(source, target, ahead, new Set(later))
  if (clash !== undefined) return { _tag: "Blocked", reason: clash }
  return {
    _tag: "Incremental",
    rollback,
    streams:
      base._tag === "Snapshot"
        ? incremental(base.snapshot, newest)
        : [
            { _tag: "FromBookmark", from: { name: base.name, guid: base.guid }, to: first },
            ...incremental(first, newest)
          ]
  }
}

const inOrder = (snapshots: ReadonlyArray<Snapshot>): ReadonlyArray<Snapshot> =>
  snapshots.toSorted(byCreatetxg)
