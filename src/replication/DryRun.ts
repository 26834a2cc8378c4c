import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { bytes, count } from "../text/Text.ts"
import { allowCommand } from "../zfs/Allow.ts"
import type { Snapshot, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { isWithin } from "../zfs/DatasetName.ts"
import { shortName } from "../zfs/ZfsList.ts"
import type { ReceiverService, SenderService, TransferRequest, TransferService } from "./End.ts"
import type { Stream } from "./Stream.ts"

/** The targets that a dry run pretends to have made: shown by the receiver, changed by it and by the transfer. */
export class DryRunTargets extends Context.Tag("zipper/DryRunTargets")<
  DryRunTargets,
  { readonly put: (dataset: TargetDataset) => Effect.Effect<void> }
>() {}

/** A receiver that logs each change instead of making it, and shows it from then on as made, so that the program goes on. */
export const makeDryRunReceiver = (
  real: ReceiverService
): { readonly receiver: ReceiverService; readonly targets: typeof DryRunTargets.Service } => {
  const pretended = new Map<string, TargetDataset | undefined>()
  const put = (dataset: TargetDataset) => Effect.sync(() => void pretended.set(dataset.name, dataset))
  const read = (dataset: string) =>
    Effect.suspend(() =>
      pretended.has(dataset) ? Effect.succeed(pretended.get(dataset)) : real.read(dataset)
    )
  const change = Effect.fnUntraced(function* (
    dataset: string,
    to: (before: TargetDataset) => TargetDataset | undefined
  ) {
    const before = yield* read(dataset)
    if (before !== undefined) pretended.set(dataset, to(before))
  })

  const unprepared = Effect.fnUntraced(function* (
    dataset: string,
    properties: Readonly<Record<string, string>>
  ) {
    if (pretended.get(dataset) !== undefined) return { created: false, parents: [], changed: [] }
    const todo = yield* real.unprepared(dataset, properties)
    return { ...todo, parents: todo.parents.filter((parent) => pretended.get(parent) === undefined) }
  })

  const receiver: ReceiverService = {
    ...real,
    dryRun: true,
    read,
    tree: (roots) =>
      Effect.map(real.tree(roots), (found) => {
        const shown = new Map(found)
        for (const [name, dataset] of pretended) {
          if (!roots.some((root) => isWithin(name, root))) continue
          if (dataset === undefined) shown.delete(name)
          else shown.set(name, dataset)
        }
        return shown
      }),
    grant: (user, permissions, dataset) =>
      Effect.logInfo(`would run on ${real.label}: ${allowCommand({ user, permissions, dataset })}`),
    createParent: (dataset) =>
      Effect.zipRight(
        Effect.logInfo(`would make ${dataset} (canmount=off)`),
        put({ ...newDataset(dataset, "filesystem"), placeholder: true })
      ),
    abort: (dataset) =>
      Effect.zipRight(
        Effect.logInfo(`would throw away what ${dataset} has of a stream that was cut`),
        // A dataset that came with that stream goes with it.
        change(dataset, (before) =>
          before.snapshots.length === 0 && !before.placeholder
            ? undefined
            : { ...before, resumeToken: undefined }
        )
      ),
    rollback: (dataset, { destroys, to }) =>
      Effect.zipRight(
        Effect.logInfo(
          `would take ${dataset} back to @${to.name}, destroying ${destroys.length === 0 ? "no snapshot" : destroys.map(({ name }) => `@${name}`).join(", ")}`
        ),
        change(dataset, (before) => {
          const gone = new Set(destroys.map(({ guid }) => guid))
          return {
            ...before,
            written: 0,
            snapshots: before.snapshots.filter(({ guid }) => !gone.has(guid))
          }
        })
      ),
    destroySnapshot: (dataset, { guid, name }) =>
      Effect.zipRight(
        Effect.logInfo(`would destroy ${dataset}@${name}`),
        change(dataset, (before) => ({
          ...before,
          snapshots: before.snapshots.filter((snapshot) => snapshot.guid !== guid)
        }))
      ),
    unprepared,
    // The program logs the result, as in a real run.
    prepare: Effect.fnUntraced(function* (dataset: string, properties: Readonly<Record<string, string>>) {
      const todo = yield* unprepared(dataset, properties)
      for (const parent of todo.parents) yield* put(newDataset(parent, "filesystem"))
      const before = (yield* read(dataset)) ?? newDataset(dataset, "filesystem")
      yield* put({ ...before, canmount: properties["canmount"] ?? before.canmount })
      return todo
    })
  }
  return { receiver, targets: { put } }
}

/** Sends nothing: logs what would be sent, with its size as zfs estimates it, and has the receiver show it. */
export const makeDryRunTransfer = (services: {
  readonly real: TransferService
  readonly sender: SenderService
  readonly receiver: ReceiverService
  readonly targets: typeof DryRunTargets.Service
}): TransferService => ({
  tools: services.real.tools,
  send: Effect.fn("Transfer.send")(function* (request: TransferRequest) {
    const { kind, mode, stream, target } = request
    const size = yield* services.sender.estimate(request.source, stream, mode)
    const source = yield* services.sender.read(request.source)
    const before = (yield* services.receiver.read(target)) ?? newDataset(target, kind)
    const coming = contentsOf(stream, source)
    yield* Effect.logInfo(
      `would send ${describe(stream)} to ${target}: ${count(coming.length, "snapshot")}, ${bytes(size)}`
    )
    let createtxg = before.snapshots.at(-1)?.createtxg ?? 0n
    const received = coming.map((snapshot): Snapshot => {
      createtxg += 1n
      return { ...snapshot, createtxg, holds: 0, clones: [] }
    })
    yield* services.targets.put({
      ...before,
      snapshots: [...before.snapshots, ...received],
      written: 0,
      resumeToken: undefined,
      mode,
      placeholder: false,
      canmount: kind === "filesystem" ? "off" : undefined
    })
    return { bytes: size }
  })
})

const newDataset = (name: string, kind: TargetDataset["kind"]): TargetDataset => ({
  name,
  kind,
  guid: `not made: ${name}`,
  snapshots: [],
  bookmarks: [],
  written: 0,
  resumeToken: undefined,
  mode: undefined,
  placeholder: false,
  canmount: kind === "filesystem" ? "off" : undefined,
  key: undefined
})

const describe = (stream: Stream): string => {
  switch (stream._tag) {
    case "Full":
      return `all of @${stream.to.name}`
    case "Incremental":
      return `from @${stream.from.name} to @${stream.to.name}`
    case "FromBookmark":
      return `from the bookmark #${stream.from.name} to @${stream.to.name}`
    case "Resume":
      return `the rest of @${shortName(stream.toName)}`
  }
}

const contentsOf = (stream: Stream, source: SourceDataset | undefined): ReadonlyArray<Snapshot> => {
  const snapshots = source?.snapshots ?? []
  switch (stream._tag) {
    case "Full":
    case "FromBookmark":
      return [stream.to]
    case "Incremental":
      return snapshots.filter(
        ({ createtxg }) => createtxg > stream.from.createtxg && createtxg <= stream.to.createtxg
      )
    case "Resume":
      return snapshots.filter(({ guid }) => guid === stream.toGuid)
  }
}
