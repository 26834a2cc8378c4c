import * as Effect from "effect/Effect"
import { permissionsOf } from "../zfs/Allow.ts"
import type { SendMode, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, datasetProblem, isWithin, parentOf } from "../zfs/DatasetName.ts"
import { Receiver } from "./Receiver.ts"
import { missingOn } from "./Survey.ts"

/**
 * A parent that zipper made (a placeholder) takes no first stream with -F where it or the stream is encrypted. The stream is
 * received into a dataset beside it; then the children move there, the parent is destroyed, and the dataset takes its name.
 * No step destroys data, and the names show how far a run came, so that the next run does the rest.
 */
export const needsReplacement = (source: SourceDataset, target: TargetDataset, mode: SendMode): boolean =>
  target.placeholder && (target.key !== undefined || brings(source, mode))

const brings = ({ encrypted }: SourceDataset, mode: SendMode): boolean => mode === "raw" && encrypted

const suffix = ".zipper-new"

export const besideOf = (target: string): string => `${target}${suffix}`

/** It, or a dataset above it, is to take the place of a parent. */
export const isBeside = (dataset: string): boolean => `${dataset}/`.includes(`${suffix}/`)

/** Why the parent cannot be replaced; asked before anything is sent. */
export const replacementObstacle = Effect.fnUntraced(function* (
  source: SourceDataset,
  target: TargetDataset,
  mode: SendMode
) {
  const receiver = yield* Receiver
  const below = [...(yield* receiver.tree([target.name])).values()]
  const bound = below.find(
    ({ key, name }) => parentOf(name) === target.name && key !== undefined && !isWithin(key.root, name)
  )
  const long = below.find(({ name }) => datasetProblem(`${name}${suffix}`) !== undefined)
  const byHand = `rename ${target.name} out of the way there by hand (zfs rename; what is below it goes along), and the next run starts anew`
  if (bound !== undefined && brings(source, mode)) {
    return `${bound.name} is opened by the key of ${bound.key?.root} and cannot move below a replica with a key of its own; ${byHand}`
  }
  if (long !== undefined) return `the name of ${long.name} is too long for it to move; ${byHand}`
  const above = parentOf(target.name) ?? target.name
  const scope = [{ dataset: above, where: "both" }] as const
  const lacking = yield* missingOn(receiver, yield* receiver.account, permissionsOf("replace"), scope)
  return lacking.length === 0 ? undefined : `${lacking.join("; ")}; needed this once (zfs unallow takes it back)`
})

/** Moves the children of the parent below the dataset that was received beside it, and gives that its name. */
export const takePlace = Effect.fnUntraced(function* (parent: string) {
  const receiver = yield* Receiver
  const beside = besideOf(parent)
  const below = [...(yield* receiver.tree([parent])).keys()]
  yield* Effect.logInfo(`${beside} takes the place of ${parent}, an empty dataset that zipper made`)
  for (const child of below.filter((name) => parentOf(name) === parent)) {
    yield* receiver.rename(child, `${beside}${child.slice(parent.length)}`)
  }
  yield* receiver.destroyParent(parent)
  yield* receiver.rename(beside, parent)
})

/** A replica that is missing and lies beside its place, or below what does: a run ended between the steps. */
export const findMoved = Effect.fnUntraced(function* (target: string) {
  const places = [...ancestorsOf(target).slice(1), target].map((above) => besideOf(above) + target.slice(above.length))
  const found = yield* (yield* Receiver).tree(places)
  return places.flatMap((name) => found.get(name) ?? []).find(({ mode }) => mode !== undefined)
})
