import * as Units from "../Units.ts"
import type { SendMode, SourceDataset, TargetDataset } from "./State.ts"

/**
 * A raw stream brings the key of its dataset along, wrapped with what the source has now, and puts it in the place of the
 * target's. Which dataset's key zfs asks for to unwrap it (`encryptionroot`) stays. So a target that is no root of its own may come
 * to be asked for one key and wrapped with another, and so may whatever lies below a target and is opened by its key.
 */

/** Whether two are wrapped with the same passphrase; undefined when zfs does not tell. */
const alike = (one: string | undefined, other: string | undefined): boolean | undefined =>
  one === undefined || other === undefined || (one === "0" && other === "0") ? undefined : one === other

/** Whether zfs asks for the key of another dataset. */
export const isJoined = ({ key, name }: TargetDataset): boolean => key !== undefined && key.root !== name

/** Why nothing opens the target any more, from the next time on that keys are loaded; undefined when something does. */
export const locked = (target: TargetDataset): string | undefined =>
  target.key !== undefined && isJoined(target) && alike(target.key.salt, target.key.rootSalt) === false
    ? `no key opens ${target.name} when it is loaded anew: zfs asks for that of ${target.key.root}, and a raw stream brought another`
    : undefined

/** What of the target a raw stream would leave without a key that opens it; undefined when nothing. */
export const lockedOut = (
  source: SourceDataset,
  target: TargetDataset,
  mode: SendMode
): string | undefined => {
  const { key, name } = target
  if (mode !== "raw" || !source.encrypted || key === undefined) return undefined
  if (isJoined(target)) {
    return `${name} is opened by the key of ${key.root} (joined to it by zfs change-key -i, or made below it), and a raw stream would put the source's key under that: no key might open it any more; make it a root of its own first (${anew(name, key.root)})`
  }
  const [first] = key.dependents
  const same = alike(source.salt, key.salt)
  if (first === undefined || same === true) return undefined
  const [what, them] =
    key.dependents.length === 1 ? [`${first} is`, "it"] : [`${named(key.dependents)} are`, "them"]
  const why = same === false ? "another key" : "maybe another key (zfs does not tell)"
  return `a raw stream would give ${name} ${why}, and ${what} opened by the one that it has: no key might open ${them} any more; make each a root of its own first (${anew(first, name)})`
}

const anew = (name: string, root: string): string =>
  `there, with any passphrase: zfs load-key '${root}'; zfs change-key -o keyformat=passphrase -o keylocation=prompt '${name}'`

const named = (datasets: ReadonlyArray<string>): string => {
  const shown = datasets.slice(0, 10)
  const rest = datasets.length - shown.length
  return rest > 0 ? `${shown.join(", ")} and ${Units.number(rest)} more` : shown.join(", ")
}

/** What an operator has to know of the key of a raw replica, though nothing is wrong: a sentence, where there is something. */
export const keyRemark = (
  source: SourceDataset,
  target: TargetDataset,
  { sends, there }: { readonly sends: boolean; readonly there: string }
): string | undefined => {
  const { key, name } = target
  if (!source.encrypted || key === undefined) return undefined
  if (isJoined(target)) {
    return sends
      ? undefined
      : `${name} on ${there} is opened by the key of ${key.root}: the next snapshot will not be received; join replicas to another key only after the last one, or in a restored copy`
  }
  if (alike(source.salt, key.salt) !== false) return undefined
  return sends
    ? `the key of ${source.name} is not the one that ${name} on ${there} has: it was changed at one of them; the replica gets that of the source with this stream, and is opened by that from then on`
    : `the key of ${source.name} is not the one that ${name} on ${there} has: it was changed at one of them; the replica still opens with its old key or passphrase, until a new snapshot has been sent`
}
