import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Process } from "../system/Process.ts"
import type { Completed } from "../system/supervise.ts"
import { type Account, readAccount, readAllowed } from "../zfs/Account.ts"
import { allowCommand, type Role } from "../zfs/Allow.ts"
import { type Endpoint, label, onDiscarded, statusOf, unlimited } from "../zfs/Endpoint.ts"
import { type PoolHealth, poolArguments, readPool } from "../zfs/PoolHealth.ts"
import {
  at,
  type Commands,
  linesOf,
  makeCommands,
  readOutput,
  userAt,
  withoutLogin,
  ZfsError
} from "../zfs/ZfsCommand.ts"
import { datasetOf, readSnapshots, snapshotColumns } from "../zfs/ZfsList.ts"
import { type StreamProgress, sourceFailure } from "./Stream.ts"
import { parseLine, SendMeter } from "./TransferFailure.ts"

/** What both ends can do. Every failure names the end (this host, nas, backup@nas) and has what zfs printed. */
export interface End {
  readonly label: string
  /** The user of our commands. Fails as Unreachable, with what ssh printed, when the host does not answer. */
  readonly account: Effect.Effect<Account, ZfsError>
  /** What `zfs allow DATASET` prints; the dataset must exist. */
  readonly allowed: (dataset: string) => Effect.Effect<string, ZfsError>
  readonly grant: (user: string, permissions: ReadonlyArray<string>, dataset: string) => Effect.Effect<void, ZfsError>
  /** What the pool says of itself. Fails as NotFound when it is not imported. */
  readonly pool: (name: string) => Effect.Effect<PoolHealth, ZfsError>
  /** Whether the pool was imported read-only. */
  readonly isReadOnly: (pool: string) => Effect.Effect<boolean, ZfsError>
  /** Reads all blocks of a snapshot, without sending them anywhere, so that zfs checks each. Fails as Unreadable, or Vanished. */
  readonly readBlocks: (
    snapshot: string,
    onProgress: (progress: StreamProgress) => void
  ) => Effect.Effect<{ readonly bytes: number }, ZfsError>
}

/** `role`: the permissions that the messages of these commands advise to grant. */
export const makeEnd = (process: typeof Process.Service, endpoint: Endpoint, role: Role) => {
  let known: string | undefined
  const user = () => known ?? userAt(endpoint)
  const commands = makeCommands(process, endpoint, { role, user })
  const account = Effect.fn("End.account")(function* () {
    const found = yield* readAccount(process, { endpoint, role, user })
    known = found.user
    return found
  })
  const zpool = makeCommands(process, endpoint, { role, user }, "zpool")
  const end: End = {
    label: label(endpoint),
    account: account(),
    allowed: Effect.fn("End.allowed")((dataset: string) => readAllowed(commands, dataset)),
    grant: Effect.fn("End.grant")(function* (who: string, permissions: ReadonlyArray<string>, dataset: string) {
      const completed = yield* commands.attempt(["allow", "-u", who, permissions.join(","), dataset])
      const purpose = `grant permissions on ${dataset}`
      if (completed.exitCode === 0 && completed.stdout === "") return
      if (completed.exitCode === 0) return yield* readOutput(commands, purpose, Either.left(completed.stdout.trim()))
      const error = commands.failure(purpose, dataset, completed)
      if (error.reason !== "PermissionDenied") return yield* error
      const command = allowCommand({ user: who, permissions, dataset })
      return yield* new ZfsError({
        reason: error.reason,
        message: `${at(endpoint)}cannot grant permissions on ${dataset} as ${user()}: root can: ${command}`,
        transient: false
      })
    }),
    pool: Effect.fn("End.pool")(function* (name: string) {
      const purpose = `see how the pool ${name} is`
      return yield* readOutput(zpool, purpose, readPool(yield* zpool.run(purpose, name, poolArguments(name))))
    }),
    isReadOnly: Effect.fn("End.isReadOnly")(function* (name: string) {
      const purpose = `see how the pool ${name} was imported`
      const value = yield* zpool.run(purpose, name, ["get", "-H", "-o", "value", "readonly", name])
      return value.trim() === "on"
    }),
    readBlocks: Effect.fn("End.readBlocks")(function* (snapshot, onProgress) {
      const meter = new SendMeter()
      const end: { status?: number; words: ReadonlyArray<string> } = { words: [] }
      const onLine = (line: string) => {
        const [parsed, status] = [parseLine(line), statusOf(line)]
        if (status !== undefined) end.status = status
        else if (parsed._tag === "Words" && end.words.length < 20) end.words = [...end.words, line]
        const figures = meter.add(parsed)
        if (figures !== undefined) onProgress(figures)
      }
      // Raw: as it is on the disk, so that no key is needed.
      const command = onDiscarded(endpoint, { program: "zfs", args: ["send", "-w", "-vP", snapshot] })
      const completed = yield* withoutLogin(
        { endpoint, role },
        process.lines({ ...command, timeoutMillis: unlimited }, onLine)
      )
      const { status, words } = end
      if (status === 0 && words.length === 0) return { bytes: meter.end }
      const stderr = status === undefined ? completed.stderr : words.join("\n")
      const failed = { exitCode: status ?? completed.exitCode, stdout: "", stderr }
      return yield* sourceFailure(commands.failure(`read ${snapshot}`, datasetOf(snapshot), failed, "send"))
    })
  }
  return { commands, end }
}

/** Snapshots and bookmarks by dataset, of these and (`recursive`) of all below them. `written`: also what is new in each. */
export const listSnapshots = Effect.fnUntraced(function* (
  commands: Commands,
  datasets: ReadonlyArray<string>,
  recursive: boolean,
  written = false
) {
  const purpose = `list the snapshots of ${datasets.join(", ")}`
  const columns = written ? `${snapshotColumns},written` : snapshotColumns
  const types = ["list", "-H", "-p", ...(recursive ? ["-r"] : ["-d", "1"]), "-t", "snapshot,bookmark"]
  const args = [...types, "-o", columns, "-s", "createtxg", ...datasets]
  const listed = yield* listNamed(commands, purpose, datasets, args, true)
  return yield* readOutput(commands, purpose, readSnapshots(listed, written ? 7 : 6))
})

/**
 * What a command that names several datasets printed. Missing ones make its exit status 1; zfs lists the others. `mayBeNone`: of
 * datasets that are there it may print nothing.
 */
export const listNamed = Effect.fnUntraced(function* (
  commands: Commands,
  purpose: string,
  datasets: ReadonlyArray<string>,
  args: ReadonlyArray<string>,
  mayBeNone = false
) {
  // Without a name, zfs lists everything.
  if (datasets.length === 0) return ""
  const completed = yield* commands.attempt(args)
  if (completed.exitCode === 0 && completed.stdout === "" && !mayBeNone) {
    return yield* readOutput(commands, purpose, Either.left(completed.stderr.trim()))
  }
  if (completed.exitCode === 0 || onlyMissing(completed)) return completed.stdout
  return yield* commands.failure(purpose, datasets[0] ?? "", completed)
})

// A list that a lost connection has cut may look whole.
const onlyMissing = ({ exitCode, stderr }: Pick<Completed, "exitCode" | "stderr">): boolean => {
  const said = linesOf(stderr)
  return (
    exitCode === 1 && said.length > 0 && said.every((line) => /^cannot open '.*': dataset does not exist$/.test(line))
  )
}
