import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import type { ArchiveConfig } from "../domain/Config.ts"
import { ExitStatus } from "../domain/ExitStatus.ts"
import { fromConfig } from "../domain/replication/Job.ts"
import * as Check from "../programs/Check.ts"
import { checkReplication } from "../programs/CheckReplication.ts"
import type { Finding } from "../programs/Finding.ts"
import { archiving, command, loadConfig } from "./command.ts"
import { Stop } from "./Exit.ts"
import { Output } from "./Output.ts"
import * as options from "./options.ts"
import * as replicationServices from "./replicationServices.ts"
import * as services from "./services.ts"

/** `zipper check`: would a run work? */
export const check = Command.make(
  "check",
  { config: options.config, json: options.json, ...options.output },
  (flags) =>
    Effect.gen(function* () {
      const config = yield* loadConfig(flags.config)
      const output = yield* Output
      // A configuration for replication alone is one to check as well; one without anything to run is not.
      const archive =
        config.source_path === undefined && config.replication.length > 0
          ? []
          : yield* checkArchive(yield* archiving(flags.config, config))
      const replication = yield* Effect.forEach(config.replication, (written) => {
        const job = fromConfig(written)
        return Effect.provide(checkReplication(job), replicationServices.dryRun(job, config))
      })
      const findings = [...archive, ...replication.flat()]
      const problems = findings.filter(({ status }) => status === "problem")
      if (flags.json) yield* output.json({ version: 1, ok: problems.length === 0, findings })
      else yield* Effect.forEach(findings, report, { discard: true })
      if (problems.length > 0) return yield* new Stop({ status: ExitStatus.preflight })
      yield* Effect.logInfo("a run would work")
    }).pipe(command(flags))
).pipe(
  Command.withDescription(
    "Look at everything a run depends on, and change nothing. Example: zipper check --config /usr/local/etc/zipper.json"
  )
)

const checkArchive = (config: ArchiveConfig) =>
  Check.check(config).pipe(Effect.provide(services.checking(config, services.makeIdentity(config))))

const report = ({ subject, status, detail }: Finding) => {
  const line = `${subject}: ${detail}`
  if (status === "problem") return Effect.logError(line)
  return status === "warning" ? Effect.logWarning(line) : Effect.logInfo(line)
}
