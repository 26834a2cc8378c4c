import { availableParallelism } from "node:os"
import { runInNewContext } from "node:vm"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { codeOf } from "../system/Errno.ts"
import { passwordVariable } from "../system/Process.ts"
import { isWithoutName } from "../text/Glob.ts"
import { inFileOrder, issuesOf, linesOf } from "./ConfigIssues.ts"
import { contradictions, pathDescription, placeholder, tidyPath } from "./Contradictions.ts"
import { ReplicationJob, RetentionConfig } from "./ReplicationJob.ts"
import {
  described,
  flag,
  judged,
  oneOf,
  optional,
  PingUrl,
  required,
  text,
  whole,
  withDefault
} from "./SchemaFields.ts"

// The description of a value is part of the message when it is wrong: "max_workers: 0 is not a whole number from 1 to 64".

const AbsolutePath = described(
  Schema.String.pipe(
    Schema.pattern(/^\/[^\0]*$/),
    Schema.maxLength(4000),
    Schema.filter((path) => !path.split("/").includes("..")),
    Schema.transform(Schema.String, { decode: tidyPath, encode: (path) => path })
  ),
  pathDescription
)

// It becomes an HTTP header: anything but visible ASCII would break the request, and the error would quote it.
const Token = described(
  Schema.Redacted(Schema.String.pipe(Schema.pattern(/^[\x21-\x7e]{1,1000}$/))),
  "an application token, text without spaces"
)

const HttpUrl = described(
  Schema.String.pipe(
    Schema.maxLength(2000),
    // An @ in the path may be the end of a password that holds a slash: what comes before that would be taken for a host.
    Schema.filter((url) => URL.canParse(url) && /^https?:\/\//i.test(url) && !new URL(url).pathname.includes("@"))
  ),
  "an http or https address such as https://gotify.example.com/message (@ in a path or password as %40, / in a password as %2F)"
)

export const Gotify = Schema.Struct({
  url: required("Address that messages are posted to", HttpUrl),
  token: optional("Token of the Gotify application. ZIPPER_GOTIFY_TOKEN in the environment goes before it", Token),
  token_file: optional("A file that holds the token, instead of it", AbsolutePath),
  priority: withDefault("Priority of a message", whole(0, 10), () => 5),
  timeout_seconds: withDefault("How long one attempt to send may take", whole(1, 300), () => 10)
})

/** As many as there are cores. */
export const defaultThreads = (): number => Math.min(256, availableParallelism())

export const Compression = Schema.Struct({
  method: withDefault(
    "auto stores what does not shrink, deflate deflates everything",
    oneOf("auto", "deflate"),
    () => "auto" as const
  ),
  level: withDefault("Of zlib: 1 is fast, 9 is small, 0 stores everything", whole(0, 9), () => 6),
  threads: withDefault(
    "Threads that compress, verify and list files; by default as many as there are cores",
    whole(1, 256),
    defaultThreads
  )
})

// An IPv6 address may stand in brackets, as in a URL; any other colon would begin a port, which has its own key.
const BrokerHost = described(
  Schema.String.pipe(
    Schema.pattern(/^(?:[^\s\0/:[\]]+|\[(?=.*:)[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|(?=.*:.*:)[0-9A-Fa-f:.]+(?:%[\w.-]+)?)$/),
    Schema.transform(Schema.String, {
      decode: (host) => host.replace(/^\[|\]$/g, ""),
      encode: (host) => host
    })
  ),
  "a host name or address"
)

export const Mqtt = Schema.Struct({
  host: required("The broker that zipper suspend publishes to", BrokerHost),
  port: withDefault("Port of the broker", whole(1, 65535), () => 1883),
  topic: withDefault(
    "Topic of the message",
    text(/^[^\0#+]+$/, "a topic without # or +"),
    () => "servers/host-backups"
  ),
  username: optional("User name at the broker", text(/^[^\0]+$/, "a user name")),
  password: optional(
    "Password at the broker; or MQTT_PASSWORD in the environment",
    described(Schema.Redacted(Schema.String), "text")
  ),
  timeout_seconds: withDefault("How long connecting and publishing may take", whole(1, 300), () => 10)
})
export type Mqtt = typeof Mqtt.Type

export const defaultFolders = "^[A-Z0-9]{4}$"

/** For `folders`: all that there are. */
export const everyFolder = "[^.].*"

const patternProblem = (pattern: string): string | undefined => {
  if (isWithoutName(pattern)) return "holds no name; expected a pattern such as *.tmp or cache/**"
  return pattern.split("/").includes("..") ? "matches nothing: no path in a folder has .. in it" : undefined
}

/** Why a text is no rule for the names of folders. */
const foldersProblem = (pattern: string): string | undefined => {
  if (pattern === "") return `is empty: for every folder, write "${everyFolder}"`
  try {
    const wanted = wholeName(pattern)
    if (isEndless(wanted, hardNames(pattern))) {
      return 'takes for ever on some names, since it can match them in too many ways: no repeat within a repeat, as in "([a-z]+ ?)+", and no alternatives in one that overlap, as in "(a|a)+"'
    }
    return wanted.test("..")
      ? `matches "..", which is no name of a folder: for every folder, write "${everyFolder}"`
      : undefined
  } catch (error) {
    return `is no regular expression: ${error instanceof Error ? error.message.replace(/^.*: /, "") : String(error)}`
  }
}

/** Names of which the pattern may fit all but the end: its own first letters or another one, then one of its letters many times. */
const hardNames = (pattern: string): ReadonlyArray<string> => {
  const [begin = ""] = /^[^\\^$.|?*+()[\]{}]*/.exec(pattern.replace(/^\^/, "")) ?? []
  const letters = [...new Set([..."aA0 _-", ...(pattern.match(/[\p{L}\p{N}]/gu) ?? [])])].slice(0, 16)
  return ["", begin, ...letters].flatMap((first) =>
    letters.flatMap((letter) => [..."!.\n"].map((end) => `${first}${letter.repeat(99)}${end}`))
  )
}

/**
 * Of the processor, far more than these names take. A pattern that tries each way to divide a name takes years, and no signal
 * stops it. This finds those that are likely, not all.
 */
const endlessMicros = 500_000

const isEndless = (wanted: RegExp, names: ReadonlyArray<string>, timeout = 1000): boolean => {
  const before = process.cpuUsage()
  try {
    runInNewContext("names.forEach((name) => wanted.test(name))", { wanted, names }, { timeout })
    return false
  } catch (error) {
    if (codeOf(error) !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error
    // On a machine that is busy or stood still, the time says nothing of the pattern.
    return process.cpuUsage(before).user > endlessMicros || isEndless(wanted, names, 2 * timeout)
  }
}

/** The rule of `folders`, for the whole name. */
export const wholeName = (pattern: string): RegExp => new RegExp(`^(?:${pattern})$`, "u")

/** What `folders` asks of a name, to be read after it: "is four upper-case letters or digits". */
export const nameRule = (pattern: string, holds = true): string =>
  pattern === defaultFolders
    ? `${holds ? "is" : "is not"} four upper-case letters or digits`
    : `${holds ? "matches" : "does not match"} "folders" (${pattern})`

const Program = described(
  Schema.Array(Schema.String.pipe(Schema.pattern(/^[^\0]*$/))).pipe(
    Schema.filter(([program]) => program?.startsWith("/") === true)
  ),
  'the absolute path of a program and its arguments, such as ["/usr/local/bin/dump", "--all"]'
)

/** No shell: each program gets its arguments as they are, and a JSON document on standard input (runs/Hooks). */
export const Hooks = Schema.Struct({
  before: optional("Runs before the snapshot is taken; the run ends with exit status 3 when it fails", Program),
  after: optional("Runs at the end of each run, also of one that failed or was stopped", Program),
  failure: optional("Gets each message, as Gotify does: for mail and the like; notify_on says which there are", Program)
})
export type Hooks = typeof Hooks.Type

/**
 * The decoded file, without a token from elsewhere. Example, manual and `config show` follow from the schema; a new key also needs a
 * line in the README's table, a sample in ConfigExample if it has no default, and a section there if it is an object.
 */
export const ConfigDocument = Schema.Struct({
  $schema: optional("For editors: the file that zipper schema config printed", Schema.String),
  // Both, or neither: see the contradictions.
  source_path: optional(
    "Folder whose ABCD subfolders are archived: the mount point of a dataset, or a folder inside one",
    AbsolutePath
  ),
  target_path: optional("Folder for the archives, not inside the source", AbsolutePath),
  folders: withDefault(
    "Names of the folders to archive, a regular expression for the whole name",
    judged("a regular expression", foldersProblem),
    () => defaultFolders
  ),
  exclude: withDefault(
    "What is left out of every archive: names or paths inside the folder, * ? ** as in restore --only",
    Schema.Array(judged('a pattern such as "*.tmp" or "cache/**"', patternProblem)),
    () => []
  ),
  exclude_caches: withDefault(
    "Leaves out the content of directories that a file CACHEDIR.TAG marks as a cache",
    flag,
    () => false
  ),
  snapshot_prefix: withDefault(
    "Snapshots are called PREFIX-YYYYmmddHHMMSS (UTC)",
    text(/^[A-Za-z][A-Za-z0-9_.:-]{0,99}$/, "a letter followed by letters, digits and _ . : - (at most 100 in all)"),
    () => "auto-zip"
  ),
  max_workers: withDefault("Folders worked on at the same time", whole(1, 64), () => 1),
  retries: withDefault(
    "Further attempts for errors that may pass, after 1 s, 2 s, 4 s and so on, at most a minute",
    whole(0, 20),
    () => 3
  ),
  nice: withDefault("Priority of the process; below 0 for root alone", whole(-20, 19), () => 10),
  umask: withDefault(
    "Mask for the modes of everything that is written",
    text(/^0{1,2}[0-7]{2}$/, 'octal text that leaves the owner everything, such as "027"'),
    () => "027"
  ),
  lockfile_path: withDefault(
    "Lock file: one run at a time; another in the target keeps runs of other configurations away",
    AbsolutePath,
    () => "/var/run/zipper.lock"
  ),
  lock_wait_seconds: withDefault(
    "How long a run waits for the lock when another one holds it; 0: it ends at once, with exit status 75",
    whole(0, 86_400),
    () => 0
  ),
  tmp_dir: optional(
    "Folder where archives are put together, if it is on the target's file system and mount; otherwise that happens in the target",
    AbsolutePath
  ),
  log_file: withDefault(
    "Rotating log, a line each (logfmt); a file of that name that holds no log is left as it is",
    AbsolutePath,
    () => "/var/log/zipper.log"
  ),
  gotify: optional("Where messages go; without it none is sent", Gotify),
  snapshots: withDefault(
    "zfs takes a snapshot; live reads a plain folder as it is: a file that changes meanwhile fails its folder, which is tried again",
    oneOf("zfs", "live"),
    () => "zfs" as const
  ),
  snapshot_keep: withDefault("Snapshots kept besides the one that the next run compares with", whole(0, 1000), () => 1),
  target_snapshots: optional(
    "Snapshots of the target, for more than two generations: a run that published something takes one, and those that these rules do not keep are destroyed",
    RetentionConfig
  ),
  compare: withDefault(
    "mtime ignores inodes and ctimes, for a file system that does not keep them; a change that keeps size and mtime is then missed",
    oneOf("ctime", "mtime"),
    () => "ctime" as const
  ),
  task_timeout_seconds: withDefault("How long one attempt at one folder may take", whole(1, 1_209_600), () => 14_400),
  compression: withDefault("How archives are compressed", Compression, () => Schema.decodeSync(Compression)({})),
  notify_on: withDefault("When a message is sent", Schema.Array(oneOf("failure", "success", "recovery")), () => [
    "failure" as const
  ]),
  reminder_hours: withDefault(
    "Hours after which a message is repeated while the same things fail; 0: with every run",
    whole(0, 8760),
    () => 24
  ),
  hooks: optional(
    "Programs that run before and after the archive job, and for messages; zipper help hooks has examples",
    Hooks
  ),
  hook_timeout_seconds: withDefault(
    "How long a hook may take before it is ended, with all that it started",
    whole(1, 86_400),
    () => 600
  ),
  ping_url: optional(
    "Address that is called when a run of the archive job starts, succeeds and fails, as healthchecks.io has it; a secret",
    PingUrl
  ),
  metrics_file: optional(
    "File for the textfile collector of Prometheus's node_exporter, which reads names that end in .prom; written after each run",
    AbsolutePath
  ),
  // Only without a target: see the contradictions.
  state_dir: optional(
    "Folder for history and state where there is no target_path; /var/lib/zipper when it is left out",
    AbsolutePath
  ),
  log_max_bytes: withDefault("The log is rotated at this size", whole(1024, 10_737_418_240), () => 10_485_760),
  log_keep: withDefault("How many old logs are kept", whole(0, 99), () => 5),
  syslog: withDefault("Log to syslog too (facility daemon)", flag, () => true),
  replication: withDefault("Jobs of zipper pull, push, prune and delegate", Schema.Array(ReplicationJob), () => []),
  mqtt: optional("The broker of zipper suspend", Mqtt)
})
export type ConfigDocument = typeof ConfigDocument.Type

/** The configuration as the program uses it, with the token from the file, token_file or the environment. */
export type Config = Omit<ConfigDocument, "gotify"> & {
  readonly gotify?: Omit<typeof Gotify.Type, "token"> & { readonly token: Redacted.Redacted }
}

/** A configuration that has an archive job. */
export type ArchiveConfig = Config & { readonly source_path: string; readonly target_path: string }

/** The configuration with its archive job; undefined when it has none. */
export const archiveOf = (config: Config): ArchiveConfig | undefined => {
  const { source_path, target_path } = config
  return source_path === undefined || target_path === undefined ? undefined : { ...config, source_path, target_path }
}

const decodeDocument = Schema.decodeUnknownEither(ConfigDocument, {
  errors: "all",
  onExcessProperty: "error"
})

/** Decodes a configuration file. Left: all mistakes, a line each, in the file's order. `tokenGiven`: the file needs no token. */
export const decode = (
  input: unknown,
  options = { tokenGiven: false }
): Either.Either<ConfigDocument, ReadonlyArray<string>> => {
  const decoded = decodeDocument(input)
  const issues = [...(Either.isLeft(decoded) ? issuesOf(decoded.left) : []), ...contradictions(input, options)]
  if (Either.isRight(decoded) && issues.length === 0) return Either.right(decoded.right)
  return Either.left(linesOf(inFileOrder(input, issues)))
}

const isToken = Schema.is(Schema.typeSchema(Token))

/** A token from outside the file, if it is one, without the space around it. */
export const asToken = (text: string): Redacted.Redacted | undefined => {
  const token = Redacted.make(text.trim())
  return isToken(token) ? token : undefined
}

/** Whether the token is the one of the example. */
export const isPlaceholder = (token: Redacted.Redacted): boolean => Redacted.value(token) === placeholder

/** The configuration with the token in its place; undefined when there is no Gotify to have one. */
export const withToken = (document: ConfigDocument, token: Redacted.Redacted | undefined): Config => {
  const { gotify, ...rest } = document
  return gotify === undefined || token === undefined ? rest : { ...rest, gotify: { ...gotify, token } }
}

/** The folder of job-wide state: `<target_path>/.zipper`, or `state_dir` without a target. */
export const stateDirOf = (config: Pick<Config, "target_path" | "state_dir">): string =>
  config.target_path === undefined
    ? (config.state_dir ?? "/var/lib/zipper")
    : `${config.target_path === "/" ? "" : config.target_path}/.zipper`

/** The mask as a number. */
export const umaskOf = (config: Pick<Config, "umask">): number => Number.parseInt(config.umask, 8)

const variables: ReadonlyMap<string, string> = new Map([
  ["host", "MQTT_HOST"],
  ["port", "MQTT_PORT"],
  ["username", "MQTT_USERNAME"],
  ["password", passwordVariable]
])

const decodeMqtt = Schema.decodeUnknownEither(Mqtt, { errors: "all" })

/** The broker of MQTT_HOST and the like, by the rules of the mqtt section; undefined without a host. Left: what is wrong, a line each. */
export const mqttFromEnvironment = (
  env: Readonly<Record<string, string | undefined>>
): Either.Either<Mqtt | undefined, ReadonlyArray<string>> => {
  const given = [...variables].flatMap(([key, variable]) => {
    const value = env[variable]
    return value ? [[key, value] as const] : []
  })
  if (!given.some(([key]) => key === "host")) return Either.right(undefined)
  const input = Object.fromEntries(
    given.map(([key, value]) => [key, key === "port" && /^[0-9]+$/.test(value) ? Number(value) : value])
  )
  return Either.mapLeft(decodeMqtt(input), (error) =>
    linesOf(issuesOf(error), ([key]) => variables.get(String(key)) ?? String(key))
  )
}
