import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Errno from "../../domain/Errno.ts"
import * as RawPath from "../../domain/RawPath.ts"
import { ZfsError } from "./contract.ts"

/** The absolute path of the source folder without symlinks. */
export const resolveFolder = Effect.fnUntraced(function* (path: string) {
  const resolved = yield* Effect.tryPromise({
    try: async () => {
      const real = await fs.realpath(path, { encoding: "buffer" })
      return { real: RawPath.fromBuffer(real), isFolder: (await fs.stat(real)).isDirectory() }
    },
    catch: (cause) => cannotUse(path, Errno.explain(cause), cause)
  })
  return resolved.isFolder ? resolved.real : yield* cannotUse(path, "it is not a folder", undefined)
})

/** The absolute path of a folder without symlinks; undefined when there is none that can be reached. */
export const realPath = (path: string): Effect.Effect<RawPath.RawPath | undefined> =>
  Effect.tryPromise(() => fs.realpath(path, { encoding: "buffer" })).pipe(
    Effect.map(RawPath.fromBuffer),
    Effect.orElseSucceed(() => undefined)
  )

/** Whether there is nothing at the path. One that cannot be looked at is somewhere. */
export const isNowhere = (path: string): Effect.Effect<boolean> =>
  Effect.tryPromise(() => fs.lstat(path)).pipe(
    Effect.as(false),
    Effect.catchAll(({ error }) => Effect.succeed(["ENOENT", "ENOTDIR"].includes(Errno.codeOf(error) ?? "")))
  )

/** Lists a folder, only to see that it can be read. */
export const canRead = (path: RawPath.RawPath): Effect.Effect<void, unknown> =>
  Effect.tryPromise({ try: () => fs.opendir(RawPath.toBuffer(path)), catch: (cause) => cause }).pipe(
    Effect.flatMap((folder) => Effect.tryPromise({ try: () => folder.close(), catch: (cause) => cause }))
  )

const cannotUse = (path: string, why: string, cause: unknown): ZfsError =>
  new ZfsError({
    reason: Errno.codeOf(cause) === "EACCES" ? "PermissionDenied" : "NotFound",
    message: `cannot use the source folder ${path}: ${why}${Errno.isTransientCode(Errno.codeOf(cause)) ? "" : "; check source_path"}`,
    transient: Errno.isTransientCode(Errno.codeOf(cause)),
    cause
  })
