import { firstNames } from "../text/Text.ts"
import type { Key, Salt, SendMode, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { parentOf } from "../zfs/DatasetName.ts"

/**
 * A raw stream brings the key of its dataset along, wrapped with what opens the source now, and puts it in the place of the
 * target's. Which dataset's key zfs asks for to unwrap it (`encryptionroot`) stays. So a target that is no root of its own can
 * end up wrapped with one key while zfs asks for another, and so can what lies below a target and is opened by its key. Nothing
 * opens such a dataset any more, a raw stream of it carries the mismatch on, and `zfs change-key` there, or on its root, panics
 * (OpenZFS 2.1). Only a raw stream that happens to bring what its root has now mends it.
 */

/** Why no key opens the source, nor its raw copies; undefined when one may. */
export const sourceLost = (source: SourceDataset, mode: SendMode): string | undefined =>
  mode === "raw" && isLost(source)
    ? `no key opens its source ${source.name} when it is loaded anew, nor a raw copy of it: zfs asks for that of ${source.key?.root}, and a raw stream brought another; as long as it is mounted there, copy its files out of it`
    : undefined

/** Why no key opens the target; undefined when one may. */
export const targetLost = (target: TargetDataset): string | undefined =>
  isLost(target)
    ? `no key opens ${target.name} when it is loaded anew: zfs asks for that of ${target.key?.root}, and a raw stream brought another (run no zfs change-key on either: zfs panics)`
    : undefined

export const isMended = (source: SourceDataset, target: TargetDataset, mode: SendMode): boolean =>
  mode === "raw" && isLost(target) && alike(source.key?.salt, target.key?.rootSalt) === true

/** What of the target a raw stream would lock out; undefined when nothing. */
export const lockOut = (source: SourceDataset, target: TargetDataset, mode: SendMode): LockOut | undefined => {
  const { key, name } = target
  if (mode !== "raw" || source.key === undefined || key === undefined) return undefined
  if (isJoined(target)) {
    return {
      what: "target",
      why: `${name} is opened by the key of ${key.root} (joined to it by zfs change-key -i, or made below it), and a raw stream would put that of the source under it: no key might open it any more`,
      remedy: alike(key.salt, key.rootSalt) === true ? ownKey(name, key.root) : undefined
    }
  }
  const same = alike(source.key.salt, key.salt)
  const intact = key.dependents.filter(({ salt }) => alike(salt, key.salt) !== false)
  const [first] = intact
  if (first === undefined || same === true) return undefined
  const names = firstNames(intact.map(({ name }) => name))
  const [what, them] = intact.length === 1 ? [`${names} is`, "it"] : [`${names} are`, "them"]
  const why = same === false ? "another key" : "maybe another key (zfs does not tell)"
  return {
    what: "dependents",
    why: `a raw stream would give ${name} ${why}, and ${what} opened by the one that it has: no key might open ${them} any more`,
    remedy: key.dependents.every(({ salt }) => alike(salt, key.salt) === true) ? ownKey(first.name, name) : undefined
  }
}

/**
 * Which key has to be loaded before a stream is made and received; undefined when none. A raw stream of an encrypted
 * dataset needs none. `place`: the target, or the nearest dataset above it, below which its parents are made.
 */
export const unloadedKey = (
  source: SourceDataset,
  {
    mode,
    place,
    target
  }: { readonly mode: SendMode; readonly place: TargetDataset | undefined; readonly target: string },
  ends: { readonly source: string; readonly target: string }
): string | undefined => {
  const load = (root: string, end: string) =>
    `the key of ${root} is not loaded on ${end} (there: zfs load-key '${root}')`
  if (mode === "plain" && source.key?.loaded === false) {
    return `${source.name} cannot be read, since ${load(source.key.root, ends.source)}; send raw to do without`
  }
  if (place?.key?.loaded !== false) return undefined
  const { root } = place.key
  const stays = mode === "raw" && source.encrypted
  if (!stays) return `${target} cannot be written, since ${load(root, ends.target)}`
  return place.name === target || place.name === parentOf(target)
    ? undefined
    : `what is missing above ${target} cannot be made, since ${load(root, ends.target)}; once it is there, raw streams need no key; or give a destination outside of ${root} (zipper prepare makes one)`
}

interface LockOut {
  readonly what: "target" | "dependents"
  readonly why: string
  /** What makes a stream possible; undefined where that might make zfs panic. */
  readonly remedy: string | undefined
}

/** What an operator has to know of the key of a raw replica though nothing is wrong. */
export const keyRemark = (
  source: SourceDataset,
  target: TargetDataset,
  { sends, there }: { readonly sends: boolean; readonly there: string }
): string | undefined => {
  const { key, name } = target
  if (source.key === undefined || key === undefined) return undefined
  if (isJoined(target)) {
    return sends
      ? `no key opens ${name} on ${there}; this stream brings that of ${key.root}, which zfs asks for`
      : `${name} on ${there} is opened by the key of ${key.root}: the next snapshot will not be received; join replicas to another key only after the last one, or in a restored copy`
  }
  if (alike(source.key.salt, key.salt) !== false) return undefined
  const changed = `the key of ${source.name} is not the one that ${name} on ${there} has: it was changed at one of them`
  return sends
    ? `${changed}; the replica gets that of the source with this stream, and is opened by that from then on`
    : `${changed}; the replica still opens with its old key or passphrase, until a new snapshot has been sent`
}

/** Whether both are wrapped with the same passphrase; undefined when zfs does not tell. */
export const alike = (one: Salt | undefined, other: Salt | undefined): boolean | undefined =>
  one === undefined || other === undefined || (one === "0" && other === "0") ? undefined : one === other

const isJoined = ({ key, name }: { readonly key: Key | undefined; readonly name: string }): boolean =>
  key !== undefined && key.root !== name

const isLost = (dataset: { readonly key: Key | undefined; readonly name: string }): boolean =>
  isJoined(dataset) && alike(dataset.key?.salt, dataset.key?.rootSalt) === false

const ownKey = (name: string, root: string): string =>
  `give it a key of its own first (there, any passphrase will do: zfs load-key '${root}'; zfs change-key -o keyformat=passphrase -o keylocation=prompt '${name}')`
