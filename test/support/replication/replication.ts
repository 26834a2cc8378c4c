import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import type { Job } from "../../../src/config/ReplicationJob.ts"
import type { Notification } from "../../../src/notify/Notifier.ts"
import { Receiver } from "../../../src/replication/Receiver.ts"
import { type RunReplicationOptions, runReplication } from "../../../src/replication/Replicate.ts"
import { Sender } from "../../../src/replication/Sender.ts"
import { Transfer } from "../../../src/replication/Transfer.ts"
import type { DatasetResult } from "../../../src/runs/ReplicationResult.ts"
import { Progress } from "../../../src/system/Progress.ts"
import { memoryLock } from "../../doubles/Lock.ts"
import { memoryNotifier } from "../../doubles/Notifier.ts"
import { memoryReceiver } from "../../doubles/replication/receiver.ts"
import { memorySender } from "../../doubles/replication/sender.ts"
import { memoryTransfer } from "../../doubles/replication/transfer.ts"
import {
  addDataset,
  addSnapshot,
  type MemoryDataset,
  makeReplicationMemory,
  type ReplicationMemory
} from "../../doubles/replication/world.ts"
import { makeState } from "../program/state.ts"

export const job: Job = {
  name: "pull-nas",
  direction: "pull",
  remote: { _tag: "Remote", host: "nas", user: "backup", options: [] },
  datasets: ["tank"],
  exclude: [],
  destination: "backup",
  stripPrefix: undefined,
  mode: "plain",
  compress: "none",
  bandwidth: undefined,
  concurrency: 1,
  retention: undefined,
  bookmark: true,
  snapshot: false,
  sourceRetention: undefined
}

/** The services over a world in memory; `dry`: as a dry run has them. */
export const servicesOf = (memory: ReplicationMemory, dry = false) => {
  const sender = memorySender(memory)
  return dry
    ? Transfer.layerDryRun(memoryTransfer(memory)).pipe(
        Layer.provideMerge(Layer.merge(Sender.layerDryRun(sender), Receiver.layerDryRun(memoryReceiver(memory))))
      )
    : Layer.mergeAll(sender, memoryReceiver(memory), memoryTransfer(memory))
}

/** A world, what was said about it, and the means to replicate in it. */
export const makeKit = (given: Partial<Job> = {}, held: ReadonlyArray<string> = []) =>
  Effect.gen(function* () {
    const memory = makeReplicationMemory()
    addDataset(memory, "target", "backup")
    const lines: Array<string> = []
    const sent = yield* Ref.make<ReadonlyArray<Notification>>([])
    const state = yield* makeState([{ kind: "replication", name: job.name }])
    const around = Layer.mergeAll(
      memoryLock(held),
      memoryNotifier(sent),
      Progress.layerNone,
      state.layer,
      recording(lines)
    )
    const unhurried = (options: Partial<RunReplicationOptions & { readonly dryRun: boolean }> = {}) =>
      runReplication(
        { ...job, ...given },
        {
          run: "ab12cd",
          rollback: false,
          retries: 3,
          lockfile: "/var/run/zipper.pull-nas.lock",
          host: "backup",
          pid: 4711,
          named: true,
          notify_on: ["failure"],
          reminder_hours: 24,
          ...options
        }
      ).pipe(Effect.provide(Layer.merge(servicesOf(memory, options.dryRun), around)))
    const run = (options: Parameters<typeof unhurried>[0] = {}) => letTimePass(unhurried(options))
    return {
      memory,
      /** "LEVEL dataset: message" of every record, debug included. */
      lines,
      sent,
      state,
      around,
      run,
      /** {@link run} without letting time pass. */
      unhurried,
      source: (name: string, snapshots: ReadonlyArray<string>, options?: { readonly encrypted?: boolean }) =>
        withSnapshots(memory, addDataset(memory, "source", name, options), snapshots),
      /** A target's snapshots by name. */
      names: (target: string) => memory.target.datasets.get(target)?.snapshots.map(({ name }) => name)
    }
  })

/** A dataset `tank` that was replicated with its snapshot @1, and the replica: what becomes of them then is the test's. */
export const replicatedOnce = Effect.fnUntraced(function* (kit: Effect.Effect.Success<ReturnType<typeof makeKit>>) {
  const tank = kit.source("tank", ["1"])
  yield* kit.run()
  const replica = kit.memory.target.datasets.get("backup/nas/tank")
  return replica === undefined ? yield* Effect.dieMessage("there is no replica") : { tank, replica }
})

const withSnapshots = (
  memory: ReplicationMemory,
  dataset: MemoryDataset,
  snapshots: ReadonlyArray<string>
): MemoryDataset => {
  for (const name of snapshots) addSnapshot(memory, dataset, name)
  return dataset
}

/** Lets every wait come to its end. */
export const letTimePass = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

export const recording = (lines: Array<string>) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ annotations, logLevel, message }) => {
      const named = [...annotations].find(([key]) => key === "dataset")?.[1]
      const text = Array.isArray(message) ? message.join(" ") : String(message)
      lines.push(`${logLevel.label} ${named === undefined ? "" : `${named}: `}${text}`)
    })
  )

/** Results in short: "tank/a Sent". */
export const short = (results: ReadonlyArray<DatasetResult>): ReadonlyArray<string> =>
  results.map(({ dataset, result }) => `${dataset} ${result}`)

/** What a failure or refusal says. */
export const errorOf = (results: ReadonlyArray<DatasetResult>, dataset: string): string => {
  const found = results.find((result) => result.dataset === dataset)
  return found !== undefined && "error" in found ? found.error : ""
}
