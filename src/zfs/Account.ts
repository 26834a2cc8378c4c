import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Process } from "../system/Process.ts"
import { quoted } from "../text/Text.ts"
import { commandOn, type Endpoint } from "./Endpoint.ts"
import { at, type Commands, type Context, failure, readOutput, withoutLogin, ZfsError } from "./ZfsCommand.ts"

/** The user of our commands on an end. */
export interface Account {
  readonly user: string
  readonly groups: ReadonlyArray<string>
  readonly root: boolean
}

/** Fails as Unreachable, with what ssh printed, when the host does not answer. */
export const readAccount = Effect.fnUntraced(function* (process: typeof Process.Service, context: Context) {
  const { endpoint } = context
  const asked = process.run(commandOn(endpoint, { program: "sh", args: ["-c", whoami] }))
  // The first command of a run: what the login prints is said here, once.
  const completed = yield* withoutLogin(context, asked, Effect.logInfo)
  if (completed.exitCode !== 0) return yield* failure("log in", "", completed, context)
  return yield* parseAccount(completed.stdout, endpoint)
})

/** What `zfs allow DATASET` prints; the dataset must exist. */
export const readAllowed = Effect.fnUntraced(function* (commands: Commands, dataset: string) {
  const purpose = `read the permissions on ${dataset}`
  const printed = utf8(yield* commands.run(purpose, dataset, ["allow", dataset]))
  // Nothing is printed where nothing is granted.
  const isTable = printed === "" || printed.startsWith("---- Permissions on ")
  return yield* readOutput(commands, purpose, isTable ? Either.right(printed) : Either.left(printed.trim()))
})

/** Programs' output comes one character a byte; names of users may be more than ASCII. */
export const utf8 = (latin1: string): string => Buffer.from(latin1, "latin1").toString("utf8")

/** A user without an entry in the user database has a number only, which zfs takes as well. */
const whoami = "id -u; id -un 2>/dev/null || id -u; id -Gn 2>/dev/null || id -G"

const parseAccount = (stdout: string, endpoint: Endpoint): Effect.Effect<Account, ZfsError> => {
  const [id = "", user = "", groups = "", ...more] = utf8(stdout).trimEnd().split("\n")
  if (/^[0-9]+$/.test(id) && user !== "" && more.length === 0) {
    return Effect.succeed({ user, groups: groups.split(" ").filter((group) => group !== ""), root: id === "0" })
  }
  // A shell that prints something on every login would print it into our streams.
  const why = `the login prints ${quoted(stdout.slice(0, 80))} where only our commands should; see that the start-up files of the shell (.bashrc, .cshrc) print nothing without a terminal`
  return Effect.fail(new ZfsError({ reason: "Other", message: `${at(endpoint)}${why}`, transient: false }))
}
