import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { explain } from "../../domain/Errno.ts"
import { label, type Remote } from "../../domain/replication/Endpoint.ts"
import * as Ssh from "../../domain/replication/Ssh.ts"
import { Process } from "../Process.ts"

/** A login that is slower than that, or that runs something else than our command, is not waited for. */
const patience = "30 seconds"

/** As long as node can wait: the connection is there until the scope closes. */
const unlimited = 2 ** 31 - 1

/**
 * Opens one connection that all commands for `remote` share, and keeps it until the scope closes; it ends with us, however
 * we end. Gives the endpoint to use. Where it cannot be had, that is `remote` itself, each command connects by itself, and
 * the first of them says what is wrong.
 */
export const sharedConnection = Effect.fn("sharedConnection")(
  function* (remote: Remote) {
    const process = yield* Process
    const folder = yield* Effect.acquireRelease(
      Effect.tryPromise(() => fs.mkdtemp(join(tmpdir(), "zipper-ssh-"))),
      (made) => Effect.ignoreLogged(Effect.tryPromise(() => fs.rm(made, { recursive: true, force: true })))
    )
    const shared = Ssh.through(remote, join(folder, "socket"))
    const connected = yield* Deferred.make<boolean>()
    const master = yield* process
      .lines({ ...Ssh.master(shared), attached: true, timeoutMillis: unlimited }, (line) => {
        // A start-up file of the shell may have printed something before it, without a newline.
        if (line.endsWith(Ssh.ready)) Deferred.unsafeDone(connected, Effect.succeed(true))
      })
      .pipe(
        Effect.tap(({ stderr }) => Effect.logDebug(`the shared connection has ended: ${stderr.trim()}`)),
        Effect.ignoreLogged,
        Effect.ensuring(Deferred.succeed(connected, false)),
        Effect.forkScoped
      )
    const established = yield* Deferred.await(connected).pipe(
      Effect.timeoutTo({ duration: patience, onSuccess: (yes) => yes, onTimeout: () => false })
    )
    if (established) return shared
    yield* Effect.logDebug(`no connection to share with ${label(remote)}: each command connects by itself`)
    yield* Fiber.interrupt(master)
    return remote
  },
  (effect, remote) =>
    Effect.catchAll(effect, ({ error }) =>
      Effect.as(Effect.logDebug(`each command connects by itself: ${explain(error)}`), remote)
    )
)
