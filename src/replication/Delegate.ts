import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { type Job, targetOf } from "../config/ReplicationJob.ts"
import { asPreflight, PreflightError } from "../runs/Run.ts"
import { document, flag, optional, orNull, text } from "../text/Document.ts"
import { allowCommand, missing, parse, permissionsOf, type Role } from "../zfs/Allow.ts"
import { ancestorsOf, parentOf, poolOf } from "../zfs/DatasetName.ts"
import type { Account, End, Preparation } from "./End.ts"
import { Receiver } from "./Receiver.ts"
import { minimalRoots } from "./Selection.ts"
import { Sender } from "./Sender.ts"
import { missingOn, type Place } from "./Survey.ts"

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

/** What somebody has to be allowed to do, there and below. */
export interface Delegation {
  readonly end: "sender" | "receiver"
  readonly roles: readonly [Role, ...ReadonlyArray<Role>]
  /** Whoever we are on that end, when left out. */
  readonly user: string | undefined
  readonly dataset: string
}

/** A delegation as it was settled on its end. */
export interface Grant {
  /** The end, for messages. */
  readonly label: string
  readonly user: string
  /** What was asked for; or, when its end has no such dataset yet and a run would make it, the nearest one above it. */
  readonly dataset: string
  readonly permissions: ReadonlyArray<string>
  readonly command: string
}

/** What a job needs: `send` on what it sends, `receive` above where it goes, `prune` there too if it has a retention. */
export const delegationsOf = (job: Job, user?: string): ReadonlyArray<Delegation> => {
  const above = job.datasets.flatMap((dataset) =>
    Either.match(targetOf(job, dataset), {
      onLeft: () => [],
      onRight: (target) => job.destination ?? parentOf(target) ?? target
    })
  )
  return [
    ...minimalRoots(job.datasets).map(
      (dataset): Delegation => ({ end: "sender", roles: ["send"], user, dataset })
    ),
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

/** The command for each, to be run as root on its end. Asks nobody. */
export const commandsOf = (
  delegations: ReadonlyArray<Delegation & { readonly user: string }>
): ReadonlyArray<Pick<Delegation, "end"> & { readonly command: string }> =>
  delegations.map(({ dataset, end, roles, user }) => ({
    end,
    command: allowCommand({ user, dataset, permissions: permissionsOf(...roles) })
  }))

/** The commands for what is not allowed yet, as `zfs allow` has it now. */
export const checkDelegations = Effect.fn("Delegate.check")(function* (
  delegations: ReadonlyArray<Delegation>
) {
  const found = yield* Effect.forEach(delegations, lacking)
  return found.flatMap(({ grant }) => (grant === undefined ? [] : [grant]))
}, asPreflight)

/** Allows what is not allowed yet, and says so; what it did comes back. */
export const applyDelegations = Effect.fn("Delegate.apply")(function* (
  delegations: ReadonlyArray<Delegation>
) {
  const found = yield* Effect.forEach(delegations, lacking).pipe(asPreflight)
  return yield* Effect.forEach(
    found.flatMap(({ end, grant }) => (grant === undefined ? [] : [{ end, grant }])),
    Effect.fnUntraced(function* ({ end, grant }) {
      yield* end.grant(grant.user, grant.permissions, grant.dataset)
      yield* Effect.logInfo(
        `on ${end.label}: ${grant.user} may now ${grant.permissions.join(", ")} on ${grant.dataset}`
      )
      return grant
    })
  )
})

/** What one delegation lacks. */
const lacking = Effect.fnUntraced(function* (delegation: Delegation) {
  const end: End = delegation.end === "sender" ? yield* Sender : yield* Receiver
  const account = yield* end.account
  const subject = subjectOf(account, delegation.user)
  const { dataset, table } = yield* nearestAllowed(end, delegation.dataset)
  if (dataset !== delegation.dataset && !delegation.roles.every(makesDatasets)) {
    return yield* new PreflightError({
      message: `on ${end.label}: there is no dataset ${delegation.dataset}, and what is asked for it is not granted on ${dataset} above; is the name right? (zipper prepare makes one for replicas)`
    })
  }
  const permissions = missing(subject, parse(table), dataset, permissionsOf(...delegation.roles), "both")
  const { user } = subject
  const grant: Grant | undefined =
    permissions.length === 0
      ? undefined
      : {
          label: end.label,
          user,
          dataset,
          permissions,
          command: allowCommand({ user, permissions, dataset })
        }
  return { end, grant }
})

/** Whether it is there to make the dataset too: then the rights have to be in force above it. All else is for what is there. */
const makesDatasets = (role: Role): boolean => role === "receive" || role === "prepare"

// Of somebody else's groups we know nothing.
const subjectOf = (account: Account, user: string | undefined): Account =>
  user === undefined || user === account.user ? account : { user, groups: [], root: user === "root" }

/** The dataset or the nearest one above it, and what is allowed there. */
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
  const place = yield* nearestPresent(dataset)
  const lines = yield* missingOn(receiver, account, permissionsOf("prepare"), [place])
  if (lines.length > 0) return yield* new PreflightError({ message: lines.join("\n") })
}, asPreflight)

/** The dataset, or what there is above it. */
const nearestPresent = Effect.fnUntraced(function* (dataset: string) {
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
