import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Endpoint } from "../domain/replication/Endpoint.ts"
import { Process } from "./Process.ts"
import type { SenderService } from "./replication/contract.ts"
import { makeSender } from "./replication/sender.ts"

/** The end of a replication that has the data. Only looks, but for `grant`. */
export class Sender extends Context.Tag("zipper/Sender")<Sender, SenderService>() {
  /** OpenZFS on this host or behind ssh. */
  static readonly layer = (endpoint: Endpoint): Layer.Layer<Sender, never, Process> =>
    Layer.effect(
      Sender,
      Effect.map(Process, (process) => makeSender(process, endpoint))
    )
}
