import * as Units from "../Units.ts"
import { parentOf } from "./DatasetName.ts"
import type { LockOut } from "./Keys.ts"
import type { SendMode, Snapshot, SourceDataset, TargetDataset } from "./State.ts"

/**
 * Why a plan stops: sentences for an operator. They speak of what is at the receiving end, whose name goes before them when
 * that is another machine (the same names may be there on both). Commands say where they belong: `there` is that end.
 */

const listed = 100

/** `@a, @b and 3 more`. */
const list = (snapshots: ReadonlyArray<Snapshot>): string => {
  const shown = snapshots.slice(0, listed).map(({ name }) => `@${name}`)
  const rest = snapshots.length - shown.length
  return rest > 0 ? `${shown.join(", ")} and ${Units.number(rest)} more` : shown.join(", ")
}

/** The source lost its snapshots while the target has some, or half of one. */
export const sourceEmptied = (source: SourceDataset): string =>
  `the replica cannot go on, since its source has no snapshot any more; take one (at the source: zfs snapshot '${source.name}@…') and run again`

/** What keeps the source from ever being received there; undefined when nothing does. */
export const mismatch = (
  source: SourceDataset,
  target: TargetDataset,
  mode: SendMode
): string | undefined => {
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

/** No key opens the replica: `why`. */
export const keyLost = (target: TargetDataset, why: string): string => `${why}; ${startAnew(target)}`

/** No key opens the replica (`why`), and the next stream brings the right one. */
export const mendedByNext = (source: SourceDataset, why: string): string =>
  `${why}; the next snapshot brings the right one: take one (at the source: zfs snapshot '${source.name}@…') and run again`

/** A stream would leave something there that no key opens. */
export const lockedOut = (target: TargetDataset, { remedy, why }: LockOut): string =>
  remedy === undefined ? `${why}; ${startAnew(target)}` : `${why}; ${remedy}, or ${startAnew(target)}`

/** There is a dataset that was never received and that we did not make. */
export const occupied = (target: TargetDataset): string =>
  isPool(target)
    ? `${target.name} is a pool, whose own ${Units.bytes(target.written)} would be overwritten; ${startAnew(target)}`
    : `${target.name} is no replica: it has no snapshot, and ${Units.bytes(target.written)} in it would be overwritten; ${startAnew(target)}, or destroy it there by hand if nobody needs it`

/** No snapshot of the target is a snapshot or bookmark of the source. */
export const unrelated = (target: TargetDataset, snapshots: ReadonlyArray<Snapshot>): string =>
  `${target.name} and its source have no snapshot in common; all of the target would have to be destroyed: ${losses(snapshots, target.written)}; ${startAnew(target)}`

/** The target has something of its own after `to`, the latest common snapshot. */
export const diverged = (
  target: TargetDataset,
  to: Snapshot,
  destroys: ReadonlyArray<Snapshot>,
  written: number
): string => {
  const obstacles = obstaclesTo(target, to, destroys)
  const wayBack =
    obstacles === undefined
      ? "to give that up, run again with --rollback"
      : `--rollback cannot go back as long as ${obstacles}`
  return `${target.name} has changed since @${to.name}, the latest snapshot in common, and would lose ${losses(destroys, written)}; ${wayBack}; to keep it, ${startAnew(target)}`
}

/** The target may be taken back to `to`, but zfs would refuse; undefined when it would not. */
export const stuck = (
  target: TargetDataset,
  to: Snapshot,
  destroys: ReadonlyArray<Snapshot>
): string | undefined => {
  const obstacles = obstaclesTo(target, to, destroys)
  return obstacles === undefined
    ? undefined
    : `${target.name} cannot be taken back to @${to.name} as long as ${obstacles}`
}

const losses = (snapshots: ReadonlyArray<Snapshot>, written: number): string =>
  [
    ...(snapshots.length > 0 ? [`${Units.count(snapshots.length, "snapshot")} (${list(snapshots)})`] : []),
    ...(written > 0 ? [`${Units.bytes(written)} written since its newest snapshot`] : [])
  ].join(" and ")

/** What would keep zfs, or us, from going back to `to`. */
const obstaclesTo = (
  target: TargetDataset,
  to: Snapshot,
  snapshots: ReadonlyArray<Snapshot>
): string | undefined => {
  const held = snapshots.filter(({ holds }) => holds > 0)
  const cloned = snapshots.filter(({ clones }) => clones.length > 0)
  const reasons = [
    ...held
      .slice(0, 1)
      .map(
        ({ name }) =>
          `${list(held)} ${held.length === 1 ? "is" : "are"} held (there: zfs holds '${target.name}@${name}' tells by whom)`
      ),
    ...(cloned.length === 0
      ? []
      : [
          `${list(cloned)} ${cloned.length === 1 ? "has" : "have"} clones (${cloned
            .flatMap(({ clones }) => clones)
            .slice(0, listed)
            .join(", ")})`
        ]),
    ...bookmarked(target, to)
  ]
  return reasons.length === 0 ? undefined : reasons.join(" and ")
}

// zfs goes back past bookmarks only by destroying them, and nobody was told of those.
const bookmarked = (target: TargetDataset, to: Snapshot): ReadonlyArray<string> => {
  const newer = target.bookmarks.filter(({ createtxg }) => createtxg > to.createtxg)
  const first = newer[0]
  if (first === undefined) return []
  const names = newer.slice(0, listed).map(({ name }) => `#${name}`)
  const kind = newer.length === 1 ? "a newer bookmark" : "newer bookmarks"
  return [`it has ${kind}: ${names.join(", ")} (there: zfs destroy '${target.name}#${first.name}')`]
}

/**
 * A snapshot to come whose name another one on the target has, which zfs refuses to receive: somebody renamed
 * snapshots. `gone` are those that a rollback takes away first.
 */
export const clash = (
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
    original !== undefined && !target.snapshots.some(({ name }) => name === original)
      ? original
      : `${first.name}-old`
  return `${target.name} has other snapshots by the names of some to come: ${list(taken)}; rename what is there (there: zfs rename '${target.name}@${first.name}' '${target.name}@${free}')`
}

const isPool = ({ name }: TargetDataset): boolean => parentOf(name) === undefined

// A pool can be neither renamed nor destroyed as a dataset can.
const startAnew = (target: TargetDataset): string =>
  isPool(target)
    ? "give a destination below that pool"
    : `move it out of the way (there: zfs rename '${target.name}' '${target.name}-old') and the next run starts anew`
