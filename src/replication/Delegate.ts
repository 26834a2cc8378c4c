import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { asPreflight, PreflightError } from "../runs/Run.ts"
import { document, flag, optional, orNull, text } from "../text/Document.ts"
import { allowCommand, missing, parseAllow, permissionsOf, type Role } from "../zfs/Allow.ts"
import { parentOf, poolOf } from "../zfs/DatasetName.ts"
import { commandText } from "../zfs/ZfsCommand.ts"
import type { End } from "./End.ts"
import { type Preparation, Receiver } from "./Receiver.ts"
import { minimalRoots } from "./Selection.ts"
import { Sender } from "./Sender.ts"
import { failPreflight, missingOn, nearestOf, poolMissing, snapshotRoles, targetNames } from "./Survey.ts"

/** What a user has to be allowed to do on a dataset and below it. */
export interface Delegation {
  readonly end: "sender" | "receiver"
  readonly roles: readonly [Role, ...ReadonlyArray<Role>]
  /** Undefined: the user that we are on that end. */
  readonly user: string | undefined
  readonly dataset: string
}

/** The permissions that a delegation lacks on its end. */
export interface Grant {
  readonly label: string
  readonly user: string
  /** That of the delegation; or the nearest one above it, when a run would make it. */
  readonly dataset: string
  readonly permissions: ReadonlyArray<string>
  readonly command: string
}

/** A job needs `send` on what it sends, and `receive` above its replicas, each with what its other keys ask for. */
export const delegationsOf = (job: Job, user?: string): ReadonlyArray<Delegation> => {
  const above = targetNames(job, job.datasets).map((target) => job.destination ?? parentOf(target) ?? target)
  const roles: Delegation["roles"] = job.retention === undefined ? ["receive"] : ["receive", "prune"]
  const sending: Delegation["roles"] = ["send", ...(job.bookmark ? (["bookmark"] as const) : []), ...snapshotRoles(job)]
  return [
    ...minimalRoots(job.datasets).map((dataset): Delegation => ({ end: "sender", roles: sending, user, dataset })),
    ...minimalRoots(above).map((dataset): Delegation => ({ end: "receiver", roles, user, dataset }))
  ]
}

export const commandsOf = (
  delegations: ReadonlyArray<Delegation & { readonly user: string }>
): ReadonlyArray<Pick<Delegation, "end"> & { readonly command: string }> =>
  delegations.map(({ dataset, end, roles, user }) => ({
    end,
    command: allowCommand({ user, dataset, permissions: permissionsOf(...roles) })
  }))

/** What is lacking, by what `zfs allow` prints. Fails with PreflightError when an end does not answer. */
export const checkDelegations = Effect.fn("Delegate.check")(function* (delegations: ReadonlyArray<Delegation>) {
  const found = yield* Effect.forEach(delegations, lacking)
  return found.flat().map(({ grant }) => grant)
}, asPreflight)

/** Grants and logs what is lacking, and gives it back. A ZfsError at one of them leaves those before it granted. */
export const applyDelegations = Effect.fn("Delegate.apply")(function* (delegations: ReadonlyArray<Delegation>) {
  const found = yield* Effect.forEach(delegations, lacking).pipe(asPreflight)
  for (const { end, grant } of found.flat()) {
    yield* end.grant(grant.user, grant.permissions, grant.dataset)
    yield* Effect.logInfo(`on ${end.label}: ${grant.user} may now ${grant.permissions.join(", ")} on ${grant.dataset}`)
  }
  return found.flat().map(({ grant }) => grant)
})

/** What a dataset for replicas is like: never mounted, and able to hold Linux access lists. */
const properties = { canmount: "off", acltype: "posix", xattr: "sa" } as const

/** Makes a dataset for replicas, or sets what it lacks. Fails with PreflightError without its pool or a permission. */
export const prepare = Effect.fn("Prepare")(function* (dataset: string) {
  const receiver = yield* Receiver
  yield* mustBeAllowed(dataset)
  const report = yield* receiver.prepare(dataset, properties)
  yield* Effect.logInfo(`${dataset} on ${receiver.label}: ${describe(report, receiver.dryRun ?? false)}`)
  if (report.changed.includes("canmount")) {
    const back = `${commandText(["set", "canmount=on", dataset])} && ${commandText(["mount", dataset])}`
    const unmounts = receiver.dryRun === true ? "would unmount" : "unmounts"
    yield* Effect.logWarning(
      `canmount=off ${unmounts} ${dataset}: its own files are not visible then; if it is in use, prepare another dataset, and on ${receiver.label}: ${back}`
    )
  }
  return report
})

const mustBeAllowed = Effect.fnUntraced(function* (dataset: string) {
  const receiver = yield* Receiver
  const account = yield* receiver.account
  if (account.root) return
  const nearest = yield* nearestOf(dataset, (name) => receiver.read(name))
  if (nearest === undefined) {
    return yield* new PreflightError({ message: poolMissing(receiver.label, poolOf(dataset)) })
  }
  const scope = { dataset: nearest.name, where: nearest.name === dataset ? "here" : "both" } as const
  yield* failPreflight(yield* missingOn(receiver, account, permissionsOf("prepare"), [scope]))
}, asPreflight)

const describe = ({ changed, created, parents }: Preparation, dryRun: boolean): string => {
  const all = Object.entries(properties)
  const list = (entries: typeof all) => entries.map(([name, value]) => `${name}=${value}`).join(", ")
  if (created) {
    const above = parents.length === 0 ? "" : `, and before it ${parents.join(", ")} (canmount=off)`
    return `${dryRun ? "would be made" : "made"}, with ${list(all)}${above}`
  }
  if (changed.length === 0) return `nothing to do, it has ${list(all)}`
  return `${dryRun ? "would set" : "set"} ${list(all.filter(([name]) => changed.includes(name)))}`
}

const lacking = Effect.fnUntraced(function* (delegation: Delegation) {
  const end: End = delegation.end === "sender" ? yield* Sender : yield* Receiver
  const account = yield* end.account
  const nearest = yield* nearestOf(delegation.dataset, (name) =>
    Effect.catchIf(
      end.allowed(name),
      ({ reason }) => reason === "NotFound",
      () => Effect.succeed(undefined)
    )
  )
  if (nearest === undefined) {
    const message = `on ${end.label}: there is no dataset ${delegation.dataset}, nor its pool`
    return yield* new PreflightError({ message })
  }
  const { found: table, name: dataset } = nearest
  // Only these two roles make the dataset that is not there yet, so that rights above it serve them.
  const makesDataset = delegation.roles.every((role) => role === "receive" || role === "prepare")
  if (dataset !== delegation.dataset && !makesDataset) {
    return yield* new PreflightError({
      message: `on ${end.label}: there is no dataset ${delegation.dataset}, and what is asked for it is not granted on ${dataset} above; is the name right? (zipper prepare makes one for replicas)`
    })
  }
  const { user: asked = account.user } = delegation
  // The groups of another user are not known.
  const subject = asked === account.user ? account : { user: asked, groups: [], root: asked === "root" }
  const permissions = missing(subject, parseAllow(table), dataset, permissionsOf(...delegation.roles), "both")
  const { user } = subject
  const grant: Grant = {
    label: end.label,
    user,
    dataset,
    permissions,
    command: allowCommand({ user, permissions, dataset })
  }
  return permissions.length === 0 ? [] : [{ end, grant }]
})

/** What `prepare --json` prints. */
export const PrepareDocument = document({
  dry_run: flag("nothing was changed"),
  host: orNull(text("the other host; null for this one")),
  datasets: Schema.Array(
    Schema.Struct({
      dataset: text("what replicas are written below"),
      result: Schema.Literal("made", "set", "nothing_to_do"),
      parents: Schema.Array(text("a dataset above it that was not there and was made too")),
      properties: Schema.Array(text("name of a property that it lacked"))
    })
  )
})
export type PrepareDocument = typeof PrepareDocument.Type

/** What `delegate --json` prints. */
export const DelegateDocument = document({
  action: Schema.Literal("print", "check", "apply"),
  dry_run: flag("nothing was changed"),
  ok: flag("nothing is missing; a check of which something is has exit status 1"),
  rights: Schema.Array(
    Schema.Struct({
      host: text("the end, as in the messages: this host, or another"),
      user: text("who is meant"),
      dataset: text("where, with everything below it"),
      permissions: Schema.Array(text("as zfs allow calls it")),
      command: optional(text("what grants it, for root on that host; left out where root needs none"))
    })
  ).annotations({ description: "print: what is needed; check: what is missing; apply: what was granted" })
})
export type DelegateDocument = typeof DelegateDocument.Type
