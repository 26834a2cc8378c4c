import * as Command from "@effect/cli/Command"
import { replicate } from "./replicate.ts"
import * as options from "./replicationOptions.ts"

/** `zipper pull`: from another host to this one. */
export const pull = Command.make(
  "pull",
  { ...options.shared, destination: options.pulledBelow, raw: options.raw },
  (flags) => replicate("pull", { ...flags, stripPrefix: undefined, raw: flags.raw ? true : undefined })
).pipe(
  Command.withDescription(
    "Fetch datasets from another host, every snapshot of them, without ever destroying one here. Example: zipper pull --host nas --user backup --destination tank/backup tank/data"
  )
)
