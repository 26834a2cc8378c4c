import { hostname } from "node:os"
import * as Effect from "effect/Effect"
import type { SourceName } from "../../domain/JobIdentity.ts"
import type { Process } from "../Process.ts"
import { makeCommands } from "./command.ts"
import type { SourceInfo, ZfsService, ZfsSettings } from "./contract.ts"
import { checkTarget, infoOf, isGone, readLayout } from "./layout.ts"
import { destroyAll, marked, planPrune } from "./prune.ts"
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
    isGone: Effect.fn("Zfs.isGone")((source: SourceName) => isGone(process, commands, source)),
    marked: Effect.fn("Zfs.marked")((source: SourceInfo) => marked(process, commands, known, source)),
    snapshot: Effect.fn("Zfs.snapshot")((source: SourceInfo) =>
      takeSnapshot(process, commands, known, source)
    ),
    prune: Effect.fn("Zfs.prune")(function* (source: SourceInfo, keep: ReadonlySet<string>) {
      return yield* destroyAll(commands, yield* planPrune(process, commands, known, source, keep))
    })
  }
}
