import type { Loss } from "../runs/ReplicationResult.ts"
import { bytes, count, firstNames } from "../text/Text.ts"
import {
  type Bookmark,
  byCreatetxg,
  modeProperty,
  type SendMode,
  type Snapshot,
  type SourceDataset,
  type TargetDataset
} from "../zfs/Dataset.ts"
import { longestName, parentOf } from "../zfs/DatasetName.ts"
import { datasetOf } from "../zfs/ZfsList.ts"
import { isMended, lockOut, sourceLost, targetLost } from "./Keys.ts"
import { contentsOf, type Stream } from "./Stream.ts"

export type Plan =
  /** The source has no snapshot, and the target never was a replica of it. */
  | { readonly _tag: "NothingToSend" }
  /** The target has all that is newest at the source; `at` is the latest common snapshot, by its name on the target. */
  | { readonly _tag: "UpToDate"; readonly at: string }
  /** First time: the earliest snapshot in full, then everything up to the newest. */
  | { readonly _tag: "Full"; readonly streams: ReadonlyArray<Stream> }
  /** Without streams, an interrupted receive can go on after the rollback: plan again. */
  | { readonly _tag: "Incremental"; readonly rollback: Rollback | undefined; readonly streams: ReadonlyArray<Stream> }
  /** A receive was interrupted: the rest of its stream first, then plan again. `dead`: why zfs would not take the rest. */
  | { readonly _tag: "Resume"; readonly token: string; readonly force: boolean; readonly dead?: string }
  /** Going on would destroy something on the target. */
  | { readonly _tag: "Diverged"; readonly loss: Loss; readonly reason: string }
  /** Something has to be put right first; nothing would be destroyed. */
  | { readonly _tag: "Blocked"; readonly reason: string }

export interface Rollback {
  readonly to: Snapshot
  readonly destroys: ReadonlyArray<Snapshot>
  readonly written: number
}

interface PlanOptions {
  readonly mode: SendMode
  /** Whether a target that has diverged may be taken back to the latest common snapshot. */
  readonly rollback: boolean
}

/**
 * Plans what makes the target end at the source's newest snapshot. Snapshots match by guid and order by createtxg; names
 * and clocks decide nothing. Nothing on the target is destroyed unless `rollback` allows it, and then exactly what the
 * plan lists. After a plan is carried out, the next one is empty.
 */
export const plan = (source: SourceDataset, target: TargetDataset | undefined, options: PlanOptions): Plan => {
  const snapshots = inOrder(source.snapshots)
  const earliest = snapshots[0]
  const newest = snapshots.at(-1)
  if (earliest === undefined || newest === undefined) {
    return target !== undefined && isReplica(target)
      ? blocked(`the replica cannot go on, since its source has no snapshot any more; ${takeSnapshot(source)}`)
      : { _tag: "NothingToSend" }
  }
  const firstTime = (force: boolean): Plan => {
    const unopened = sourceLost(source, options.mode)
    if (unopened !== undefined) return blocked(unopened)
    return { _tag: "Full", streams: [{ _tag: "Full", to: earliest, force }, ...incremental(earliest, newest)] }
  }
  if (target === undefined) return firstTime(false)
  const mismatch = mismatchReason(source, target, options.mode)
  if (mismatch !== undefined) return blocked(mismatch)
  const lost = targetLost(target)
  if (lost !== undefined && !isMended(source, target, options.mode)) return blocked(`${lost}; ${startAnew(target)}`)
  const { placeholder, resumeToken, written } = target
  if (target.snapshots.length > 0) {
    const onward = goOn(source, target, options)
    return resumeToken === undefined ? onward : resumed(source, target, resumeToken, onward)
  }
  if (resumeToken !== undefined) return keyLoss(source, target, options) ?? resume(resumeToken, placeholder)
  return placeholder ? firstTime(true) : diverged({ back: undefined, snapshots: [], written }, occupied(target))
}

/** Why a target of that name cannot have the snapshots that a plan sends; undefined when it can. */
export const longNames = (next: Plan, source: SourceDataset, target: string): string | undefined => {
  const coming = next._tag === "Full" || next._tag === "Incremental" ? next.streams : []
  const long = coming
    .flatMap((stream) => contentsOf(stream, source))
    .filter(({ name }) => `${target}@${name}`.length > longestName)
  const [first] = long
  return first === undefined
    ? undefined
    : `with ${list(long)}, a name at ${target} would be longer than ${longestName} characters; at the source, destroy it or give it a shorter name: zfs rename '${source.name}@${first.name}' '${source.name}@…'`
}

const blocked = (reason: string): Plan => ({ _tag: "Blocked", reason })

const diverged = (loss: Loss, reason: string): Plan => ({ _tag: "Diverged", loss, reason })

// The half of a first stream is beside what is there, and zfs asks for -F again to put it in its place.
const resume = (token: string, force = false): Extract<Plan, { readonly _tag: "Resume" }> => ({
  _tag: "Resume",
  token,
  force
})

const incremental = (from: Snapshot, to: Snapshot): ReadonlyArray<Stream> =>
  from.guid === to.guid ? [] : [{ _tag: "Incremental", from, to }]

const inOrder = (snapshots: ReadonlyArray<Snapshot>): ReadonlyArray<Snapshot> => snapshots.toSorted(byCreatetxg)

// A parent that we made may have snapshots of its own, where another program takes them of the whole backup pool.
const isReplica = ({ mode, resumeToken, snapshots }: TargetDataset): boolean =>
  resumeToken !== undefined || (mode !== undefined && snapshots.length > 0)

/**
 * The plan for a target that has snapshots, as if no receive was interrupted. Snapshots of its own in which nothing changed
 * are in the way of raw streams of encrypted datasets only; after any change, or at one of the same name, zfs receives nothing.
 */
const goOn = (source: SourceDataset, target: TargetDataset, options: PlanOptions): Plan => {
  const { written } = target
  const bases = basesOf(source)
  const owned = inOrder(target.snapshots)
  const common = owned.findLast(({ guid }) => bases.has(guid))
  const base = bases.get(common?.guid ?? "")
  if (common === undefined || base === undefined) {
    const reason = target.made && target.mode === undefined ? strangersOn(target, owned) : unrelated(target, owned)
    return diverged({ back: undefined, snapshots: owned, written }, reason)
  }
  const ahead = inOrder(source.snapshots).filter(({ createtxg }) => createtxg > base.createtxg)
  const first = ahead[0]
  const newest = ahead.at(-1)
  if (first === undefined || newest === undefined) {
    const lost = targetLost(target)
    return lost === undefined
      ? { _tag: "UpToDate", at: common.name }
      : blocked(`${lost}; the next snapshot brings the right one: ${takeSnapshot(source)}`)
  }
  const unopened = keyLoss(source, target, options)
  if (unopened !== undefined) return unopened

  const later = owned.filter(({ createtxg }) => createtxg > common.createtxg)
  const raw = options.mode === "raw" && source.encrypted
  const coming = new Set(ahead.map(({ name }) => name))
  const inTheWay = later.findIndex((own) => raw || own.written !== 0 || coming.has(own.name))
  const passed = inTheWay === -1 ? later : later.slice(0, inTheWay)
  const lost = later.slice(passed.length)
  const back = passed.at(-1) ?? common
  const rollback = lost.length > 0 || written > 0 ? { to: back, destroys: lost, written } : undefined
  if (rollback !== undefined) {
    const obstacles = obstaclesTo(target, back, lost)
    if (!options.rollback) {
      const since = back === common ? `@${back.name}, the latest snapshot in common,` : `@${back.name}`
      return diverged({ back, snapshots: lost, written }, changed(target, rollback, { since, raw, obstacles }))
    }
    if (obstacles !== undefined) {
      return blocked(`${target.name} cannot be taken back to @${back.name} as long as ${obstacles}`)
    }
  }
  const clash = clashReason(source, target, ahead, new Set(lost))
  if (clash !== undefined) return blocked(clash)
  // A snapshot wins over its own bookmark: from a bookmark, zfs sends no more than one snapshot at a time.
  const from = source.snapshots.find(({ guid }) => guid === base.guid)
  const streams: ReadonlyArray<Stream> =
    from !== undefined
      ? incremental(from, newest)
      : [{ _tag: "FromBookmark", from: { name: base.name, guid: base.guid }, to: first }, ...incremental(first, newest)]
  return { _tag: "Incremental", rollback, streams }
}

/** What no key opens is as lost as what is destroyed, and no --rollback allows a stream that leaves such a thing. */
const keyLoss = (source: SourceDataset, target: TargetDataset, { mode }: PlanOptions): Plan | undefined => {
  const unopened = sourceLost(source, mode)
  if (unopened !== undefined) return blocked(unopened)
  if (target.placeholder || isMended(source, target, mode)) return undefined
  const out = lockOut(source, target, mode)
  if (out === undefined) return undefined
  const { snapshots, written } = out.what === "target" ? target : { snapshots: [], written: 0 }
  const remedy = out.remedy === undefined ? "" : `${out.remedy}, or `
  const loss = { back: undefined, snapshots: inOrder(snapshots), written }
  return diverged(loss, `${out.why}; ${remedy}${startAnew(target)}`)
}

// zfs takes the whole rest of the stream before it finds out that the target has changed in the meantime.
const resumed = (source: SourceDataset, target: TargetDataset, token: string, onward: Plan): Plan => {
  // Half of a stream is a clone of the snapshot that was the newest then, so that zfs cannot destroy that one. The stream
  // goes on from it, or from one before it after which nothing changed.
  const owned = inOrder(target.snapshots)
  const at = owned.findIndex(({ clones }) => clones.includes(halfOf(target)))
  const half = owned[at]
  const from = Math.max(
    0,
    owned.findLastIndex(({ written }, index) => index <= at && written !== 0)
  )
  const bases = basesOf(source)
  // When the source lost that one, the token is dead; a resume finds that out and throws the half away.
  const isLost = half !== undefined && !owned.slice(from, at + 1).some(({ guid }) => bases.has(guid))
  if (isLost && half === owned.at(-1) && target.written === 0) return resume(token)
  if (onward._tag === "Diverged" || onward._tag === "Blocked") return onward
  if (onward._tag !== "Incremental") return resume(token)
  const { rollback } = onward
  const own = rollback === undefined ? owned[at + 1] : rollback.destroys.find((lost) => lost === half)
  if (half !== undefined && own !== undefined)
    return { ...resume(token), dead: `zfs does not go past @${own.name} of its own` }
  return rollback === undefined ? resume(token) : { ...onward, streams: [] }
}

/** As zfs names the half of a stream that goes on from a snapshot of the target. */
const halfOf = ({ name }: TargetDataset): string => `${name}/%recv`

const basesOf = ({ bookmarks, snapshots }: SourceDataset): ReadonlyMap<string, Bookmark> =>
  new Map([...bookmarks, ...snapshots].map((base) => [base.guid, base]))

// Reasons follow the dataset's name, and the label of the receiving end if remote, which is `there` in their commands.

const mismatchReason = (source: SourceDataset, target: TargetDataset, mode: SendMode): string | undefined => {
  if (target.guid === source.guid) {
    return `${target.name} is the source itself: give a destination outside of what is sent`
  }
  if (target.kind !== source.kind) {
    return `${target.name} is a ${kindNames[target.kind]} and its source is a ${kindNames[source.kind]}; ${startAnew(target)}`
  }
  return target.mode === undefined || target.mode === mode
    ? undefined
    : `${target.name} was received ${modeNames[target.mode]} so far and would now be sent ${modeNames[mode]}, which zfs cannot join; ${modeAdvice[target.mode]}, or start over: ${startAnew(target)}`
}

const kindNames = { filesystem: "file system", volume: "volume" } as const

const modeNames = { raw: "raw (zfs send -w)", plain: "plain (not raw)" } as const

const modeAdvice = {
  raw: "send it raw again (pull with --raw, push without --no-raw)",
  plain: "send it plain again (pull without --raw, push with --no-raw)"
} as const

const occupied = (target: TargetDataset): string =>
  takenOver(target) ??
  (isPool(target)
    ? `${target.name} is a pool, whose own ${bytes(target.written)} would be overwritten; ${startAnew(target)}`
    : `${target.name} is no replica: it has no snapshot, and ${bytes(target.written)} in it would be overwritten; ${startAnew(target)}, or destroy it there by hand if it is not needed`)

/** A replica whose snapshots went to a clone of it that was promoted. */
const takenOver = ({ mode, name, origin }: TargetDataset): string | undefined =>
  origin === undefined || mode === undefined
    ? undefined
    : `the snapshots of ${name} went to ${datasetOf(origin)}, a clone of it that was promoted; take them back (there: zfs promote '${name}') and run again`

const unrelated = (target: TargetDataset, snapshots: ReadonlyArray<Snapshot>): string =>
  takenOver(target) ??
  `${target.name} and its source have no snapshot in common; all of the target would have to be destroyed: ${losses(snapshots, target.written)}; ${startAnew(target)}`

const strangersOn = (target: TargetDataset, snapshots: ReadonlyArray<Snapshot>): string =>
  `${target.name} is an empty parent that zipper made, and another program took ${losses(snapshots, 0)} of it; destroy what it took (there: zfs destroy '${target.name}@${snapshots.map(({ name }) => name).join(",")}') and the next run goes on; keep that program from taking more`

const changed = (
  target: TargetDataset,
  { destroys, written }: Rollback,
  found: { readonly since: string; readonly raw: boolean; readonly obstacles: string | undefined }
): string => {
  const { obstacles, raw, since } = found
  const wayBack =
    obstacles === undefined
      ? "to give that up, run again with --rollback"
      : `--rollback cannot go back as long as ${obstacles}`
  const [first] = destroys
  const isSame = written === 0 && destroys.every((own) => own.written === 0)
  const what = !isSame
    ? `has changed since ${since}`
    : raw
      ? `has snapshots of its own since ${since} which no raw stream goes past,`
      : `has snapshots of its own since ${since} by the names of some to come`
  const rename =
    isSame && !raw
      ? `rename what is there (there: zfs rename '${target.name}@${first?.name}' '${target.name}@${first?.name}-old'), or `
      : ""
  return `${target.name} ${what} and would lose ${losses(destroys, written)}; ${wayBack}; to keep it, ${rename}${startAnew(target)}`
}

const losses = (snapshots: ReadonlyArray<Snapshot>, written: number): string =>
  [
    ...(snapshots.length > 0 ? [`${count(snapshots.length, "snapshot")} (${list(snapshots)})`] : []),
    ...(written > 0 ? [`${bytes(written)} written since its newest snapshot`] : [])
  ].join(" and ")

/** Why zfs would refuse to take the target back to `to`, which destroys these snapshots. */
const obstaclesTo = (target: TargetDataset, to: Snapshot, snapshots: ReadonlyArray<Snapshot>): string | undefined => {
  const { name } = target
  const reasons: Array<string> = []
  const held = snapshots.filter(({ holds }) => holds > 0)
  if (held[0] !== undefined) {
    const are = held.length === 1 ? "is" : "are"
    reasons.push(`${list(held)} ${are} held (there: zfs holds '${name}@${held[0].name}' tells by whom)`)
  }
  // Half of a stream is thrown away first.
  const clonesOf = ({ clones }: Snapshot) => clones.filter((clone) => clone !== halfOf(target))
  const cloned = snapshots.filter((snapshot) => clonesOf(snapshot).length > 0)
  if (cloned.length > 0) {
    const clones = cloned.flatMap(clonesOf).slice(0, listed)
    reasons.push(`${list(cloned)} ${cloned.length === 1 ? "has" : "have"} clones (${clones.join(", ")})`)
  }
  // zfs goes back past bookmarks only by destroying them, and no plan lists those.
  const newer = target.bookmarks.filter(({ createtxg }) => createtxg > to.createtxg)
  if (newer[0] !== undefined) {
    const kind = newer.length === 1 ? "a newer bookmark" : "newer bookmarks"
    const names = newer.slice(0, listed).map((bookmark) => `#${bookmark.name}`)
    reasons.push(`it has ${kind}: ${names.join(", ")} (there: zfs destroy '${name}#${newer[0].name}')`)
  }
  return reasons.length === 0 ? undefined : reasons.join(" and ")
}

/** A snapshot to come has the name of another one on the target. `gone`: those that a rollback destroys first. */
const clashReason = (
  source: SourceDataset,
  target: TargetDataset,
  coming: ReadonlyArray<Snapshot>,
  gone: ReadonlySet<Snapshot>
): string | undefined => {
  const names = new Set(coming.map(({ name }) => name))
  const taken = target.snapshots.filter((snapshot) => names.has(snapshot.name) && !gone.has(snapshot))
  const first = taken[0]
  if (first === undefined) return undefined
  const original = source.snapshots.find(({ guid }) => guid === first.guid)?.name
  const free =
    original !== undefined && !target.snapshots.some(({ name }) => name === original) ? original : `${first.name}-old`
  return `${target.name} has other snapshots by the names of some to come: ${list(taken)}; rename what is there (there: zfs rename '${target.name}@${first.name}' '${target.name}@${free}')`
}

const takeSnapshot = ({ name }: SourceDataset): string =>
  `take one (at the source: zfs snapshot '${name}@…') and run again`

// A pool can be neither renamed nor destroyed as a dataset can.
const startAnew = (target: TargetDataset): string =>
  isPool(target)
    ? "give a destination below that pool"
    : `move it out of the way (there: ${moveAway(target.name)}) and the next run starts anew`

/** The commands for an operator. A replica that keeps its mark seems to be that of a dataset that was renamed at the source. */
export const moveAway = (name: string): string =>
  `zfs rename '${name}' '${name}-old' && zfs inherit -r ${modeProperty} '${name}-old'`

const isPool = ({ name }: TargetDataset): boolean => parentOf(name) === undefined

const listed = 100

const list = (snapshots: ReadonlyArray<Snapshot>): string =>
  firstNames(
    snapshots.map(({ name }) => `@${name}`),
    listed
  )
