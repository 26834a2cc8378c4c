import { existsSync, realpathSync, statSync } from "node:fs"
import { homedir, userInfo } from "node:os"
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Check from "../../check/Check.ts"
import { type CronLine, type CronPlace, cronLines, crontabOf } from "../../check/Crontab.ts"
import { type Finding, warning } from "../../check/Finding.ts"
import { installing, type SystemdUnit, systemdUnits } from "../../check/Systemd.ts"
import { type ArchiveConfig, stateDirOf } from "../../config/Config.ts"
import { isInherited } from "../../config/ConfigFile.ts"
import { jobFromConfig } from "../../config/ReplicationJob.ts"
import { ReplicaEnd } from "../../replication/RecoverEnd.ts"
import { Disk } from "../../system/Disk.ts"
import { valueOr } from "../../system/Errno.ts"
import { ExitStatus } from "../../system/ExitStatus.ts"
import { Process } from "../../system/Process.ts"
import { userName } from "../../zfs/ZfsCommand.ts"
import { archiving, loadConfig, makeCommand } from "../command.ts"
import { findConfig } from "../configPath.ts"
import { stopUnless } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"
import { commandLine, isExecutable, thisProgram } from "../program.ts"

/** `zipper check`: would a run work, and how does cron start it? */
export const check = makeCommand(
  "check",
  "Look at everything a run depends on, leave nothing behind, and end with the lines for cron, or the units for systemd. Example: zipper check --config /usr/local/etc/zipper.json",
  {
    config: options.config,
    systemd: options.flag(
      "systemd",
      "Print units for systemd, a service and a timer for each job, in place of the lines for cron; messages go to standard error."
    )
  },
  function* (flags) {
    const config = yield* loadConfig(flags.config)
    // A configuration for replication alone can be checked; one with nothing to run fails here.
    const archive =
      config.source_path === undefined && config.replication.length > 0
        ? yield* Effect.provide(Check.checkNotifier, services.notifier(config))
        : yield* checkArchive(yield* archiving(flags.config, config))
    // --config has its default here.
    const named = flags.config === findConfig(undefined, {}).path ? undefined : flags.config
    const replication = yield* Effect.forEach(config.replication, (written) => {
      const job = jobFromConfig(written)
      const replicas = Layer.provide(ReplicaEnd.layer(services.endsOf(job).target, true), Process.layer)
      return Effect.zipWith(
        Effect.provide(Check.checkReplication(job), services.replicationLayers(job, config, { dryRun: true })),
        Effect.provide(Check.checkLooks(job, named), replicas),
        (findings, looks) => [...findings, ...looks]
      )
    })
    const hooks = yield* Effect.provide(Check.checkHooks(config), services.hooksOf(config, true))
    const state = yield* Effect.provide(Check.checkState(config), Disk.layer)
    const lasting = isLasting(flags.config)
    const place = cronPlace(flags.config)
    const hasSystemd = place.platform === "linux"
    const findings = [
      ...archive,
      ...replication.flat(),
      ...hooks,
      ...state,
      ...(lasting ? [] : [notLasting]),
      ...(flags.systemd && !hasSystemd ? [noSystemd(place.platform)] : [])
    ]
    const ok = findings.every(({ status }) => status !== "problem")
    const crontab = crontabOf(place.platform)
    const work = {
      archive: config.source_path !== undefined,
      lockfile: config.lockfile_path,
      replication: config.replication.map(({ retention, ...job }) => ({ ...job, prunes: retention !== undefined })),
      home: homeFolder(),
      config
    }
    const cron = ok && lasting ? cronLines(place, work) : []
    const units = flags.systemd && hasSystemd && ok && lasting ? systemdUnits(place, work) : []
    yield* printDocument(Check.CheckDocument, {
      version: 1,
      ok,
      findings,
      crontab,
      cron,
      ...(flags.systemd ? { systemd: units } : {})
    })
    if (!(yield* Output).options.json) yield* Effect.forEach(findings, report, { discard: true })
    yield* stopUnless(ok, ExitStatus.preflight)
    yield* Effect.logInfo("a run would work")
    if (!lasting) return
    if (flags.systemd && hasSystemd) {
      const state = stateDirOf(config)
      const missing = config.target_path === undefined && !existsSync(state) ? [state] : []
      const printed = commandLine("check", "--config", place.config, "--systemd")
      return yield* printUnits(units, installing(printed, units, place.user, missing))
    }
    yield* printCronLines(cron, crontab)
  },
  ({ systemd }) => systemd
)

const notLasting = warning(
  "cron",
  "no lines for cron: this configuration is not a file that another process can read. Write it to a file, and check that one"
)

const noSystemd = (platform: string) =>
  warning("systemd", `there is no systemd on ${platform}: the lines for cron are what to use`)

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

/** Standard output gets the units alone, so that a program can write them to their files. */
const printUnits = Effect.fnUntraced(function* (units: ReadonlyArray<SystemdUnit>, commands: ReadonlyArray<string>) {
  const output = yield* Output
  if (units.length === 0) {
    yield* Effect.logWarning(
      "no units for systemd: the path of zipper, node, the configuration or a folder that it names, or the name of the user, holds what a unit cannot"
    )
  } else if (!output.options.quiet) {
    yield* output.print(units.map(({ text }) => text).join("\n"))
    yield* Effect.logInfo(
      [
        "the first line of each unit names its file; to write these and to start the timers, as root:",
        ...commands
      ].join("\n")
    )
  }
})

/** Where ssh looks for `.ssh`: it goes by the user database, not by HOME. */
const homeFolder = (): string => valueOr(() => userInfo().homedir, undefined) ?? homedir()

/** This program, this configuration and this user, as a line for cron names them. */
const cronPlace = (config: string): CronPlace => {
  const { file, node } = thisProgram()
  return {
    platform: process.platform,
    user: userName(),
    zipper: file,
    node: node === undefined || startsByItself(file, node) ? undefined : node,
    config: resolve(config)
  }
}

/** Whether a later process finds the same configuration under this path: not in a pipe or another file that this process has open. */
const isLasting = (config: string): boolean =>
  valueOr(() => {
    const path = resolve(config)
    return !isInherited(path) && !isInherited(realpathSync(path)) && statSync(path).isFile()
  }, false)

/** Whether cron could start it by name: it is executable, and the `node` of its first line is the one that runs now. */
const startsByItself = (zipper: string, node: string): boolean => {
  const found = ["/usr/bin/node", "/bin/node"].find(isExecutable)
  return isExecutable(zipper) && found !== undefined && realpathSync(found) === realpathSync(node)
}
