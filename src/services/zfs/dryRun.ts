import { hostname } from "node:os"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { noEvidence } from "../../domain/Changes.ts"
import type { SourceName } from "../../domain/JobIdentity.ts"
import * as SnapshotName from "../../domain/SnapshotName.ts"
import { sourceOf } from "../../domain/SourceLayout.ts"
import type { Process } from "../Process.ts"
import { makeCommands } from "./command.ts"
import type { SnapshotHandle, SourceInfo, ZfsService, ZfsSettings } from "./contract.ts"
import { checkTarget, infoOf, isGone, readLayout } from "./layout.ts"
import { marked, planPrune } from "./prune.ts"

/** OpenZFS without changing anything. */
export const makeDryRun = (process: typeof Process.Service, settings: ZfsSettings): ZfsService => {
  const commands = makeCommands(process)
  const known = { ...settings, hostname: settings.hostname ?? hostname() }
  // A run prunes at its start and at its end; what nobody destroys is found both times.
  const announced = new Set<string>()
  return {
    locate: Effect.fn("Zfs.locate")(function* (path: string) {
      return infoOf(path, yield* readLayout(process, commands, path))
    }),
    checkTarget: Effect.fn("Zfs.checkTarget")((path: string) => checkTarget(process, commands, path)),
    isGone: Effect.fn("Zfs.isGone")((source: SourceName) => isGone(process, commands, source)),
    marked: Effect.fn("Zfs.marked")((source: SourceInfo) => marked(process, commands, known, source)),
    snapshot: Effect.fn("Zfs.snapshot")(function* (source: SourceInfo) {
      const layout = yield* readLayout(process, commands, source.path)
      const name = SnapshotName.format(settings.prefix, yield* Clock.currentTimeMillis)
      yield* Effect.logInfo(
        `would take a snapshot of ${source.datasets.join(", ")}; looking at the live dataset`
      )
      const handle: SnapshotHandle = {
        view: {
          label: "live (dry run)",
          // Without guids it is no snapshot, but what becomes of the others can be planned with it.
          snapshot: { name, guids: {} },
          root: sourceOf(layout),
          grafts: [],
          blocked: layout.blocked,
          frozen: false
        },
        // To compare with the live dataset, zfs diff would take a snapshot of its own.
        changesSince: () => Effect.succeed(noEvidence("a dry run compares the live dataset file by file")),
        hold: () => Effect.void,
        keep: Effect.void
      }
      return handle
    }),
    prune: Effect.fn("Zfs.prune")(function* (source: SourceInfo, keep: ReadonlySet<string>) {
      const plan = yield* planPrune(process, commands, known, source, keep)
      yield* Effect.forEach(
        plan.destroy.filter(({ name }) => !announced.has(name)),
        ({ name }) => Effect.logInfo(`would destroy the snapshot ${name}`),
        { discard: true }
      )
      for (const { name } of plan.destroy) announced.add(name)
      return { destroyed: [], spared: plan.spare }
    })
  }
}
