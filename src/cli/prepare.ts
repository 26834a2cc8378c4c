import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { placeFromFlags } from "../domain/replication/JobFlags.ts"
import * as Prepare from "../programs/Prepare.ts"
import { Process } from "../services/Process.ts"
import { Receiver } from "../services/Receiver.ts"
import { command } from "./command.ts"
import { output } from "./options.ts"
import * as options from "./replicationOptions.ts"
import { UsageError } from "./UsageError.ts"

/** `zipper prepare`: a parent for replicas. */
export const prepare = Command.make(
  "prepare",
  { ...options.remote, dryRun: options.dryRun, datasets: options.datasets, ...output },
  (flags) =>
    Effect.gen(function* () {
      const place = placeFromFlags(flags)
      if (Either.isLeft(place)) return yield* new UsageError({ command: "prepare", problems: place.left })
      const real = Receiver.layer(place.right)
      yield* Effect.forEach(flags.datasets, Prepare.prepare).pipe(
        Effect.provide(Layer.provide(flags.dryRun ? Receiver.layerDryRun(real) : real, Process.layer))
      )
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Make the dataset that replicas are written below, or set what it lacks: canmount=off, acltype=posix, xattr=sa. Example: zipper prepare tank/backup"
  )
)
