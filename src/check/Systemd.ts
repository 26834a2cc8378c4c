import { dirname } from "node:path"
import * as Schema from "effect/Schema"
import { type Config, stateDirOf } from "../config/Config.ts"
import { shortDigest } from "../config/ReplicationJob.ts"
import { text } from "../text/Document.ts"
import { shellWords } from "../text/Text.ts"
import {
  type CronPlace,
  type CronWork,
  isFitUser,
  isUnfit,
  type Scheduled,
  ScheduledCommand,
  scheduleOf
} from "./Crontab.ts"

/**
 * Units for systemd: a service and a timer for each job. In a unit `%` begins a specifier, and in a command line `$` a
 * variable unless the line begins with `:`; a word in double quotes has backslash escapes.
 */

export const SystemdUnit = Schema.Struct({
  command: ScheduledCommand,
  job: Schema.NullOr(text("the replication job")),
  name: text("the name of the unit: a service, or the timer that starts it"),
  file: text("the file that the unit goes into"),
  text: text("the whole file")
})
export type SystemdUnit = typeof SystemdUnit.Type

/** What the services need to know of the machine and the configuration. */
export interface UnitWork extends CronWork {
  /** Home of the user: ssh writes to `.ssh` in it. */
  readonly home: string
  readonly config: UnitConfig
}

type UnitConfig = Pick<
  Config,
  | "source_path"
  | "target_path"
  | "state_dir"
  | "tmp_dir"
  | "log_file"
  | "lockfile_path"
  | "metrics_file"
  | "umask"
  | "retries"
  | "task_timeout_seconds"
  | "gotify"
  | "hooks"
>

/**
 * A service and a timer for each job. None for what a unit cannot hold: line breaks, invisible characters, a space in the user,
 * quotes and backslashes in the path of the program that is started.
 */
export const systemdUnits = (place: CronPlace, work: UnitWork): ReadonlyArray<SystemdUnit> => {
  const scheduled = scheduleOf(place, work)
  const words = scheduled.flatMap((each) => [...each.words, ...writableBy(each, work)])
  const isUnfitProgram = /["'\\]/.test(place.node ?? place.zipper)
  if (isUnfitProgram || words.some(isUnfit) || !isFitUser(place.user)) return []
  return scheduled.flatMap((each) => {
    const stem = stemOf(each, place.config)
    const unit = (kind: "service" | "timer", lines: ReadonlyArray<string>): SystemdUnit => {
      const [name, file] = [`${stem}.${kind}`, `${unitFolder}/${stem}.${kind}`]
      return { command: each.command, job: each.job, name, file, text: `${[`# ${file}`, ...lines].join("\n")}\n` }
    }
    return [unit("service", serviceOf(each, place, work)), unit("timer", timerOf(each, place))]
  })
}

/** The shell commands that write the units that `printed` prints, make the `missing` folders and start the timers. */
export const installing = (
  printed: string,
  units: ReadonlyArray<SystemdUnit>,
  user: string,
  missing: ReadonlyArray<string>
): ReadonlyArray<string> => [
  `${printed} | awk '/^# \\/etc\\// {file = $2} {print > file}'`,
  ...missing.map((folder) => shellWords(["install", "-d", "-m", "750", "-o", user, "--", folder])),
  "systemctl daemon-reload",
  ["systemctl enable --now", ...units.map(({ name }) => name).filter((name) => name.endsWith(".timer"))].join(" ")
]

const unitFolder = "/etc/systemd/system"

/** The configuration whose units have the plain names; those of another one have a word of its path in theirs. */
const usualConfig = "/etc/zipper.json"

const stemOf = ({ command, job }: Scheduled, config: string): string =>
  [
    "zipper",
    ...(config === usualConfig ? [] : [shortDigest(config)]),
    command === "run" ? "archive" : command,
    ...(job === null ? [] : [job])
  ].join("-")

const timerOf = (scheduled: Scheduled, { config }: CronPlace): ReadonlyArray<string> => {
  const { command, every, hour, minute } = scheduled
  const time = `${every === "hour" ? "*" : twoDigits(hour)}:${twoDigits(minute)}:00`
  const days = { hour: "*-*-*", day: "*-*-*", week: "Sun *-*-*" }[every]
  return [
    "[Unit]",
    `Description=Starts ${described(scheduled, config)}`,
    "",
    "[Timer]",
    `OnCalendar=${days} ${time}`,
    "Persistent=true",
    // The minute comes from the path of the configuration, which is the same on several machines.
    ...(command === "pull" || command === "push" ? ["RandomizedDelaySec=10min"] : []),
    "",
    "[Install]",
    "WantedBy=timers.target"
  ]
}

const twoDigits = (number: number): string => String(number).padStart(2, "0")

const described = ({ command, job }: Scheduled, config: string): string =>
  `zipper ${command}${job === null ? "" : ` --job ${job}`} --config ${unitWord(config)}`

/** A word of a unit: a command line's or a list's. */
const unitWord = (word: string): string =>
  /^[A-Za-z0-9_./:@,+-]+$/.test(word)
    ? word
    : `"${word.replace(/["\\]/g, (character) => `\\${character}`).replaceAll("%", "%%")}"`

/** What the command writes. A file's folder, since files are made there and renamed. */
const writableBy = ({ job }: Scheduled, { config, home }: UnitWork): ReadonlyArray<string> => {
  const archive = job === null
  const { lockfile_path, log_file, metrics_file, target_path, tmp_dir } = config
  return [
    ...new Set([
      target_path ?? stateDirOf(config),
      ...(archive && tmp_dir !== undefined ? [tmp_dir] : []),
      ...[log_file, lockfile_path, ...(metrics_file === undefined ? [] : [metrics_file])].map((file) => dirname(file)),
      ...(archive ? [] : [`${home === "/" ? "" : home}/.ssh`])
    ])
  ]
}

const isTemporary = (path: string): boolean => /^\/(?:var\/)?tmp(?:\/|$)/.test(path)

const week = 7 * 86_400

/** Longer than all attempts at one folder, which a run that is ended would begin again. */
const timeLimit = ({ command }: Scheduled, { retries, task_timeout_seconds }: UnitConfig): number =>
  command === "run" ? Math.max(week, (retries + 1) * task_timeout_seconds + 86_400) : week

const serviceOf = (scheduled: Scheduled, place: CronPlace, work: UnitWork): ReadonlyArray<string> => {
  const { words } = scheduled
  return [
    "[Unit]",
    `Description=${described(scheduled, place.config)}`,
    "Wants=network-online.target",
    "After=network-online.target zfs.target",
    "",
    "[Service]",
    "Type=oneshot",
    `User=${place.user}`,
    // That of cron, with which the check has looked for node; zipper looks for other programs in more folders.
    "Environment=PATH=/usr/bin:/bin",
    `UMask=${work.config.umask}`,
    `ExecStart=:${words.map(unitWord).join(" ")}`,
    "# On SIGTERM zipper ends its programs and cleans up. What is finished stays, and the next run goes on from there,",
    "# so that a first run may take longer than this limit.",
    `TimeoutStartSec=${timeLimit(scheduled, work.config)}`,
    "TimeoutStopSec=300",
    "KillMode=mixed",
    "SuccessExitStatus=143",
    "",
    ...(hasHooks(scheduled, work.config) ? unconfined : confined(scheduled, place, work))
  ]
}

const hasHooks = ({ command }: Scheduled, { hooks = {} }: UnitConfig): boolean =>
  hooks.failure !== undefined || (command === "run" && (hooks.before ?? hooks.after) !== undefined)

const unconfined = [
  "# Nothing is forbidden here: the hooks of the configuration run in this unit, and may need anything. What a hook leaves",
  "# running is ended with the unit, unless systemctl or systemd-run started it."
]

const confined = (scheduled: Scheduled, place: CronPlace, work: UnitWork): ReadonlyArray<string> => {
  const writable = writableBy(scheduled, work)
  const { gotify, source_path, tmp_dir } = work.config
  const read = [source_path ?? "/", gotify?.token_file ?? "/", work.home]
  const sharesTmp = [...scheduled.words, ...writable, ...read].some(isTemporary)
  return [
    "# All but these is read-only. Of a file it is the folder, where zipper makes and renames it; .ssh has known_hosts.",
    "# The minus: a folder that is missing is reported by zipper, not by systemd.",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    ...[...writable, ...(sharesTmp ? ["/tmp", "/var/tmp"] : [])].map(
      (path) => `ReadWritePaths=${unitWord(`-${path}`)}`
    ),
    ...(tmp_dir !== undefined && writable.includes(tmp_dir)
      ? ["# Each of these folders is a mount here: archives are put together in the target, unless tmp_dir lies in it."]
      : []),
    `PrivateTmp=${sharesTmp ? "no" : "yes"}`,
    "",
    "# Not here, since ZFS would not work: PrivateDevices and PrivateUsers hide /dev/zfs or its rights. The kernel mounts",
    "# .zfs/snapshot/NAME on the host when it is first read, and the mount has to arrive here: no MountFlags=private.",
    "DevicePolicy=closed",
    "DeviceAllow=/dev/zfs rw",
    "# Not here, since node would not start: MemoryDenyWriteExecute.",
    `CapabilityBoundingSet=${capabilitiesOf(place.user)}`,
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM"
  ]
}

/** root reads and replaces the files of all users, asks ZFS, and may have a `nice` below 0. */
const capabilitiesOf = (user: string): string =>
  user === "root" ? "CAP_SYS_ADMIN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_SYS_NICE" : ""
