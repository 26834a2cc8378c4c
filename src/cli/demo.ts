import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type ArchiveConfig, decode, withToken } from "../domain/Config.ts"
import { DemoDocument } from "../domain/documents/Messages.ts"
import { ExitStatus } from "../domain/ExitStatus.ts"
import { announcedJob } from "../programs/Announce.ts"
import * as Demo from "../programs/Demo.ts"
import { Process } from "../services/Process.ts"
import { command } from "./command.ts"
import { Stop } from "./Exit.ts"
import { printDocument } from "./Output.ts"
import * as options from "./options.ts"
import * as progressBar from "./progressBar.ts"
import * as services from "./services.ts"

const keep = Options.boolean("keep").pipe(
  Options.withDescription("Leave the temporary folder there, to look around in it.")
)

/** `zipper demo`: the archive job on a sample, for somebody who has no ZFS at hand. */
export const demo = Command.make("demo", { keep, json: options.json, ...options.output }, (flags) =>
  Effect.gen(function* () {
    const place = yield* Demo.makePlace(flags.keep)
    const config = yield* configFor(place)
    const { archived, checks, ok } = yield* Demo.demonstrate(place, job(config)).pipe(
      Effect.provide(Process.layer)
    )
    if (flags.keep) yield* Effect.logInfo(`${place.root} is left for you to look at.`)
    if (flags.json) {
      const folder = flags.keep ? place.root : null
      yield* printDocument(DemoDocument, { version: 1, ok, folder, archived, checks })
    }
    if (!ok) {
      yield* Effect.logError("the demonstration did not go as it should: please report this")
      return yield* new Stop({ status: ExitStatus.someFailed })
    }
    yield* Effect.logInfo(
      "All well: DOCS was archived again and its archive before kept, the others were left alone. Next: zipper config init"
    )
  }).pipe(Effect.scoped, command(flags))
).pipe(
  Command.withDescription(
    "Show the archive job at work on a small sample in a temporary folder. Example: zipper demo"
  )
)

// The same path as a configuration file takes, so that the demonstration cannot drift from it.
const configFor = (place: Demo.DemoPlace) =>
  decode({
    source_path: place.source,
    target_path: place.target,
    snapshots: "live",
    lockfile_path: `${place.root}/zipper.lock`,
    log_file: `${place.root}/zipper.log`,
    syslog: false
  }).pipe(
    Either.mapBoth({
      onLeft: (issues) => new Error(issues.join("\n")),
      onRight: (document): ArchiveConfig => ({
        ...withToken(document, undefined),
        source_path: place.source,
        target_path: place.target
      })
    }),
    Effect.orDie
  )

const job = (config: ArchiveConfig) => {
  const id = services.makeIdentity(config)
  return announcedJob(config, { ...id, folders: [], force: false }).pipe(
    Effect.provide(services.live(config, id)),
    Effect.provide(progressBar.layer),
    services.logs(config, id)
  )
}
