import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Job } from "../config/ReplicationJob.ts"
import { asPreflight, PreflightError } from "../runs/Run.ts"
import { document, flag, optional, orNull, text } from "../text/Document.ts"
import { allowCommand, missing, parseAllow, permissionsOf, type Role } from "../zfs/Allow.ts"
import { ancestorsOf, parentOf, poolOf } from "../zfs/DatasetName.ts"
import type { Account, End } from "./End.ts"
import { type Preparation, Receiver } from "./Receiver.ts"
import { minimalRoots } from "./Selection.ts"
import { Sender } from "./Sender.ts"
import { missingOn, type PermissionScope, poolMissing, requirePermissions, targetNames } from "./Survey.ts"

/** What a user has to be allowed to do on a dataset and below it. */
export interface Delegation {
  readonly end: "sender" | "receiver"
  readonly roles: readonly [Role, ...ReadonlyArray<Role>]
  /** Undefined: the user that we are on that end. */
  readonly user: string | undefined
  readonly dataset: string
}

/** A delegation as it was settled on its end. */
export interface Grant {
  readonly label: string
  readonly user: string
  /** What was asked for; or, when its end has no such dataset yet and a run would make it, the nearest one above it. */
  readonly dataset: string
  readonly permissions: ReadonlyArray<string>
  readonly command: string
}

/** What a job needs: `send` on what it sends, `receive` above where it goes, `prune` there too if it has a retention. */
export const delegationsOf = (job: Job, user?: string): ReadonlyArray<Delegation> => {
  const above = targetNames(job, job.datasets).map((target) => job.destination ?? parentOf(target) ?? target)
  return [
    ...minimalRoots(job.datasets).map((dataset): Delegation => ({ end: "sender", roles: ["send"], user, dataset })),
    ...minimalRoots(above).map(
      (dataset): Delegation => ({
        end: "receiver",
        roles: job.retention === undefined ? ["receive"] : ["receive", "prune"],
        user,
        dataset
      })
    )
  ]
}

export const commandsOf = (
  delegations: ReadonlyArray<Delegation & { readonly user: string }>
): ReadonlyArray<Pick<Delegation, "end"> & { readonly command: string }> =>
  delegations.map(({ dataset, end, roles, user }) => ({
    end,
    command: allowCommand({ user, dataset, permissions: permissionsOf(...roles) })
  }))

export const checkDelegations = Effect.fn("Delegate.check")(function* (delegations: ReadonlyArray<Delegation>) {
  const found = yield* Effect.forEach(delegations, lacking)
  return found.flat().map(({ grant }) => grant)
}, asPreflight)

/** Allows what is not allowed yet, logs it, and gives it back. */
export const applyDelegations = Effect.fn("Delegate.apply")(function* (delegations: ReadonlyArray<Delegation>) {
  const found = yield* Effect.forEach(delegations, lacking).pipe(asPreflight)
  return yield* Effect.forEach(
    found.flat(),
    Effect.fnUntraced(function* ({ end, grant }) {
      yield* end.grant(grant.user, grant.permissions, grant.dataset)
      yield* Effect.logInfo(
        `on ${end.label}: ${grant.user} may now ${grant.permissions.join(", ")} on ${grant.dataset}`
      )
      return grant
    })
  )
})

/**
 * Makes the dataset for replicas, or sets what it lacks. Fails with PreflightError when its pool or a permission is
 * missing.
 */
export const prepare = Effect.fn("Prepare")(function* (dataset: string) {
  const receiver = yield* Receiver
  yield* mustBeAllowed(dataset)
  const report = yield* receiver.prepare(dataset, properties)
  yield* Effect.logInfo(`${dataset} on ${receiver.label}: ${inWords(report, receiver.dryRun ?? false)}`)
  return report
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

/** What one delegation lacks: one grant, or none. */
const lacking = Effect.fnUntraced(function* (delegation: Delegation) {
  const end: End = delegation.end === "sender" ? yield* Sender : yield* Receiver
  const account = yield* end.account
  const subject = subjectOf(account, delegation.user)
  const { dataset, table } = yield* nearestAllowed(end, delegation.dataset)
  // Only these two roles make the dataset that is not there yet, so that rights above it serve them.
  const makesDataset = delegation.roles.every((role) => role === "receive" || role === "prepare")
  if (dataset !== delegation.dataset && !makesDataset) {
    return yield* new PreflightError({
      message: `on ${end.label}: there is no dataset ${delegation.dataset}, and what is asked for it is not granted on ${dataset} above; is the name right? (zipper prepare makes one for replicas)`
    })
  }
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

// The groups of another user are not known.
const subjectOf = (account: Account, user: string | undefined): Account =>
  user === undefined || user === account.user ? account : { user, groups: [], root: user === "root" }

const nearestAllowed = Effect.fnUntraced(function* (end: End, dataset: string) {
  for (const name of [dataset, ...ancestorsOf(dataset).toReversed()]) {
    const table = yield* end.allowed(name).pipe(
      Effect.catchIf(
        ({ reason }) => reason === "NotFound",
        () => Effect.succeed(undefined)
      )
    )
    if (table !== undefined) return { dataset: name, table }
  }
  return yield* new PreflightError({
    message: `on ${end.label}: there is no dataset ${dataset}, nor its pool`
  })
})

/** What a dataset for replicas is like: never mounted, and able to hold Linux access lists. */
const properties = { canmount: "off", acltype: "posix", xattr: "sa" } as const

const mustBeAllowed = Effect.fnUntraced(function* (dataset: string) {
  const receiver = yield* Receiver
  const account = yield* receiver.account
  if (account.root) return
  const scope = yield* nearestPresent(dataset)
  yield* requirePermissions(yield* missingOn(receiver, account, permissionsOf("prepare"), [scope]))
}, asPreflight)

const nearestPresent = Effect.fnUntraced(function* (dataset: string) {
  const receiver = yield* Receiver
  for (const name of [dataset, ...ancestorsOf(dataset).toReversed()]) {
    if ((yield* receiver.read(name)) === undefined) continue
    return { dataset: name, where: name === dataset ? "here" : "both" } satisfies PermissionScope
  }
  return yield* new PreflightError({
    message: poolMissing(receiver.label, poolOf(dataset))
  })
})

const inWords = (report: Preparation, dryRun: boolean): string => {
  const assignments = (entries: ReadonlyArray<[string, string]>) =>
    entries.map(([name, value]) => `${name}=${value}`).join(", ")
  const all = assignments(Object.entries(properties))
  if (report.created) {
    const above = report.parents.length === 0 ? "" : `, and before it ${report.parents.join(", ")} (canmount=off)`
    return `${dryRun ? "would be made" : "made"}, with ${all}${above}`
  }
  if (report.changed.length === 0) return `nothing to do, it has ${all}`
  const changed = Object.entries(properties).filter(([name]) => report.changed.includes(name))
  return `${dryRun ? "would set" : "set"} ${assignments(changed)}`
}
