import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Process } from "../system/Process.ts"
import type { Completed } from "../system/supervise.ts"
import type { SourceDataset } from "../zfs/Dataset.ts"
import type { Endpoint } from "../zfs/Endpoint.ts"
import { at, type Commands, readOutput, ZfsError } from "../zfs/ZfsCommand.ts"
import { readSources, sourceColumns } from "../zfs/ZfsList.ts"
import { type End, listNamed, listSnapshots, makeEnd } from "./End.ts"
import { describeStream, estimateArguments, type SendFormat, type Stream, sourceFailure } from "./Stream.ts"
import { parseLine, sizeIn, tokenIn } from "./TransferFailure.ts"

/** The end of a replication that has the data. Only looks, but for `grant`. */
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
  }
>() {
  static readonly layer = (endpoint: Endpoint): Layer.Layer<Sender, never, Process> =>
    Layer.effect(
      Sender,
      Effect.map(Process, (process) => makeSender(process, endpoint))
    )
}

/** `raw`: the stream is raw, of an encrypted dataset. */
export type Resumable =
  | { readonly _tag: "Resumable"; readonly toGuid: string; readonly toName: string; readonly raw: boolean }
  | { readonly _tag: "Gone"; readonly reason: string }

export const makeSender = (process: typeof Process.Service, endpoint: Endpoint): typeof Sender.Service => {
  const { commands, end } = makeEnd(process, endpoint, "send")
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
    })
  }
}

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
  const snapshots = yield* listSnapshots(commands, existing, recursive)
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
