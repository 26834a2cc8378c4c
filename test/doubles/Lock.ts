import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { held as heldBy, Lock, lockIn } from "../../src/runs/Lock.ts"

/** Locks that exist in this layer only; `others` are held by another process. */
export const memoryLock = (others: Iterable<string> = []): Layer.Layer<Lock> => Layer.sync(Lock, () => makeLock(others))

const makeLock = (others: Iterable<string>) => {
  const held = new Set(others)
  const ours = new Set<string>()
  const acquire = (path: string) =>
    Effect.acquireRelease(
      Effect.suspend(() =>
        held.has(path)
          ? Effect.fail(heldBy(path, "pid unknown"))
          : Effect.sync(() => {
              held.add(path)
              ours.add(path)
            })
      ),
      () =>
        Effect.sync(() => {
          held.delete(path)
          ours.delete(path)
        })
    )
  return {
    acquire,
    acquireIn: (folder: string) =>
      Effect.suspend(() => (ours.has(lockIn(folder)) ? Effect.void : acquire(lockIn(folder)))),
    probe: (path: string) =>
      Effect.suspend(() => (held.has(path) ? Effect.fail(heldBy(path, "pid unknown")) : Effect.void)),
    probeIn: () => Effect.succeed(true),
    holder: (path: string) =>
      Effect.sync(() => (held.has(path) ? { pid: 4711, since: "1970-01-01T00:00:00Z" } : undefined))
  }
}
