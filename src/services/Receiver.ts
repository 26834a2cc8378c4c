import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Endpoint } from "../domain/replication/Endpoint.ts"
import { Process } from "./Process.ts"
import type { ReceiverService } from "./replication/contract.ts"
import { makeDryRunReceiver } from "./replication/dryRun.ts"
import { Rehearsal } from "./replication/Rehearsal.ts"
import { makeReceiver } from "./replication/receiver.ts"

/** The end of a replication that gets the data. */
export class Receiver extends Context.Tag("zipper/Receiver")<Receiver, ReceiverService>() {
  /** OpenZFS on this host or behind ssh. */
  static readonly layer = (endpoint: Endpoint): Layer.Layer<Receiver, never, Process> =>
    Layer.effect(
      Receiver,
      Effect.map(Process, (process) => makeReceiver(process, endpoint))
    )

  /**
   * What `real` shows, but it changes nothing: it tells what it would do, and shows what would then be there.
   * Goes with Transfer.layerDryRun.
   */
  static readonly layerDryRun = <E, R>(
    real: Layer.Layer<Receiver, E, R>
  ): Layer.Layer<Receiver | Rehearsal, E, R> =>
    Layer.effectContext(
      Effect.map(Receiver, (service) => {
        const { receiver, rehearsal } = makeDryRunReceiver(service)
        return Context.make(Receiver, receiver).pipe(Context.add(Rehearsal, rehearsal))
      })
    ).pipe(Layer.provide(real))
}
