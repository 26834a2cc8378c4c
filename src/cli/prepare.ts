import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { PrepareDocument } from "../domain/documents/Rights.ts"
import { placeFromFlags } from "../domain/replication/JobFlags.ts"
import * as Prepare from "../programs/Prepare.ts"
import { Process } from "../services/Process.ts"
import { Receiver } from "../services/Receiver.ts"
import type { Preparation } from "../services/replication/contract.ts"
import { command } from "./command.ts"
import { printDocument } from "./Output.ts"
import { json, output } from "./options.ts"
import * as options from "./replicationOptions.ts"
import { UsageError } from "./UsageError.ts"

/** `zipper prepare`: a parent for replicas. */
export const prepare = Command.make(
  "prepare",
  { ...options.remote, dryRun: options.dryRun, json, datasets: options.datasets, ...output },
  (flags) =>
    Effect.gen(function* () {
      const place = placeFromFlags(flags)
      if (Either.isLeft(place)) return yield* new UsageError({ command: "prepare", problems: place.left })
      const real = Receiver.layer(place.right)
      const done = yield* Effect.forEach(flags.datasets, (dataset) =>
        Effect.map(Prepare.prepare(dataset), (report) => ({ dataset, ...report }))
      ).pipe(Effect.provide(Layer.provide(flags.dryRun ? Receiver.layerDryRun(real) : real, Process.layer)))
      if (flags.json) {
        yield* printDocument(PrepareDocument, {
          version: 1,
          dry_run: flags.dryRun,
          host: place.right._tag === "Local" ? null : place.right.host,
          datasets: done.map(documentOf)
        })
      }
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Make the dataset that replicas are written below, or set what it lacks: canmount=off, acltype=posix, xattr=sa. Example: zipper prepare tank/backup"
  )
)

const documentOf = ({
  changed,
  created,
  dataset,
  parents
}: Preparation & { readonly dataset: string }): PrepareDocument["datasets"][number] => ({
  dataset,
  result: created ? "made" : changed.length > 0 ? "set" : "nothing_to_do",
  parents,
  properties: changed
})
