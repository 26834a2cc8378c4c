import * as RawPath from "../domain/RawPath.ts"
import { gather, type Restored, type RestoreFailure } from "../domain/RestorePlan.ts"
import { shareOf } from "./ExtractShared.ts"
import type { FileFailure } from "./ExtractSlice.ts"

/** Counts what becomes of a restore, which may be asked for at any moment. `shared`: see {@link shareOf}. */
export const makeTally = (shared: SharedArrayBuffer) => {
  const { figures } = shareOf(shared)
  const failures = gather<RestoreFailure>()
  const unremoved: Array<string> = []
  const counts = { folders: 0, missing: 0, kept: 0 }
  let gaveUp: string | undefined
  return {
    madeFolder: (): void => {
      counts.folders += 1
    },
    fail: ({ error, kind, path }: FileFailure): void => {
      if (kind !== "attributes") counts[kind] += 1
      failures.add(() => ({ path: RawPath.display(path), error, kind }))
    },
    giveUp: (reason: string | undefined): void => {
      gaveUp ??= reason
    },
    couldNotRemove: (messages: ReadonlyArray<string>): void => {
      unremoved.push(...messages)
    },
    restored: (): Restored => {
      const { bytes, files, replaced } = figures()
      return { files, bytes, replaced, ...counts, failures: failures.some(), unremoved, gaveUp }
    }
  }
}

export type Tally = ReturnType<typeof makeTally>
