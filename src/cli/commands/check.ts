import { accessSync, constants, realpathSync, statSync } from "node:fs"
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Check from "../../check/Check.ts"
import { type CronLine, type CronPlace, cronLines, crontabOf } from "../../check/Crontab.ts"
import { type Finding, warning } from "../../check/Finding.ts"
import type { ArchiveConfig } from "../../config/Config.ts"
import { jobFromConfig } from "../../config/ReplicationJob.ts"
import { Disk } from "../../system/Disk.ts"
import { ExitStatus } from "../../system/ExitStatus.ts"
import { userName } from "../../zfs/ZfsCommand.ts"
import { archiving, loadConfig, makeCommand } from "../command.ts"
import { stopUnless } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"

/** `zipper check`: would a run work, and how does cron start it? */
export const check = makeCommand(
  "check",
  "Look at everything a run depends on, leave nothing behind, and end with the lines for cron. Example: zipper check --config /usr/local/etc/zipper.json",
  { config: options.config },
  function* (flags) {
    const config = yield* loadConfig(flags.config)
    // A configuration for replication alone can be checked; one with nothing to run fails here.
    const archive =
      config.source_path === undefined && config.replication.length > 0
        ? []
        : yield* checkArchive(yield* archiving(flags.config, config))
    const replication = yield* Effect.forEach(config.replication, (written) => {
      const job = jobFromConfig(written)
      return Effect.provide(Check.checkReplication(job), services.replicationLayers(job, config, { dryRun: true }))
    })
    const state = yield* Effect.provide(Check.checkState(config), Disk.layer)
    const lasting = isLasting(flags.config)
    const findings = [...archive, ...replication.flat(), ...state, ...(lasting ? [] : [notLasting])]
    const ok = findings.every(({ status }) => status !== "problem")
    const place = cronPlace(flags.config)
    const crontab = crontabOf(place.platform)
    const cron =
      ok && lasting
        ? cronLines(place, {
            archive: config.source_path !== undefined,
            lockfile: config.lockfile_path,
            replication: config.replication.map(({ retention, ...job }) => ({
              ...job,
              prunes: retention !== undefined
            }))
          })
        : []
    yield* printDocument(Check.CheckDocument, { version: 1, ok, findings, crontab, cron })
    if (!(yield* Output).options.json) yield* Effect.forEach(findings, report, { discard: true })
    yield* stopUnless(ok, ExitStatus.preflight)
    yield* Effect.logInfo("a run would work")
    if (lasting) yield* printCronLines(cron, crontab)
  }
)

const notLasting = warning(
  "cron",
  "no lines for cron: this configuration is not a file that another process can read. Write it to a file, and check that one"
)

const checkArchive = (config: ArchiveConfig) =>
  Check.check(config).pipe(Effect.provide(services.checkLayers(config, services.archiveIdentity(config))))

const report = ({ subject, status, detail }: Finding) => {
  const line = `${subject}: ${detail}`
  if (status === "problem") return Effect.logError(line)
  return status === "warning" ? Effect.logWarning(line) : Effect.logInfo(line)
}

// The lines have no prefix, so that they can be pasted.
const printCronLines = Effect.fnUntraced(function* (lines: ReadonlyArray<CronLine>, crontab: string) {
  const output = yield* Output
  if (lines.length === 0) {
    yield* Effect.logWarning(
      "no lines for cron: the path of zipper, node, the configuration or the lock holds what a crontab cannot"
    )
  } else if (!output.options.quiet) {
    yield* Effect.logInfo(`for cron, in ${crontab}:`)
    yield* output.print(["", ...lines.map(({ line }) => line)].join("\n"))
  }
})

/** This program, this configuration and this user, as a line for cron names them. */
const cronPlace = (config: string): CronPlace => {
  const zipper = process.argv[1] ?? "zipper"
  return {
    platform: process.platform,
    user: userName(),
    zipper,
    node: startsByItself(zipper) ? undefined : process.execPath,
    config: resolve(config)
  }
}

/** Whether a later process finds the same configuration under this path: not in a pipe or another file that this process has open. */
const isLasting = (config: string): boolean =>
  succeeds(() => {
    const path = resolve(config)
    return !isPassing(path) && !isPassing(realpathSync(path)) && statSync(path).isFile()
  })

const isPassing = (path: string): boolean => /^\/(?:dev\/(?:fd|std)|proc\/)/.test(path)

/** Whether cron could start it by name: it is executable, and the `node` of its first line is the one that runs now. */
const startsByItself = (zipper: string): boolean => {
  const node = ["/usr/bin/node", "/bin/node"].find(isProgram)
  return isProgram(zipper) && node !== undefined && realpathSync(node) === realpathSync(process.execPath)
}

const isProgram = (path: string): boolean => succeeds(() => accessSync(path, constants.X_OK) === undefined)

// What this process cannot look at, cron could not use either.
const succeeds = (look: () => boolean): boolean => {
  try {
    return look()
  } catch {
    return false
  }
}
