import * as Effect from "effect/Effect"
import type { Process } from "../system/Process.ts"
import type { Completed } from "../system/supervise.ts"
import { quoted } from "../text/Text.ts"
import { allowCommand, type Role } from "../zfs/Allow.ts"
import type { SendMode, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import * as Ssh from "../zfs/Endpoint.ts"
import { type Endpoint, label } from "../zfs/Endpoint.ts"
import {
  at,
  type Commands,
  failure,
  isOfZfs,
  makeCommands,
  notRun,
  spoken,
  understood,
  userOn,
  ZfsError
} from "../zfs/ZfsCommand.ts"
import { readSnapshots, snapshotColumns } from "../zfs/ZfsList.ts"
import type { Rollback } from "./Plan.ts"
import type { Stream } from "./Stream.ts"

/** Who runs zfs on an end. */
export interface Account {
  readonly user: string
  readonly groups: ReadonlyArray<string>
  /** Root needs no delegation. */
  readonly root: boolean
}

/** What both ends can do. Every failure names the end (this host, nas, backup@nas) and what zfs said. */
export interface End {
  /** Name of the end for messages. */
  readonly label: string
  /** Who we are there. Fails as Unreachable, with what ssh said, when the host does not answer. */
  readonly account: Effect.Effect<Account, ZfsError>
  /** What `zfs allow DATASET` prints; the dataset must exist. */
  readonly allowed: (dataset: string) => Effect.Effect<string, ZfsError>
  /** Runs `zfs allow -u USER permissions dataset`. */
  readonly grant: (
    user: string,
    permissions: ReadonlyArray<string>,
    dataset: string
  ) => Effect.Effect<void, ZfsError>
}

export interface SenderService extends End {
  /**
   * Each root and all below it, with snapshots and bookmarks, in the order in which `zfs list -r` gives them:
   * parents before children. `missing` are the roots that are not there.
   */
  readonly tree: (
    roots: ReadonlyArray<string>
  ) => Effect.Effect<
    { readonly datasets: ReadonlyArray<SourceDataset>; readonly missing: ReadonlyArray<string> },
    ZfsError
  >
  /** One dataset as it is now; undefined when it is gone. */
  readonly read: (dataset: string) => Effect.Effect<SourceDataset | undefined, ZfsError>
  /** What a resume token is for; `Gone` when its snapshot is not there any more, or the token cannot be read. */
  readonly resumable: (token: string) => Effect.Effect<Resumable, ZfsError>
  /** Bytes that the stream would have, by `zfs send -nvP`. */
  readonly estimate: (dataset: string, stream: Stream, mode: SendMode) => Effect.Effect<number, ZfsError>
}

export type Resumable =
  | {
      readonly _tag: "Resumable"
      readonly toGuid: string
      readonly toName: string
      /** Its stream is raw, of an encrypted dataset. */
      readonly raw: boolean
    }
  | { readonly _tag: "Gone"; readonly reason: string }

export interface ReceiverService extends End {
  /** Changes are logged and not made. Only wording depends on it. */
  readonly dryRun?: boolean
  /** `roots` and all below them that exist, by name; a root that does not exist is no failure. */
  readonly tree: (roots: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, TargetDataset>, ZfsError>
  /** One dataset as it is now; undefined when there is none. */
  readonly read: (dataset: string) => Effect.Effect<TargetDataset | undefined, ZfsError>
  /** Makes a parent, whose own parent exists: canmount=off, marked as a placeholder. One that is there is no failure. */
  readonly createParent: (dataset: string) => Effect.Effect<void, ZfsError>
  /** Throws away what an interrupted receive left (`zfs receive -A`). */
  readonly abort: (dataset: string) => Effect.Effect<void, ZfsError>
  /**
   * Goes back to a snapshot; looks again before that, and fails when more than `rollback.destroys` would be destroyed.
   * Never destroys clones, nor snapshots that are held.
   */
  readonly rollback: (dataset: string, rollback: Rollback) => Effect.Effect<void, ZfsError>
  /** Destroys one snapshot (`name` after the @) if it still has that guid, no hold and no clone; gone is no failure. */
  readonly destroySnapshot: (
    dataset: string,
    snapshot: { readonly name: string; readonly guid: string }
  ) => Effect.Effect<void, ZfsError>
  /** Looks what there is to do for `prepare`; does nothing. */
  readonly unprepared: (
    dataset: string,
    properties: Readonly<Record<string, string>>
  ) => Effect.Effect<Preparation, ZfsError>
  /**
   * Makes the dataset with these properties, or sets those that differ; missing parents are made too (canmount=off).
   * Gives what it did.
   */
  readonly prepare: ReceiverService["unprepared"]
}

/** What it takes to have a dataset with certain properties. */
export interface Preparation {
  /** It is not there: it is made with all of them. */
  readonly created: boolean
  /** Those above it that are not there, from the top down. */
  readonly parents: ReadonlyArray<string>
  /** Names of the properties that it has with another value. */
  readonly changed: ReadonlyArray<string>
}

/** How far a stream is, in bytes. */
export interface StreamProgress {
  readonly sent: number
  /** As zfs estimates it, never less than `sent`; undefined while zfs has printed no estimate. */
  readonly total: number | undefined
}

export interface TransferRequest {
  readonly source: string
  readonly target: string
  readonly kind: SourceDataset["kind"]
  readonly stream: Stream
  readonly mode: SendMode
  readonly onProgress: (progress: StreamProgress) => void
}

export interface TransferService {
  /** Whether the programs are there that streams pass through besides zfs (zstd, pv or mbuffer), where they are to run. */
  readonly tools: Effect.Effect<void, ZfsError>
  /**
   * Pipes one stream from the sender to the receiver, and returns when both have ended well. What was received of a stream
   * that is cut can be resumed. Fails with what either end said; Vanished when a snapshot of the stream is gone.
   */
  readonly send: (request: TransferRequest) => Effect.Effect<{ readonly bytes: number }, ZfsError>
}

export const makeEnd = (
  process: typeof Process.Service,
  endpoint: Endpoint,
  role: Role
): { readonly commands: Commands; readonly end: End } => {
  let known: string | undefined
  const user = () => known ?? userOn(endpoint)
  const commands = makeCommands(process, endpoint, { role, user })
  const account = Effect.fn("End.account")(function* () {
    const completed = yield* Effect.mapError(
      process.run(Ssh.commandOn(endpoint, { program: "sh", args: ["-c", whoami] })),
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
  return yield* understood(commands, purpose, readSnapshots(listed))
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
