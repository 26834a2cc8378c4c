import * as Effect from "effect/Effect"
import { type Endpoint, label } from "../../domain/replication/Endpoint.ts"
import { type Own, readSnapshots, snapshotColumns } from "../../domain/replication/Listing.ts"
import { allowCommand, type Role } from "../../domain/replication/Roles.ts"
import * as Ssh from "../../domain/replication/Ssh.ts"
import { quoted } from "../../domain/Text.ts"
import type { Completed, Process } from "../Process.ts"
import {
  at,
  type Commands,
  failure,
  isOfZfs,
  makeCommands,
  notRun,
  understood,
  userName
} from "../zfs/command.ts"
import { spoken } from "../zfs/connection.ts"
import { ZfsError } from "../zfs/contract.ts"
import type { Account, End } from "./contract.ts"

/** What both ends are made of: zfs there, and the part of the contract that is the same. */
export const makeEnd = (
  process: typeof Process.Service,
  endpoint: Endpoint,
  role: Role
): { readonly commands: Commands; readonly end: End } => {
  let known: string | undefined
  const user = () => known ?? (endpoint._tag === "Remote" ? (endpoint.user ?? userName()) : userName())
  const commands = makeCommands(process, endpoint, { role, user })
  const account = Effect.fn("End.account")(function* () {
    const completed = yield* Effect.mapError(
      process.run(Ssh.on(endpoint, { program: "sh", args: ["-c", whoami] })),
      notRun({ endpoint, role })
    )
    if (completed.exitCode !== 0) {
      return yield* failure("log in", "", completed, { endpoint, role, user })
    }
    const found = yield* readAccount(completed.stdout, endpoint)
    known = found.user
    return found
  })
  return {
    commands,
    end: {
      label: label(endpoint),
      account: account(),
      allowed: Effect.fn("End.allowed")((dataset: string) =>
        Effect.map(commands.run(`read the permissions on ${dataset}`, dataset, ["allow", dataset]), utf8)
      ),
      grant: Effect.fn("End.grant")(function* (
        who: string,
        permissions: ReadonlyArray<string>,
        dataset: string
      ) {
        const completed = yield* commands.attempt(["allow", "-u", who, permissions.join(","), dataset])
        if (completed.exitCode === 0) return
        const error = commands.failure(`grant permissions on ${dataset}`, dataset, completed)
        return yield* error.reason === "PermissionDenied"
          ? new ZfsError({
              reason: error.reason,
              message: `${at(endpoint)}cannot grant permissions on ${dataset} as ${user()}: root can: ${allowCommand({ user: who, permissions, dataset })}`,
              transient: false
            })
          : error
      })
    }
  }
}

/** Programs' output comes one character a byte; names of users may be more than ASCII. */
const utf8 = (latin1: string): string => Buffer.from(latin1, "latin1").toString("utf8")

/** A user without an entry in the user database has a number only, which zfs takes as well. */
const whoami = "id -u; id -un 2>/dev/null || id -u; id -Gn 2>/dev/null || id -G"

const readAccount = (stdout: string, endpoint: Endpoint): Effect.Effect<Account, ZfsError> => {
  const [id = "", user = "", groups = "", ...more] = utf8(stdout).trimEnd().split("\n")
  // A shell that greets on every login would greet inside our streams.
  return /^[0-9]+$/.test(id) && user !== "" && more.length === 0
    ? Effect.succeed({ user, groups: groups.split(" ").filter((group) => group !== ""), root: id === "0" })
    : Effect.fail(
        new ZfsError({
          reason: "Other",
          message: `${at(endpoint)}${
            stdout === ""
              ? "the login runs no commands: `id` printed nothing; see that its shell is one, and that no forced command stands in authorized_keys"
              : `the login prints ${quoted(stdout.slice(0, 80))} where only our commands should; see that the start-up files of the shell (.bashrc, .cshrc) print nothing when nobody watches`
          }`,
          transient: false
        })
      )
}

/** Snapshots and bookmarks of these datasets, and of all below them (`recursive`). Those that are not there have none. */
export const listSnapshots = Effect.fnUntraced(function* (
  commands: Commands,
  datasets: ReadonlyArray<string>,
  recursive: boolean
) {
  const purpose = `list the snapshots of ${datasets.join(", ")}`
  const listed = yield* listing(commands, purpose, datasets, [
    ...["list", "-H", "-p", ...(recursive ? ["-r"] : ["-d", "1"]), "-t", "snapshot,bookmark"],
    ...["-o", snapshotColumns, "-s", "createtxg", ...datasets]
  ])
  const own: ReadonlyMap<string, Own> = yield* understood(commands, purpose, readSnapshots(listed))
  return own
})

/**
 * What a command printed that names several datasets. One that does not exist makes its exit status 1; the others are listed
 * all the same. One that goes away meanwhile is as good as one that was not there.
 */
export const listing = Effect.fnUntraced(function* (
  commands: Commands,
  purpose: string,
  datasets: ReadonlyArray<string>,
  args: ReadonlyArray<string>
) {
  // Without a name, zfs lists everything.
  if (datasets.length === 0) return ""
  const completed = yield* commands.attempt(args)
  if (completed.exitCode === 0 || onlyMissing(completed)) return completed.stdout
  return yield* commands.failure(purpose, datasets[0] ?? "", completed)
})

/**
 * What is left of a list that a lost connection has cut may look like a whole one: it has to be zfs that ended. Start-up
 * files of a login, which come before it, may say what they like.
 */
const onlyMissing = ({ exitCode, stderr }: Pick<Completed, "exitCode" | "stderr">): boolean => {
  const lines = spoken(stderr)
  const first = lines.findIndex(isOfZfs)
  const said = first === -1 ? [] : lines.slice(first)
  return (
    exitCode === 1 &&
    said.length > 0 &&
    said.every((line) => /^cannot open '.*': dataset does not exist$/.test(line))
  )
}
