import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Plan } from "../../../src/replication/Plan.ts"
import { Receiver } from "../../../src/replication/Receiver.ts"
import { Sender } from "../../../src/replication/Sender.ts"
import type { Stream } from "../../../src/replication/Stream.ts"
import { Transfer } from "../../../src/replication/Transfer.ts"
import type { SourceDataset, TargetDataset } from "../../../src/zfs/Dataset.ts"
import { asTarget, memoryReceiver } from "../../doubles/replication/receiver.ts"
import { asSource, memorySender } from "../../doubles/replication/sender.ts"
import { stepsOf } from "../../doubles/replication/steps.ts"
import { memoryTransfer } from "../../doubles/replication/transfer.ts"
import { addDataset, type MemoryDataset, makeReplicationMemory, Refused } from "../../doubles/replication/world.ts"

const sourceName = "tank/data"
const targetName = "backup/nas/tank/data"
/** What a snapshot of {@link addSnapshot} takes to send. */
const snapshotBytes = 100

/** One dataset and its replica in a world in memory, without fibers: plans are carried out in one step. */
export class ModelWorld {
  readonly memory = makeReplicationMemory()
  readonly source: MemoryDataset
  private readonly services = Effect.runSync(
    Effect.scoped(
      Layer.build(Layer.mergeAll(memorySender(this.memory), memoryReceiver(this.memory), memoryTransfer(this.memory)))
    )
  )

  constructor() {
    this.source = addDataset(this.memory, "source", sourceName)
    for (const name of ["backup", "backup/nas", "backup/nas/tank"]) addDataset(this.memory, "target", name)
  }

  get target(): MemoryDataset | undefined {
    return this.memory.target.datasets.get(targetName)
  }

  get sourceState(): SourceDataset {
    return asSource(this.memory.source.datasets, this.source)
  }

  get targetState(): TargetDataset | undefined {
    return this.target && asTarget(this.memory.target.datasets, this.target)
  }

  /** Makes the dataset without receiving anything: a parent of ours, or one of another program. */
  createTarget(placeholder: boolean): void {
    const target = addDataset(this.memory, "target", targetName, { canmount: "off", placeholder })
    // What an empty dataset takes up; of a placeholder that was expected.
    target.written = placeholder ? 0 : 24576
  }

  destroyTarget(): void {
    this.memory.target.datasets.delete(targetName)
  }

  /**
   * Does what the plan says, and nothing else. With `cutAfter` the connection is lost once so many snapshots have arrived: the
   * next one stays behind half received. Gives whether it came to its end. Throws where zfs refuses.
   */
  carryOut(plan: Plan, cutAfter = Number.POSITIVE_INFINITY): boolean {
    const receiver = Context.get(this.services, Receiver)
    if (plan._tag === "Resume") {
      const { dead, force, token } = plan
      const found = Effect.runSync(Context.get(this.services, Sender).resumable(token))
      if (dead !== undefined || found._tag === "Gone") Effect.runSync(receiver.abort(targetName))
      else this.send({ _tag: "Resume", token, force, toGuid: found.toGuid, toName: found.toName })
    }
    if (plan._tag !== "Full" && plan._tag !== "Incremental") return true
    if (plan._tag === "Incremental" && plan.rollback !== undefined) {
      Effect.runSync(receiver.rollback(targetName, plan.rollback))
    }
    let left = cutAfter
    for (const stream of plan.streams) {
      const { length } = Effect.runSync(stepsOf(this.memory, sourceName, stream))
      if (left < length) {
        this.memory.cuts.push((left + 0.5) * snapshotBytes)
        this.send(stream)
        return false
      }
      this.send(stream)
      left -= length
    }
    return true
  }

  private send(stream: Stream): void {
    this.refuseGap(stream)
    const request = {
      source: sourceName,
      target: targetName,
      kind: "filesystem",
      mode: "plain",
      format: "plain"
    } as const
    Effect.runSync(
      Effect.catchIf(
        Context.get(this.services, Transfer).send({ ...request, stream, onProgress: () => {} }),
        ({ reason }) => reason === "Unreachable",
        () => Effect.void
      )
    )
  }

  /** `-i` leaves out what is between; a plan that lets it would lose snapshots. */
  private refuseGap(stream: Stream): void {
    if (stream._tag !== "FromBookmark") return
    const from = this.source.bookmarks.find(({ guid }) => guid === stream.from.guid)
    const between = this.source.snapshots.filter(
      ({ createtxg }) => from !== undefined && createtxg > from.createtxg && createtxg < stream.to.createtxg
    )
    if (between.length > 0) throw new Refused("snapshots left out")
  }
}
