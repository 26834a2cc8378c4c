import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { Process } from "../system/Process.ts"
import type { Completed } from "../system/supervise.ts"
import { count, firstNames } from "../text/Text.ts"
import type { Snapshot, SourceDataset } from "../zfs/Dataset.ts"
import type { Endpoint } from "../zfs/Endpoint.ts"
import { destroy, formatName } from "../zfs/SnapshotPrune.ts"
import { takeMarked } from "../zfs/Zfs.ts"
import { at, type Commands, complaint, readOutput, ZfsError } from "../zfs/ZfsCommand.ts"
import { isDecimal, readSources, sourceColumns, table } from "../zfs/ZfsList.ts"
import { type End, listNamed, listSnapshots, makeEnd } from "./End.ts"
import { describeStream, endOf, estimateArguments, type SendFormat, type Stream, sourceFailure } from "./Stream.ts"
import { parseLine, sizeIn, tokenIn } from "./TransferFailure.ts"

/** The end of a replication that has the data. Changes snapshots and bookmarks of ours alone, and what `grant` grants. */
export class Sender extends Context.Tag("zipper/Sender")<
  Sender,
  End & {
    /** Each root and all below it, parents before children. `missing`: roots that do not exist. */
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
    /** Bytes of the stream, by `zfs send -n`. Fails as Vanished when its snapshot is gone. */
    readonly estimate: (dataset: string, stream: Stream, format: SendFormat) => Effect.Effect<number, ZfsError>
    /** Bytes written since its newest snapshot. */
    readonly written: (dataset: string) => Effect.Effect<number, ZfsError>
    /** Takes a snapshot of one instant, with {@link sourceProperty} set; `<prefix>-20250101120000`, or a second later. */
    readonly snapshot: (prefix: string, datasets: ReadonlyArray<string>, mark: string) => Effect.Effect<void, ZfsError>
    /** Values of {@link sourceProperty} of snapshots of the datasets and all below them, by `dataset@snapshot`. */
    readonly marks: (datasets: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, string>, ZfsError>
    /** Fails for one that is held or cloned, or has another guid; one that is gone is no failure. */
    readonly destroySnapshot: (
      dataset: string,
      snapshot: Pick<Snapshot, "name" | "guid">
    ) => Effect.Effect<void, ZfsError>
    /** One that is there already is no failure. */
    readonly bookmark: (dataset: string, snapshot: string, name: string) => Effect.Effect<void, ZfsError>
    /** One that is gone is no failure. */
    readonly destroyBookmark: (dataset: string, name: string) => Effect.Effect<void, ZfsError>
  }
>() {
  static readonly layer = (endpoint: Endpoint): Layer.Layer<Sender, never, Process> =>
    Layer.effect(
      Sender,
      Effect.map(Process, (process) => makeSender(process, endpoint))
    )

  /** Changes nothing: logs what would be taken and destroyed, and shows what would be taken. */
  static readonly layerDryRun = <E, R>(real: Layer.Layer<Sender, E, R>): Layer.Layer<Sender, E, R> =>
    Layer.provide(Layer.effect(Sender, Effect.map(Sender, makeDryRunSender)), real)
}

/** User property of the snapshots that a replication job takes of what it sends: the job, and where that sends to. */
const sourceProperty = "zipper:source"

/** `raw`: the stream is raw, of an encrypted dataset. */
export type Resumable =
  | { readonly _tag: "Resumable"; readonly toGuid: string; readonly toName: string; readonly raw: boolean }
  | { readonly _tag: "Gone"; readonly reason: string }

export const makeSender = (process: typeof Process.Service, endpoint: Endpoint): typeof Sender.Service => {
  const { commands, end } = makeEnd(process, endpoint, "send")
  const change = Effect.fnUntraced(function* (
    purpose: string,
    dataset: string,
    done: RegExp,
    args: ReadonlyArray<string>
  ) {
    const completed = yield* commands.attempt(args)
    if (completed.exitCode === 0 || done.test(complaint(completed))) return
    return yield* commands.failure(purpose, dataset, completed, "bookmark")
  })
  return {
    ...end,
    tree: Effect.fn("Sender.tree")(function* (roots: ReadonlyArray<string>) {
      const datasets = yield* readDatasets(commands, roots, true)
      const names = new Set(datasets.map(({ name }) => name))
      return { datasets, missing: roots.filter((root) => !names.has(root)) }
    }),
    read: Effect.fn("Sender.read")(function* (dataset: string) {
      const [found] = yield* readDatasets(commands, [dataset], false)
      return found
    }),
    resumable: Effect.fn("Sender.resumable")(function* (token: string) {
      return yield* readToken(commands, yield* commands.attempt(["send", "-nvP", "-t", token]))
    }),
    estimate: Effect.fn("Sender.estimate")(function* (dataset: string, stream: Stream, format: SendFormat) {
      const purpose = `estimate the size of ${describeStream(dataset, stream)}`
      const completed = yield* commands.attempt(estimateArguments(dataset, stream, format))
      if (completed.exitCode !== 0) {
        return yield* sourceFailure(commands.failure(purpose, dataset, inWords(completed)))
      }
      // Where it is written depends on the kind of stream.
      const size = sizeIn(completed.stdout) ?? sizeIn(completed.stderr)
      if (size !== undefined) return size
      return yield* new ZfsError({
        reason: "Other",
        message: `${at(commands.endpoint)}cannot ${purpose}: zfs send -nvP names no size`,
        transient: false
      })
    }),
    written: Effect.fn("Sender.written")(function* (dataset: string) {
      const purpose = `look what was written to ${dataset}`
      const got = yield* commands.run(purpose, dataset, ["get", "-H", "-p", "-o", "value", "written", dataset])
      const bytes = got.trim()
      return yield* readOutput(commands, purpose, isDecimal(bytes) ? Either.right(Number(bytes)) : Either.left(got))
    }),
    snapshot: Effect.fn("Sender.snapshot")(function* (prefix: string, datasets: ReadonlyArray<string>, mark: string) {
      const commandLines = inCommandLines(datasets, prefix.length, endpoint)
      if (commandLines.length > 1) {
        yield* Effect.logWarning(
          `${count(datasets.length, "dataset")} do not fit into one command: their snapshots are of ${commandLines.length} instants, each one of a part`
        )
      }
      for (const part of commandLines) {
        const { name } = yield* takeMarked({ commands }, prefix, part, [sourceProperty, mark], "snapshot")
        yield* Effect.logInfo(`${at(endpoint)}took the snapshot ${name} of ${firstNames(part)}`)
      }
    }),
    marks: Effect.fn("Sender.marks")(function* (datasets: ReadonlyArray<string>) {
      const purpose = `list the snapshots of ${datasets.join(", ")}`
      const args = ["get", "-H", "-p", "-r", "-s", "local", "-t", "snapshot", "-o", "name,value", sourceProperty]
      const got = yield* listNamed(commands, purpose, datasets, [...args, ...datasets], true)
      const listed = yield* readOutput(commands, purpose, table(got, 2))
      return new Map(listed.map(([name = "", mark = ""]) => [name, mark]))
    }),
    destroySnapshot: Effect.fn("Sender.destroySnapshot")((dataset, { guid, name }) =>
      destroy(commands, `${dataset}@${name}`, guid, { spareNeeded: true, role: "prune" })
    ),
    bookmark: Effect.fn("Sender.bookmark")((dataset, snapshot, name) =>
      change(`bookmark ${dataset}@${snapshot}`, dataset, /bookmark exists/, [
        ...["bookmark", `${dataset}@${snapshot}`, `${dataset}#${name}`]
      ])
    ),
    destroyBookmark: Effect.fn("Sender.destroyBookmark")((dataset, name) =>
      change(`destroy the bookmark ${dataset}#${name}`, dataset, /does not exist/, ["destroy", `${dataset}#${name}`])
    )
  }
}

/** Bytes of names that go into one command: ssh has its whole command in one argument, of at most 128 KiB on Linux. */
const mostBytes = { Local: 400_000, Remote: 100_000 } as const

const inCommandLines = (datasets: ReadonlyArray<string>, prefixLength: number, { _tag }: Endpoint) => {
  const parts: Array<Array<string>> = []
  let left = 0
  for (const dataset of datasets) {
    const bytes = dataset.length + prefixLength + 20
    if (bytes > left) {
      parts.push([])
      left = mostBytes[_tag]
    }
    left -= bytes
    parts.at(-1)?.push(dataset)
  }
  return parts
}

const makeDryRunSender = (real: typeof Sender.Service): typeof Sender.Service => {
  const taken = new Map<string, { readonly snapshot: Snapshot; readonly mark: string }>()
  const shown = (source: SourceDataset): SourceDataset => {
    const snapshot = taken.get(source.name)?.snapshot
    return snapshot === undefined ? source : { ...source, snapshots: [...source.snapshots, snapshot] }
  }
  return {
    ...real,
    tree: (roots) => Effect.map(real.tree(roots), (found) => ({ ...found, datasets: found.datasets.map(shown) })),
    read: (dataset) => Effect.map(real.read(dataset), (found) => found && shown(found)),
    estimate: Effect.fnUntraced(function* (dataset: string, stream: Stream, format: SendFormat) {
      if (endOf(stream) !== taken.get(dataset)?.snapshot.guid) return yield* real.estimate(dataset, stream, format)
      const newest = (yield* real.read(dataset))?.snapshots.at(-1)
      const before =
        stream._tag === "Incremental" && newest !== undefined && newest.guid !== stream.from.guid
          ? yield* real.estimate(dataset, { ...stream, to: newest }, format)
          : 0
      return before + (yield* real.written(dataset))
    }),
    snapshot: Effect.fnUntraced(function* (prefix: string, datasets: ReadonlyArray<string>, mark: string) {
      const now = yield* Clock.currentTimeMillis
      yield* Effect.logInfo(`would take a snapshot of ${firstNames(datasets)}`)
      const common = { name: formatName(prefix, now), creation: Math.floor(now / 1000), holds: 0, clones: [] }
      for (const dataset of datasets) {
        // After every transaction group that there can be.
        taken.set(dataset, { snapshot: { ...common, guid: `not taken: ${dataset}`, createtxg: 2n ** 64n }, mark })
      }
    }),
    marks: (datasets) =>
      Effect.map(real.marks(datasets), (found) => {
        const ours = Array.from(
          taken,
          ([dataset, { mark, snapshot }]) => [`${dataset}@${snapshot.name}`, mark] as const
        )
        return new Map([...found, ...ours])
      }),
    destroySnapshot: (dataset, { name }) => Effect.logInfo(`would destroy the snapshot ${dataset}@${name}`),
    bookmark: () => Effect.void,
    destroyBookmark: () => Effect.void
  }
}

/** What a `zfs diff` holds while it runs, and which is gone then: as the newest of a replica it would leave that without a base. */
const isOfDiff = ({ holds, name }: Snapshot): boolean => holds > 0 && /^zfs-diff-\d+-[0-9a-f]{16}$/.test(name)

// The datasets first: a snapshot that is taken in between then belongs to a dataset that we know.
const readDatasets = Effect.fnUntraced(function* (
  commands: Commands,
  roots: ReadonlyArray<string>,
  recursive: boolean
) {
  const list = (purpose: string, datasets: ReadonlyArray<string>, below: boolean) =>
    listNamed(commands, purpose, datasets, [
      ...["list", "-H", "-p", ...(below ? ["-r"] : []), "-t", "filesystem,volume", "-o", sourceColumns],
      ...datasets
    ])
  const purpose = `list the datasets of ${roots.join(", ")}`
  const listed = yield* list(purpose, roots, recursive)
  const found = yield* readOutput(commands, purpose, readSources(listed, new Map()))
  const names = new Set(found.map(({ name }) => name))
  const existing = roots.filter((root) => names.has(root))
  const owned = yield* listSnapshots(commands, existing, recursive)
  const snapshots = new Map(
    Array.from(owned, ([name, own]) => [name, { ...own, snapshots: own.snapshots.filter((each) => !isOfDiff(each)) }])
  )
  const keyRoots = found.flatMap(({ key }) => (key === undefined || names.has(key.root) ? [] : [key.root]))
  const above = [...new Set(keyRoots)]
  const keys = yield* list(`look at the keys of ${above.join(", ")}`, above, false)
  return yield* readOutput(commands, purpose, readSources(listed, snapshots, keys))
})

const inWords = (completed: Completed): Completed => ({
  ...completed,
  stderr: completed.stderr
    .split("\n")
    .filter((line) => parseLine(line)._tag === "Words")
    .join("\n")
})

const readToken = (commands: Commands, completed: Completed): Effect.Effect<Resumable, ZfsError> => {
  // With -n, zfs describes the token on stdout or stderr, by version.
  const contents = tokenIn(completed.stdout) ?? tokenIn(completed.stderr)
  if (completed.exitCode === 0 && contents !== undefined) {
    const { raw, toGuid, toName } = contents
    return Effect.succeed({ _tag: "Resumable", toGuid, toName, raw })
  }
  const refusal = /^cannot resume send: (.*)$/m.exec(completed.stderr)?.[1]
  // Only what surely can never go on: what was received is thrown away for it.
  return refusal !== undefined && /no longer exists|no longer the same|token is corrupt/.test(refusal)
    ? Effect.succeed({ _tag: "Gone", reason: refusal })
    : Effect.fail(commands.failure("read the resume token of an interrupted receive", "", inWords(completed)))
}
