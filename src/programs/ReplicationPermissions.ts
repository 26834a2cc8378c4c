import * as Effect from "effect/Effect"
import { missing, parse, type Where } from "../domain/replication/Allow.ts"
import { ancestorsOf, isWithin } from "../domain/replication/DatasetName.ts"
import { allowCommand, permissionsOf } from "../domain/replication/Roles.ts"
import { minimalRoots } from "../domain/replication/Selection.ts"
import { Receiver } from "../services/Receiver.ts"
import type { Account, End } from "../services/replication/contract.ts"
import { Sender } from "../services/Sender.ts"
import type { Survey } from "./ReplicationSurvey.ts"

const nothing: ReadonlyArray<string> = []

/** A dataset on an end, and whether permissions count on it, on what will be below it, or both. */
export interface Place {
  readonly dataset: string
  readonly where: Where
}

/**
 * What the account may not do on this end though it has to: a line for each dataset, with the command that grants
 * it there and below. Permissions at the top of what is asked for are enough for all of it, so that the usual
 * case costs one look. Where nobody can tell, nothing is missing: zfs itself will say.
 */
export const missingOn = Effect.fnUntraced(function* (
  end: End,
  account: Account,
  wanted: ReadonlyArray<string>,
  places: ReadonlyArray<Place>
) {
  if (account.root) return []
  const lacking = (place: Place) =>
    end.allowed(place.dataset).pipe(
      Effect.map((table) => missing(account, parse(table), place.dataset, wanted, place.where)),
      Effect.catchAll((error) =>
        Effect.as(
          Effect.logDebug(`the permissions on ${place.dataset} are not known: ${error.message}`),
          nothing
        )
      )
    )
  const lines: Array<string> = []
  for (const top of minimalRoots(places.map(({ dataset }) => dataset))) {
    if ((yield* lacking({ dataset: top, where: "both" })).length === 0) continue
    const each = yield* Effect.forEach(
      places.filter(({ dataset }) => isWithin(dataset, top)),
      lacking
    )
    const permissions = wanted.filter((permission) => each.some((some) => some.includes(permission)))
    if (permissions.length > 0) lines.push(grantLine(end, account.user, permissions, top))
  }
  return lines
})

/** What a run of the job may not do on either end though it has to: a line each. Nothing for root. */
export const missingPermissions = Effect.fnUntraced(function* (found: Survey, rollback: boolean) {
  const sources = found.items.map(({ source }): Place => ({ dataset: source.name, where: "here" }))
  const targets = placesOf(
    (dataset) => found.targets.has(dataset),
    found.items.map(({ target }) => target)
  )
  const receiving = rollback ? permissionsOf("receive", "rollback") : permissionsOf("receive")
  return [
    ...(yield* missingOn(yield* Sender, found.sender, permissionsOf("send"), sources)),
    ...(yield* missingOn(yield* Receiver, found.receiver, receiving, targets))
  ]
})

/** `as root on nas: zfs allow -u backup send,hold tank/data`. */
const grantLine = (
  end: Pick<End, "label">,
  user: string,
  permissions: ReadonlyArray<string>,
  dataset: string
): string =>
  `${user} may not ${permissions.join(", ")} on ${dataset}; as root on ${end.label}: ${allowCommand({ user, permissions, dataset })}`

/** Where a replica's permissions come from: itself, or the nearest dataset above it that exists. */
const placeOf = (exists: (dataset: string) => boolean, target: string): Place | undefined => {
  if (exists(target)) return { dataset: target, where: "here" }
  const nearest = ancestorsOf(target).findLast(exists)
  return nearest === undefined ? undefined : { dataset: nearest, where: "both" }
}

/** The same for each, once; a dataset that is named for both counts for both. */
const placesOf = (
  exists: (dataset: string) => boolean,
  targets: ReadonlyArray<string>
): ReadonlyArray<Place> => {
  const places = new Map<string, Place>()
  for (const place of targets.flatMap((target) => placeOf(exists, target) ?? [])) {
    if (places.get(place.dataset)?.where !== "both") places.set(place.dataset, place)
  }
  return [...places.values()]
}
