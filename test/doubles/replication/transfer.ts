import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { TransferRequest } from "../../../src/replication/Stream.ts"
import { Transfer } from "../../../src/replication/Transfer.ts"
import { parentOf } from "../../../src/zfs/DatasetName.ts"
import type { ZfsError } from "../../../src/zfs/ZfsCommand.ts"
import { stepsOf } from "./steps.ts"
import {
  addDataset,
  isLoaded,
  type MemoryDataset,
  nextTxg,
  operation,
  type ReplicationMemory,
  zfsError
} from "./world.ts"

/** Streams of a world in memory, received by the rules of `zfs receive -u -s`. */
export const memoryTransfer = (memory: ReplicationMemory): Layer.Layer<Transfer> =>
  Layer.succeed(Transfer, makeTransfer(memory))

const makeTransfer = (memory: ReplicationMemory): typeof Transfer.Service => ({
  tools: operation(memory, "tools", () => Effect.void),
  send: (request) => operation(memory, `send ${request.source}`, () => transfer(memory, request))
})

const transfer = (memory: ReplicationMemory, request: TransferRequest) =>
  Effect.gen(function* () {
    const steps = yield* stepsOf(memory, request.source, request.stream)
    const total = steps.reduce((sum, step) => sum + step.snapshot.bytes - step.done, 0)
    const first = steps[0]
    const problem = rejection(memory, request, first?.base)
    if (first === undefined || problem !== undefined) {
      return yield* zfsError(problem?.reason ?? "Other", problem?.message ?? "the stream is empty")
    }
    let left = memory.cuts.shift() ?? Number.POSITIVE_INFINITY
    let sent = 0
    for (const { base, done, snapshot } of steps) {
      const size = snapshot.bytes - done
      if (left < size) {
        if (left > 0) keepPart(memory, request, { fromGuid: base, to: snapshot, received: done + left })
        request.onProgress({ sent: sent + left, total })
        return yield* zfsError("Unreachable", "the connection was lost: what was received is kept", true)
      }
      left -= size
      sent += size
      const dataset = memory.target.datasets.get(request.target) ?? newDataset(memory, request)
      if (dataset.snapshots.some(({ name }) => name === snapshot.name)) {
        return yield* zfsError("Other", `cannot restore to ${request.target}@${snapshot.name}: it exists`)
      }
      const received = { ...snapshot, createtxg: nextTxg(memory, "target"), holds: 0, clones: [] }
      dataset.snapshots = [...dataset.snapshots, received]
      settle(memory, dataset, request)
      request.onProgress({ sent, total })
    }
    return { bytes: total }
  })

/** Why `zfs receive` would not take the stream. */
const rejection = (
  memory: ReplicationMemory,
  { format, mode, source, stream, target }: TransferRequest,
  base: string | undefined
): Pick<ZfsError, "reason" | "message"> | undefined => {
  const dataset = memory.target.datasets.get(target)
  const parent = parentOf(target)
  const no = (message: string, reason: ZfsError["reason"] = "Other") => ({ reason, message })
  const encrypts = (dataset ?? memory.target.datasets.get(parent ?? ""))?.key !== undefined
  const brings = memory.source.datasets.get(source)?.key !== undefined
  if (stream._tag !== "Resume" && format === "raw" && encrypts && !brings) {
    return no("kernel modules must be upgraded to receive this stream")
  }
  if (!isLoaded(memory.source.datasets, memory.source.datasets.get(source)) && mode === "plain") {
    return no("dataset key must be loaded")
  }
  if (
    !isLoaded(memory.target.datasets, dataset ?? memory.target.datasets.get(parent ?? "")) &&
    !(brings && mode === "raw")
  ) {
    return no("inherited key must be loaded")
  }
  if (dataset === undefined) {
    if (parent === undefined || !memory.target.datasets.has(parent)) {
      return no(`cannot open '${parent ?? target}': dataset does not exist`, "NotFound")
    }
    return base === undefined ? undefined : no(`cannot receive: destination '${target}' does not exist`)
  }
  if (stream._tag === "Resume") {
    if (dataset.partial?.token !== stream.token) return no("destination has no such partial state")
    if (dataset.snapshots.at(-1)?.guid !== dataset.partial.from) {
      return no("kernel modules must be upgraded to receive this stream")
    }
    return (dataset.placeholder && !stream.force) || (base !== undefined && dataset.written > 0)
      ? no(`destination ${target} has been modified since most recent snapshot`, "Modified")
      : undefined
  }
  if (dataset.partial !== undefined) return no(`destination ${target} contains partially-complete state`)
  if (base === undefined) {
    if (stream._tag === "Full" && stream.force && (encrypts || (brings && mode === "raw"))) {
      return no("zfs receive -F cannot be used to destroy an encrypted filesystem")
    }
    if (stream._tag !== "Full" || !stream.force) return no(`destination '${target}' exists, must specify -F`)
    if (dataset.snapshots.length > 0) return no(`destination '${target}' has snapshots`)
    // zfs itself would overwrite it; no plan may.
    return !dataset.placeholder || dataset.written > 0 ? no(`files in '${target}' overwritten`) : undefined
  }
  const at = dataset.snapshots.findIndex(({ guid }) => guid === base)
  if (at === -1) return no(`most recent snapshot of ${target} does not match incremental source`)
  const later = dataset.snapshots.slice(at + 1)
  const raw = mode === "raw" && memory.source.datasets.get(source)?.encrypted === true
  if (later.some(({ written }) => raw || written > 0)) {
    return no(`destination ${target} has been modified since most recent snapshot`, "Modified")
  }
  if (dataset.mode !== undefined && dataset.mode !== mode) return no(`${target} was received ${dataset.mode}`)
  return dataset.written > 0 ? no(`destination ${target} has been modified`, "Modified") : undefined
}

const newDataset = (memory: ReplicationMemory, { kind, mode, source, target }: TransferRequest): MemoryDataset => {
  const brought = mode === "raw" ? memory.source.datasets.get(source)?.key : undefined
  const encrypted = brought !== undefined || memory.target.datasets.get(parentOf(target) ?? "")?.encrypted === true
  const dataset = addDataset(memory, "target", target, { kind, encrypted })
  // What comes with a key of its own is a root, whatever it lies in.
  if (brought !== undefined) dataset.key = { root: target, salt: brought.salt, unloaded: true }
  return dataset
}

// The options -o of the receive take effect with the first record; so does the key, while its root stays as it is.
const settle = (memory: ReplicationMemory, dataset: MemoryDataset, { mode, source }: TransferRequest) => {
  const brought = mode === "raw" ? memory.source.datasets.get(source)?.key : undefined
  if (brought !== undefined && dataset.key !== undefined) {
    dataset.key = { ...dataset.key, salt: brought.salt }
  }
  dataset.partial = undefined
  dataset.written = 0
  dataset.placeholder = false
  dataset.mode = mode
  if (dataset.kind === "filesystem") dataset.properties.set("canmount", "off")
}

const keepPart = (
  memory: ReplicationMemory,
  request: TransferRequest,
  part: {
    readonly fromGuid: string | undefined
    readonly to: MemoryDataset["snapshots"][number]
    readonly received: number
  }
) => {
  const known = memory.target.datasets.get(request.target)
  const dataset = known ?? newDataset(memory, request)
  const { placeholder } = dataset
  const token = `1-${memory.tokens.size}-${part.to.guid}`
  const encrypted = memory.source.datasets.get(request.source)?.encrypted ?? false
  memory.tokens.set(token, { source: request.source, raw: encrypted && request.mode === "raw", ...part })
  const fresh = known === undefined || known.partial?.fresh === true
  settle(memory, dataset, request)
  dataset.placeholder = placeholder
  dataset.partial = { token, fresh, from: dataset.snapshots.at(-1)?.guid }
  if (fresh) dataset.written = part.received
}
