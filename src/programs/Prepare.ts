import * as Effect from "effect/Effect"
import { ancestorsOf, poolOf } from "../domain/replication/DatasetName.ts"
import { permissionsOf } from "../domain/replication/Roles.ts"
import { Receiver } from "../services/Receiver.ts"
import type { Preparation } from "../services/replication/contract.ts"
import { asPreflight, PreflightError } from "./Preflight.ts"
import { missingOn, type Place } from "./ReplicationPermissions.ts"

/** What a dataset that holds replicas is like: never mounted, and able to keep the access lists of Linux. */
const properties = { canmount: "off", acltype: "posix", xattr: "sa" } as const

/**
 * Makes the dataset that replicas are to be received below, or sets what it lacks. Doing it again changes
 * nothing. Fails with PreflightError when its pool or a permission is missing.
 */
export const prepare = Effect.fn("Prepare")(function* (dataset: string) {
  const receiver = yield* Receiver
  yield* mustBeAllowed(dataset)
  const report = yield* receiver.prepare(dataset, properties)
  yield* Effect.logInfo(`${dataset} on ${receiver.label}: ${inWords(report, receiver.rehearsal ?? false)}`)
  return report
})

const mustBeAllowed = Effect.fnUntraced(function* (dataset: string) {
  const receiver = yield* Receiver
  const account = yield* receiver.account
  if (account.root) return
  const place = yield* nearest(dataset)
  const lines = yield* missingOn(receiver, account, permissionsOf("prepare"), [place])
  if (lines.length > 0) return yield* new PreflightError({ message: lines.join("\n") })
}, asPreflight)

/** The dataset, or what there is above it. */
const nearest = Effect.fnUntraced(function* (dataset: string) {
  const receiver = yield* Receiver
  for (const name of [dataset, ...ancestorsOf(dataset).toReversed()]) {
    if ((yield* receiver.read(name)) === undefined) continue
    const where = name === dataset ? "here" : "both"
    return { dataset: name, where } satisfies Place
  }
  return yield* new PreflightError({
    message: `on ${receiver.label}: there is no pool ${poolOf(dataset)}; is it imported (zpool import ${poolOf(dataset)})?`
  })
})

const inWords = (report: Preparation, rehearsal: boolean): string => {
  const all = Object.entries(properties).map(([name, value]) => `${name}=${value}`)
  if (report.created) {
    const above =
      report.parents.length === 0 ? "" : `, and before it ${report.parents.join(", ")} (canmount=off)`
    return `${rehearsal ? "would be made" : "made"}, with ${all.join(", ")}${above}`
  }
  if (report.changed.length === 0) return `nothing to do, it has ${all.join(", ")}`
  return `${rehearsal ? "would set" : "set"} ${Object.entries(properties)
    .filter(([name]) => report.changed.includes(name))
    .map(([name, value]) => `${name}=${value}`)
    .join(", ")}`
}
