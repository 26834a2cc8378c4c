import * as Effect from "effect/Effect"
import type { Invocation, Process } from "../Process.ts"
import { LockError } from "./LockError.ts"

/** The BSDs lock while opening a file; elsewhere flock(1) locks a descriptor that it inherits. */
export const hasExlock = process.platform === "freebsd" || process.platform === "darwin"

/** Runs flock(1) for the lock file at `path`. */
export const runFlock = (
  runner: typeof Process.Service,
  path: string,
  options: Pick<Invocation, "args" | "inherit">
) =>
  runner.run({ program: "flock", timeoutMillis: 30_000, ...options }).pipe(
    Effect.mapError(
      (cause) =>
        new LockError({
          reason: "Unusable",
          path,
          message:
            cause.reason === "NotFound"
              ? `cannot lock ${path}: the program flock is missing; install it (package util-linux)`
              : `cannot lock ${path}: ${cause.message}`,
          cause
        })
    )
  )
