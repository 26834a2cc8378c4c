import * as Effect from "effect/Effect"
import { missing, parse } from "../domain/replication/Allow.ts"
import { allowCommand, permissionsOf } from "../domain/replication/Roles.ts"
import { count } from "../domain/Units.ts"
import { Sender } from "../services/Sender.ts"
import type { SourceInfo } from "../services/Zfs.ts"
import { type Finding, ok, problem, warning } from "./Finding.ts"

/**
 * Whether somebody who is not root may do on the source's datasets what a run does. Root needs nothing; without `diff` a run
 * only takes longer. Never fails.
 */
export const checkRights = Effect.fnUntraced(function* ({ datasets, grant }: SourceInfo) {
  if (grant === undefined) return none
  const sender = yield* Sender
  const wanted = permissionsOf("archive")
  return yield* Effect.gen(function* () {
    const account = yield* sender.account
    const lacking = yield* Effect.forEach(datasets, (dataset) =>
      Effect.map(sender.allowed(dataset), (table) => ({
        dataset,
        permissions: missing(account, parse(table), dataset, wanted, "here")
      }))
    )
    const findings = lacking
      .filter(({ permissions }) => permissions.length > 0)
      .map(({ dataset, permissions }) => {
        const command = allowCommand({ user: account.user, permissions, dataset })
        const detail = `${account.user} may not ${permissions.join(", ")} on ${dataset}; as root: ${command}`
        return permissions.every((each) => each === "diff")
          ? warning("rights", `${detail} (without it every file is compared in each run)`)
          : problem("rights", detail)
      })
    return findings.length > 0
      ? findings
      : [ok("rights", `${account.user} may ${wanted.join(", ")} on ${count(datasets.length, "dataset")}`)]
  }).pipe(
    Effect.catchAll(({ message }) =>
      Effect.succeed([warning("rights", `not root, and ${message}; a run needs what this grants: ${grant}`)])
    )
  )
})

const none: ReadonlyArray<Finding> = []
