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

export interface Account {
  readonly user: string
  readonly groups: ReadonlyArray<string>
  readonly root: boolean
}

/** What both ends can do. Every failure names the end (this host, nas, backup@nas) and what zfs said. */
export interface End {
  readonly label: string
  /** Who we are there. Fails as Unreachable, with what ssh said, when the host does not answer. */
  readonly account: Effect.Effect<Account, ZfsError>
  /** What `zfs allow DATASET` prints; the dataset must exist. */
  readonly allowed: (dataset: string) => Effect.Effect<string, ZfsError>
  readonly grant: (
    user: string,
    permissions: ReadonlyArray<string>,
    dataset: string
  ) => Effect.Effect<void, ZfsError>
}

export interface SenderService extends End {
  /**
   * Each root and all below it, parents before children as `zfs list -r` gives them. `missing`: roots that are not
   * there.
   */
  readonly tree: (
    roots: ReadonlyArray<string>
  ) => Effect.Effect<
    { readonly datasets: ReadonlyArray<SourceDataset>; readonly missing: ReadonlyArray<string> },
    ZfsError
  >
  /** Undefined when the dataset is gone. */
  readonly read: (dataset: string) => Effect.Effect<SourceDataset | undefined, ZfsError>
  /** What a resume token is for; `Gone` when its snapshot is not there any more, or the token cannot be read. */
  readonly resumable: (token: string) => Effect.Effect<Resumable, ZfsError>
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
  readonly tree: (roots: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, TargetDataset>, ZfsError>
  readonly read: (dataset: string) => Effect.Effect<TargetDataset | undefined, ZfsError>
  /** Makes a parent, whose own parent exists: canmount=off, marked as a placeholder. One that is there is no failure. */
  readonly createParent: (dataset: string) => Effect.Effect<void, ZfsError>
  /** Throws away what an interrupted receive left (`zfs receive -A`). */
  readonly abort: (dataset: string) => Effect.Effect<void, ZfsError>
  /**
   * Checks again first, and fails when more than `rollback.destroys`, a clone or a held snapshot would be destroyed.
   */
  readonly rollback: (dataset: string, rollback: Rollback) => Effect.Effect<void, ZfsError>
  /** Destroys one snapshot (`name` after the @) if it still has that guid, no hold and no clone; gone is no failure. */
  readonly destroySnapshot: (
    dataset: string,
    snapshot: { readonly name: string; readonly guid: string }
  ) => Effect.Effect<void, ZfsError>
  /** What `prepare` would do. */
  readonly unprepared: (
    dataset: string,
    properties: Readonly<Record<string, string>>
  ) => Effect.Effect<Preparation, ZfsError>
  /** Makes the dataset with these properties and its missing parents (canmount=off), or sets those that differ. */
  readonly prepare: ReceiverService["unprepared"]
}

export interface Preparation {
  /** The dataset is made with all properties. */
  readonly created: boolean
  /** The datasets above it that do not exist, from the top down. */
  readonly parents: ReadonlyArray<string>
  /** Names of the properties that have another value. */
  readonly changed: ReadonlyArray<string>
}

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
  /**
   * Fails when a program that streams pass through besides zfs (zstd, pv or mbuffer) is missing where it has to run.
   */
  readonly tools: Effect.Effect<void, ZfsError>
  /**
   * Returns when both ends have ended well. Fails with what either end printed; Vanished when a snapshot of the
   * stream is gone.
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
  // A shell that prints something on every login would print it into our streams.
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

/** Snapshots and bookmarks by dataset, of these and (`recursive`) of all below them. */
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
 * What a command that names several datasets printed. Missing ones make its exit status 1; the others are listed all
 * the same.
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
 * A list that a lost connection has cut may look whole, so zfs itself has to end the command. Start-up files of a
 * login may print anything before that.
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
