import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import { explain } from "../system/Errno.ts"
import { Process } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import { bytes, count } from "../text/Text.ts"
import { isWithin } from "./DatasetName.ts"
import { type Commands, complaint, makeCommands, readOutput, ZfsError } from "./ZfsCommand.ts"
import { table } from "./ZfsList.ts"

/** An empty dataset of the user's, in which a demonstration makes datasets of its own and destroys these alone. */
export interface Scratch {
  readonly dataset: string
  /** Makes a dataset below it, marked as ours; gives where it is mounted. */
  readonly create: (path: string, ...options: ReadonlyArray<string>) => Effect.Effect<string, ZfsError>
  /** The dataset, below one of ours, is going to be received: it is ours while it inherits our mark. */
  readonly expect: (path: string) => string
  /** Guids of a dataset's own snapshots, oldest first. */
  readonly guids: (dataset: string) => Effect.Effect<ReadonlyArray<string>, ZfsError>
  /** Takes one snapshot of several datasets. */
  readonly snapshot: (name: string, datasets: ReadonlyArray<string>) => Effect.Effect<void, ZfsError>
  /** Destroys what was made here. Fails when something of it stays. */
  readonly remove: Effect.Effect<void, ZfsError>
}

/** User property of the datasets that we made; its value is the id of the demonstration. */
const scratchProperty = "zipper:demo"

/** Opens a dataset that has to be mounted and empty. Until something is created it only looks. */
export const openScratch = Effect.fn("openScratch")(function* (dataset: string, id: string) {
  // With a role that grants nothing here: what is missing is named by the messages below.
  const commands = makeCommands(yield* Process, undefined, { role: "send" })
  const home = yield* examine(commands, dataset)
  const ours = new Set<string>()
  const expect = (path: string): string => {
    const name = `${dataset}/${path}`
    ours.add(name)
    return name
  }
  return {
    dataset,
    expect,
    create: Effect.fnUntraced(function* (path: string, ...options: ReadonlyArray<string>) {
      const name = expect(path)
      yield* runAsRoot(commands, `create ${name}`, ["create", "-o", `${scratchProperty}=${id}`, ...options, name])
      return `${home}/${path}`
    }),
    guids: (name) =>
      Effect.map(
        commands.run(`list the snapshots of ${name}`, name, [
          ...["list", "-H", "-p", "-d", "1", "-t", "snapshot", "-o", "guid", "-s", "createtxg"],
          name
        ]),
        (text) => text.split("\n").filter((line) => line !== "")
      ),
    snapshot: (name, datasets) =>
      runAsRoot(commands, `take a snapshot of ${datasets[0]}`, [
        "snapshot",
        ...datasets.map((each) => `${each}@${name}`)
      ]),
    remove: remove(commands, dataset, id, ours)
  } satisfies Scratch
})

/** What is needed for the sample, its archives and its replica. */
const leastFree = 256 * 1024 ** 2

/** Where the dataset is mounted. Fails, with what to do, unless it is an empty file system that can be used. */
const examine = Effect.fnUntraced(function* (commands: Commands, dataset: string) {
  const purpose = `look at ${dataset}`
  const columns = "name,type,mounted,available"
  const listed = yield* Effect.mapError(
    commands.run(purpose, dataset, ["list", "-H", "-p", "-r", "-t", "all", "-o", columns, dataset]),
    (error) =>
      error.reason === "NotFound"
        ? refusal(`${dataset} does not exist; make it: zfs create '${dataset}'`, error.reason)
        : error
  )
  const [[, type, mounted, available] = [], ...below] = yield* readOutput(commands, purpose, table(listed, 4))
  if (type === undefined) return yield* readOutput(commands, purpose, Either.left(listed))
  const mountpoint = (yield* commands.run(purpose, dataset, [
    "get",
    "-H",
    "-p",
    "-o",
    "value",
    "mountpoint",
    dataset
  ])).replace(/\n$/, "")
  const home = RawPath.toText(RawPath.fromLatin1(mountpoint))
  if (type !== "filesystem") return yield* refusal(`${dataset} is a ${type}; a file system is needed`)
  if (below.length > 0) {
    const more = below.length > 1 ? ` and ${below.length - 1} more` : ""
    return yield* refusal(`${dataset} is not empty: it has ${below[0]?.[0]}${more}; give an empty dataset`)
  }
  if (mounted !== "yes" || !home?.startsWith("/")) {
    return yield* refusal(
      `${dataset} is not mounted at a path that can be used (mountpoint is ${mountpoint}): mount it, or make another one: zfs create -o mountpoint=/mnt/scratch '${dataset}/scratch'`
    )
  }
  const files = (yield* Effect.tryPromise({
    try: () => fs.readdir(home),
    catch: (cause) => refusal(`${home}, where ${dataset} is mounted, cannot be read: ${explain(cause)}`)
  })).filter((name) => name !== ".zfs")
  if (files.length > 0) {
    return yield* refusal(
      `${dataset} is not empty: ${home} holds ${count(files.length, "entry", "entries")}; give an empty dataset`
    )
  }
  if (Number(available) < leastFree) {
    return yield* refusal(`${dataset} has ${bytes(Number(available))} free; ${bytes(leastFree)} are needed`)
  }
  if (process.platform === "linux" && process.getuid?.() !== 0) {
    return yield* refusal("on Linux only root may mount datasets: run this as root", "PermissionDenied")
  }
  return home
})

const refusal = (message: string, reason: ZfsError["reason"] = "Other") =>
  new ZfsError({ reason, message, transient: false })

const runAsRoot = Effect.fnUntraced(function* (commands: Commands, purpose: string, args: ReadonlyArray<string>) {
  const completed = yield* commands.attempt(args)
  if (completed.exitCode === 0) return
  const { reason } = commands.failure(purpose, "", completed)
  const advice = reason === "PermissionDenied" ? "; run this as root" : ""
  return yield* refusal(`cannot ${purpose}: ${complaint(completed)}${advice}`, reason)
})

/** Children first, each after a look at its mark; never recursively, so that what another process made is never in it. */
const remove = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  id: string,
  ours: ReadonlySet<string>
) {
  const purpose = `list what is below ${dataset}`
  const args = ["get", "-H", "-p", "-r", "-t", "filesystem,volume", "-o", "name,value,source", scratchProperty, dataset]
  const found = yield* readOutput(commands, purpose, table(yield* commands.run(purpose, dataset, args), 3))
  const isOurs = ([name = "", value, source = ""]: ReadonlyArray<string>): boolean =>
    ours.has(name) && value === id && (source === "local" || ours.has(source.replace("inherited from ", "")))
  const names = found.map(([name = ""]) => name).filter((name) => name !== dataset)
  const made = new Set(found.filter(isOurs).map(([name = ""]) => name))
  const strange = names.filter((name) => !made.has(name))
  const failed = strange.map((name) => `${name} was not made by this demonstration and stays`)
  for (const name of names.toReversed()) {
    if (!made.has(name) || strange.some((other) => isWithin(other, name))) continue
    yield* Effect.catchAll(destroy(commands, name), ({ message }) => Effect.sync(() => failed.push(message)))
  }
  if (failed.length > 0) return yield* refusal(failed.join("\n"))
})

/** A snapshot that was looked into is mounted for a while, and the kernel takes the mount away at any moment. */
const destroy = Effect.fnUntraced(
  function* (commands: Commands, name: string) {
    const purpose = `destroy ${name}`
    const listed = yield* commands.run(purpose, name, ["list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", name])
    if (listed !== "") yield* runAsRoot(commands, `destroy the snapshots of ${name}`, ["destroy", `${name}@%`])
    yield* runAsRoot(commands, purpose, ["destroy", name])
  },
  Effect.retry({
    schedule: Schedule.spaced("1 second"),
    times: 10,
    while: ({ message, reason }) => reason === "Busy" || /unmount failed/.test(message)
  })
)
