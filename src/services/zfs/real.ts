import { hostname } from "node:os"
import * as Effect from "effect/Effect"
import type { Process } from "../Process.ts"
import { makeCommands } from "./command.ts"
import type { SourceInfo, ZfsService, ZfsSettings } from "./contract.ts"
import { checkTarget, infoOf, readLayout } from "./layout.ts"
import { destroyAll, planPrune } from "./prune.ts"
import { takeSnapshot } from "./snapshot.ts"

/** OpenZFS. */
export const makeReal = (process: typeof Process.Service, settings: ZfsSettings): ZfsService => {
  const commands = makeCommands(process)
  const known = { ...settings, hostname: settings.hostname ?? hostname() }
  return {
    locate: Effect.fn("Zfs.locate")(function* (path: string) {
      return infoOf(path, yield* readLayout(process, commands, path))
    }),
    checkTarget: Effect.fn("Zfs.checkTarget")((path: string) => checkTarget(process, commands, path)),
    snapshot: Effect.fn("Zfs.snapshot")((source: SourceInfo) =>
      takeSnapshot(process, commands, known, source.path)
    ),
    prune: Effect.fn("Zfs.prune")(function* (source: SourceInfo, keep: ReadonlySet<string>) {
      return yield* destroyAll(commands, yield* planPrune(process, commands, known, source.datasets, keep))
    })
  }
}
