import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { explain } from "../../domain/Errno.ts"
import type { Remote } from "../../domain/replication/Endpoint.ts"
import * as Ssh from "../../domain/replication/Ssh.ts"
import { Process } from "../Process.ts"

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
    yield* process
      .lines({ ...Ssh.master(shared), attached: true, timeoutMillis: unlimited }, (line) => {
        if (line === Ssh.ready) Deferred.unsafeDone(connected, Effect.succeed(true))
      })
      .pipe(
        Effect.tap(({ stderr }) => Effect.logDebug(`the shared connection has ended: ${stderr.trim()}`)),
        Effect.ignoreLogged,
        Effect.ensuring(Deferred.succeed(connected, false)),
        Effect.forkScoped
      )
    return (yield* Deferred.await(connected)) ? shared : remote
  },
  (effect, remote) =>
    Effect.catchAll(effect, ({ error }) =>
      Effect.as(Effect.logDebug(`each command connects by itself: ${explain(error)}`), remote)
    )
)
