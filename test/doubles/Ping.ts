import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { Ping } from "../../src/notify/Ping.ts"

/** Keeps what was sent in `sent`, in order ("start", "success", "fail: …"). */
export const memoryPing = (sent: Ref.Ref<ReadonlyArray<string>>): Layer.Layer<Ping> => {
  const keep = (what: string) => Ref.update(sent, (all) => [...all, what])
  return Layer.succeed(Ping, {
    start: keep("start"),
    success: keep("success"),
    fail: (body) => keep(`fail: ${body}`)
  })
}
