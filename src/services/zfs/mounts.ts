import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import { type Mount, parseMountInfo, parseMountOutput } from "../../domain/ZfsList.ts"
import type { Process } from "../Process.ts"
import { ZfsError } from "./contract.ts"

/** What is mounted where, as the kernel has it: the mountpoint property only says where it should be. */
export const readMounts = (process: typeof Process.Service): Effect.Effect<ReadonlyArray<Mount>, ZfsError> =>
  isLinux
    ? Effect.tryPromise({
        try: () => fs.readFile("/proc/self/mountinfo", "latin1"),
        catch: (cause) => unreadable(Errno.explain(cause), cause)
      }).pipe(Effect.map(parseMountInfo))
    : process.run({ program: "mount", args: [] }).pipe(
        Effect.mapError((cause) => unreadable(cause.message, cause)),
        Effect.flatMap(({ exitCode, stderr, stdout }) =>
          exitCode === 0
            ? Effect.succeed(parseMountOutput(stdout))
            : Effect.fail(unreadable(stderr.trim(), undefined))
        )
      )

const isLinux = process.platform === "linux"

const unreadable = (why: string, cause: unknown): ZfsError =>
  new ZfsError({
    reason: "Other",
    message: `cannot read the list of mounted file systems: ${why}`,
    transient: true,
    cause
  })
