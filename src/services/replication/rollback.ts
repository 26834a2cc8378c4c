import * as Effect from "effect/Effect"
import type { Rollback } from "../../domain/replication/Plan.ts"
import type { Snapshot } from "../../domain/replication/State.ts"
import { at, type Commands } from "../zfs/command.ts"
import { ZfsError } from "../zfs/contract.ts"
import { destroy } from "../zfs/destroy.ts"
import { listSnapshots } from "./end.ts"

/** See Receiver.rollback. */
export const rollback = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  { destroys, to }: Rollback
) {
  const purpose = `roll ${dataset} back to @${to.name}`
  const refuse = (reason: ZfsError["reason"], why: string) =>
    new ZfsError({
      reason,
      message: `${at(commands.endpoint)}cannot ${purpose}: ${why}; nothing was destroyed`,
      transient: false
    })
  const own = (yield* listSnapshots(commands, [dataset], false)).get(dataset)
  const snapshots = own?.snapshots ?? []
  const back = snapshots.find(({ guid }) => guid === to.guid)
  if (back === undefined) return yield* refuse("Modified", "that snapshot is not there any more")
  const later = snapshots.filter(({ createtxg }) => createtxg > back.createtxg)
  const agreed = new Set(destroys.map(({ guid }) => guid))
  const others = later.filter(({ guid }) => !agreed.has(guid))
  if (others.length > 0) {
    return yield* refuse("Modified", `it would also destroy ${named(others)}, made after this was planned`)
  }
  const needed = later.filter(({ clones, holds }) => holds > 0 || clones.length > 0)
  if (needed.length > 0) return yield* refuse("Other", `held or cloned: ${named(needed)}`)
  // It would have to take the bookmarks along that are newer, too; nobody was told of those.
  const bookmarks = (own?.bookmarks ?? []).filter(({ createtxg }) => createtxg > back.createtxg)
  if (bookmarks.length > 0) {
    const names = bookmarks.map(({ name }) => `#${name}`).join(", ")
    return yield* refuse("Other", `it would also destroy the bookmarks ${names}; destroy them by hand first`)
  }
  // One by one and by guid, newest first: -r would take along what somebody makes at this moment.
  for (const { guid, name } of later.toReversed()) {
    yield* destroy(commands, `${dataset}@${name}`, guid, { spareNeeded: true, role: "rollback" })
  }
  yield* commands.run(purpose, dataset, ["rollback", `${dataset}@${back.name}`], "rollback")
})

const named = (snapshots: ReadonlyArray<Snapshot>): string =>
  snapshots.map(({ name }) => `@${name}`).join(", ")
