import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { missing, parse } from "../domain/replication/Allow.ts"
import { ancestorsOf, parentOf } from "../domain/replication/DatasetName.ts"
import type { Job } from "../domain/replication/Job.ts"
import { targetOf } from "../domain/replication/Mapping.ts"
import { allowCommand, permissionsOf, type Role } from "../domain/replication/Roles.ts"
import { minimalRoots } from "../domain/replication/Selection.ts"
import { Receiver } from "../services/Receiver.ts"
import type { Account, End } from "../services/replication/contract.ts"
import { Sender } from "../services/Sender.ts"
import { asPreflight, PreflightError } from "./Preflight.ts"

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
  const { dataset, table } = yield* nearest(end, delegation.dataset)
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
const nearest = Effect.fnUntraced(function* (end: End, dataset: string) {
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
