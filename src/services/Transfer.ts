import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Process } from "./Process.ts"
import { Receiver } from "./Receiver.ts"
import type { TransferService } from "./replication/contract.ts"
import { makeDryRunTransfer } from "./replication/dryRun.ts"
import { Rehearsal } from "./replication/Rehearsal.ts"
import { makeTransfer, type TransferSettings } from "./replication/transfer.ts"
import { Sender } from "./Sender.ts"

/** Moves streams from the sender to the receiver. */
export class Transfer extends Context.Tag("zipper/Transfer")<Transfer, TransferService>() {
  /** One kernel pipe between `zfs send` and `zfs receive`, either of them behind ssh. */
  static readonly layer = (settings: TransferSettings): Layer.Layer<Transfer, never, Process> =>
    Layer.effect(
      Transfer,
      Effect.map(Process, (process) => makeTransfer(process, settings))
    )

  /** Sends nothing: tells what `real` would send, and has Receiver.layerDryRun show it as received. */
  static readonly layerDryRun = <E, R>(
    real: Layer.Layer<Transfer, E, R>
  ): Layer.Layer<Transfer, E, R | Sender | Receiver | Rehearsal> =>
    Layer.effect(
      Transfer,
      Effect.map(
        Effect.all({ real: Transfer, sender: Sender, receiver: Receiver, rehearsal: Rehearsal }),
        makeDryRunTransfer
      )
    ).pipe(Layer.provide(real))
}
