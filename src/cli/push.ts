import * as Command from "@effect/cli/Command"
import { replicate } from "./replicate.ts"
import * as options from "./replicationOptions.ts"

/** `zipper push`: from this host to another one. */
export const push = Command.make(
  "push",
  {
    ...options.shared,
    destination: options.pushedBelow,
    stripPrefix: options.stripPrefix,
    noRaw: options.noRaw
  },
  (flags) => replicate("push", { ...flags, raw: flags.noRaw ? false : undefined })
).pipe(
  Command.withDescription(
    "Send datasets to another host, every snapshot of them, without ever destroying one there. Example: zipper push --host offsite --strip-prefix tank/backup --destination pool/replicas tank/backup/nas"
  )
)
