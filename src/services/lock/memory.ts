import * as Effect from "effect/Effect"
import { held as heldBy } from "./LockError.ts"

/** Locks that exist in this object only. */
export const makeMemory = (others: Iterable<string>) => {
  const held = new Set(others)
  return {
    acquire: (path: string) =>
      Effect.acquireRelease(
        Effect.suspend(() =>
          held.has(path) ? Effect.fail(heldBy(path, "pid unknown")) : Effect.sync(() => void held.add(path))
        ),
        () => Effect.sync(() => held.delete(path))
      ),
    probe: () => Effect.void,
    holder: (path: string) =>
      Effect.sync(() => (held.has(path) ? { pid: 4711, since: "1970-01-01T00:00:00Z" } : undefined))
  }
}
