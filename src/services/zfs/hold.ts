import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Errno from "../../domain/Errno.ts"
import * as RawPath from "../../domain/RawPath.ts"
import { ZfsError } from "./contract.ts"

/** The folder in which the kernel shows a snapshot of the dataset that is mounted at `mountpoint`. */
export const inSnapshot = (mountpoint: RawPath.RawPath, name: string): RawPath.RawPath =>
  RawPath.join(mountpoint, RawPath.fromText(`.zfs/snapshot/${name}`))

/**
 * Opens the folder of a snapshot, which mounts it, and keeps it open, and so mounted, until the scope closes. A snapshot that
 * cannot be mounted is an empty folder on Linux: that is an error here. `what` names the snapshot in the message.
 */
export const hold = (root: RawPath.RawPath, what: string): Effect.Effect<void, ZfsError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => fs.open(RawPath.toBuffer(root), constants.O_RDONLY | constants.O_DIRECTORY),
      catch: (cause) => unreadable(root, what, cause)
    }),
    // What close reports is about writing, and nothing was written.
    (folder) => Effect.promise(() => Promise.allSettled([folder.close()]))
  ).pipe(
    Effect.flatMap((folder) =>
      Effect.tryPromise({
        try: async () => {
          const above = RawPath.fromLatin1(root.slice(0, root.lastIndexOf("/")))
          const [own, parent] = await Promise.all([
            folder.stat({ bigint: true }),
            fs.stat(RawPath.toBuffer(above), { bigint: true })
          ])
          return own.dev !== parent.dev
        },
        catch: (cause) => unreadable(root, what, cause)
      })
    ),
    Effect.filterOrFail(
      (isMounted) => isMounted,
      () => notMounted(root, what)
    ),
    Effect.asVoid
  )

const notMounted = (root: RawPath.RawPath, what: string): ZfsError =>
  new ZfsError({
    reason: "Unmounted",
    message: `${what} cannot be read: the system did not mount it at ${RawPath.display(root)}, where only an empty folder is; see what dmesg says, and whether the limit of mounts is reached (sysctl fs.mount-max)`,
    transient: false
  })

const unreadable = (root: RawPath.RawPath, what: string, cause: unknown): ZfsError =>
  new ZfsError({
    reason: "Unmounted",
    message: `${what} cannot be read at ${RawPath.display(root)}: ${Errno.explain(cause)}`,
    transient: Errno.isTransientCode(Errno.codeOf(cause)),
    cause
  })
