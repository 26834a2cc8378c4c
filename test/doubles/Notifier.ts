import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { type Notification, Notifier } from "../../src/notify/Notifier.ts"

/** Keeps the messages in `sent`, in order. */
export const memoryNotifier = (
  sent: Ref.Ref<ReadonlyArray<Notification>>,
  before: Effect.Effect<void> = Effect.void
): Layer.Layer<Notifier> =>
  Layer.succeed(Notifier, {
    send: (notification) =>
      Effect.zipRight(
        before,
        Ref.update(sent, (all) => [...all, notification])
      ),
    probe: Effect.succeed("Gotify" as const)
  })
