import * as Option from "effect/Option"
import { isReadonlyRecord as isRecord } from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { wrapped } from "../text/Text.ts"
import { Compression, type Config, ConfigDocument, Gotify, Mqtt } from "./Config.ts"
import { maskAddress } from "./ConfigIssues.ts"
import { placeholder } from "./Contradictions.ts"
import { ReplicationJob, RetentionConfig } from "./ReplicationJob.ts"

/** A section of the configuration, with a note for every key. */
interface Section {
  readonly fields: Schema.Struct.Fields
  readonly notes: Readonly<Record<string, string>>
  readonly inner?: Readonly<Record<string, Section>>
}

const section = <Fields extends Schema.Struct.Fields>(
  { fields }: { readonly fields: Fields },
  notes: Readonly<Record<keyof Fields, string>>,
  inner?: Section["inner"]
): Section => ({ fields, notes, ...(inner === undefined ? {} : { inner }) })

const gotify = section(Gotify, {
  url: "Address that messages are posted to",
  token: "Token of the Gotify application. ZIPPER_GOTIFY_TOKEN in the environment goes before it",
  token_file: "A file that holds the token, instead of it",
  priority: "Priority of a message",
  timeout_seconds: "How long one attempt to send may take"
})

const compression = section(Compression, {
  method: "auto stores what does not shrink, deflate deflates everything",
  level: "Of zlib: 1 is fast, 9 is small, 0 stores everything",
  threads: "Threads that compress, verify and list files; by default as many as there are cores"
})

const mqtt = section(Mqtt, {
  host: "The broker that zipper suspend tells",
  port: "Its port",
  topic: "What is published to",
  username: "Who we are there",
  password: "MQTT_PASSWORD in the environment does as well",
  timeout_seconds: "How long it may take"
})

const retention = section(RetentionConfig, {
  hourly: "Of so many latest hours the newest snapshot stays",
  daily: "The same for days",
  weekly: "For weeks, from Monday",
  monthly: "For months"
})

const replication = section(
  ReplicationJob,
  {
    name: "For --job",
    direction: "pull fetches from the other host, push sends to it",
    host: "The other host, an alias of ssh's configuration, or user@host",
    user: "Whom to log in as there; ssh's own choice when left out",
    port: "Port of its ssh server; ssh's own choice when left out",
    datasets: "What is replicated, each with everything below it",
    exclude: "Patterns of datasets to leave out: * is anything but a slash, ** anything, ? one character",
    destination: "pull writes <destination>/<host>/<dataset>, push below it",
    strip_prefix: "push only: taken off the front of every dataset's name",
    raw: "Send as it is on disk, encrypted; left out: pull no, push yes",
    ssh_options: "What goes after ssh's -o, each",
    bandwidth: "At most so many bytes a second; needs pv or mbuffer",
    compress: "On the way; zstd has to be on both hosts",
    retention: "What zipper prune leaves of the replicas",
    ping_url: "Called when a run of this job starts, succeeds and fails"
  },
  { retention }
)

const root = section(
  ConfigDocument,
  {
    source_path: "Folder whose ABCD subfolders are archived: the mount point of a dataset, or a folder inside one",
    target_path: "Folder for the archives, not inside the source",
    snapshot_prefix: "Snapshots are called PREFIX-YYYYmmddHHMMSS (UTC)",
    max_workers: "Folders worked on at the same time",
    retries: "Further attempts for errors that may pass",
    nice: "Priority of the process; below 0 for root alone",
    umask: "Of everything written",
    lockfile_path: "One run at a time for one lock file",
    lock_wait_seconds:
      "How long a run waits for the lock when another one holds it; 0: it ends at once, with exit status 75",
    tmp_dir: "Where archives are put together, if it is on the target's file system",
    log_file: "Rotating log, a line each (logfmt)",
    gotify: "Where messages go; without it none is sent",
    snapshots: "live reads a plain folder without a snapshot",
    snapshot_keep: "Snapshots kept besides the one that the next run compares with",
    compare:
      "mtime ignores inodes and ctimes, for a file system that does not keep them; a change that keeps size and mtime is then missed",
    task_timeout_seconds: "How long one attempt at one folder may take",
    compression: "How archives are compressed",
    notify_on: "What a message is sent for",
    reminder_hours: "How often a message is repeated while the same things fail; 0 with every run",
    ping_url: "Called when a run starts, succeeds and fails, as healthchecks.io wants it",
    metrics_file: "Figures for Prometheus's node_exporter (textfile), written after each run",
    state_dir: "Where the history is kept when there is no target_path",
    log_max_bytes: "The log is rotated at this size",
    log_keep: "How many old logs stay",
    syslog: "Also to syslog (facility daemon)",
    replication: "Jobs of zipper pull, push and prune",
    mqtt: "The broker of zipper suspend"
  },
  { gotify, compression, mqtt, replication }
)

/** Values for the keys that have no default. */
const samples: Readonly<Record<string, unknown>> = {
  source_path: "/mnt/tank/source_dataset",
  target_path: "/mnt/tank/target_dataset",
  tmp_dir: "/mnt/tank/tmp",
  gotify: {
    url: "https://gotify.example.com/message",
    token: placeholder,
    token_file: "/root/gotify.token"
  },
  ping_url: "https://hc-ping.com/UUID",
  metrics_file: "/var/lib/node_exporter/zipper.prom",
  replication: [
    {
      name: "offsite",
      direction: "push",
      host: "offsite.example.com",
      user: "backup",
      port: 22,
      datasets: ["tank/backup/nas"],
      destination: "pool/replicas",
      strip_prefix: "tank/backup",
      raw: true,
      bandwidth: "10M",
      compress: "none",
      retention: { hourly: 24, daily: 14, weekly: 8, monthly: 12 },
      ping_url: "https://hc-ping.com/UUID"
    }
  ],
  mqtt: { host: "broker.example.com", username: "zipper", password: "secret" }
}

/** Keys that contradict the others: shown as a comment. */
const apart: Readonly<Record<string, unknown>> = { state_dir: "/var/lib/zipper" }

/** The example beside a configuration: every key with meaning, type, default and a value, in JSON with comments. */
export const commentedExample = (): string =>
  [
    "// Every key of a zipper configuration. A configuration may have comments and trailing commas, too.",
    "// Copy what you need to your configuration, and leave out the rest.",
    ...objectOf(root, samples, ""),
    ""
  ].join("\n")

const objectOf = (
  { fields, inner, notes }: Section,
  given: Readonly<Record<string, unknown>>,
  indent: string
): ReadonlyArray<string> => {
  const within = `${indent}  `
  const shown = Object.entries(fields).flatMap(([key, field]) => {
    const { expected, standard } = shapeOf(field)
    const value = given[key] ?? standard
    const comment = commentOf(notes[key] ?? "", expected, standard)
    const out = wrapped(`${within}// ${comment}`, 100, `${within}// `)
    if (value !== undefined) return [{ out, lines: valueLines(inner?.[key], key, value, within) }]
    return [{ out: [...out, `${within}// "${key}": ${JSON.stringify(apart[key])}`], lines: [] }]
  })
  const last = shown.findLastIndex(({ lines }) => lines.length > 0)
  return [
    `${indent}{`,
    ...shown.flatMap(({ lines, out }, index) => [
      ...out,
      ...lines.map((line, at) => (at === lines.length - 1 && index !== last ? `${line},` : line))
    ]),
    `${indent}}`
  ]
}

const valueLines = (inner: Section | undefined, key: string, value: unknown, indent: string): ReadonlyArray<string> => {
  const list = Array.isArray(value)
  const [object]: ReadonlyArray<unknown> = list ? value : [value]
  if (inner === undefined || !isRecord(object)) return [`${indent}"${key}": ${JSON.stringify(value)}`]
  const lines = objectOf(inner, object, indent)
  const open = `${indent}"${key}": ${list ? "[" : ""}{`
  return [open, ...lines.slice(1, -1), `${indent}}${list ? "]" : ""}`]
}

/** What the schema says a value has to be, and its default. */
const shapeOf = ({ ast }: Schema.Struct.Field) => {
  switch (ast._tag) {
    case "PropertySignatureDeclaration":
      return { expected: descriptionOf(ast.type), standard: undefined }
    case "PropertySignatureTransformation":
      return {
        expected: descriptionOf(ast.from.type),
        standard: Option.getOrUndefined(ast.decode(Option.none()))
      }
    default:
      return { expected: descriptionOf(ast), standard: undefined }
  }
}

const descriptionOf = (ast: AST.AST): string | undefined => {
  const own = Option.getOrUndefined(AST.getDescriptionAnnotation(ast))
  if (own !== undefined) return own
  if (AST.isTransformation(ast) || AST.isRefinement(ast)) return descriptionOf(ast.from)
  const element = AST.isTupleType(ast) ? (ast.rest[0]?.type ?? ast.elements[0]?.type) : undefined
  const each = element === undefined ? undefined : descriptionOf(element)
  return each === undefined ? undefined : `a list, each ${each}`
}

const commentOf = (note: string, expected: string | undefined, standard: unknown): string => {
  const facts = [
    ...(expected === undefined ? [] : [expected]),
    ...(standard === undefined || isRecord(standard) ? [] : [`default ${JSON.stringify(standard)}`])
  ]
  return facts.length === 0 ? note : `${note} (${facts.join("; ")})`
}

const exampleLock = "/var/run/zipper.lock"

/** The example of a configuration, byte for byte the same as config.json.example. */
export const example: string = `${JSON.stringify(
  {
    source_path: samples["source_path"],
    target_path: samples["target_path"],
    snapshot_prefix: "auto-zip",
    max_workers: 1,
    retries: 3,
    nice: 10,
    umask: "027",
    lockfile_path: exampleLock,
    tmp_dir: samples["tmp_dir"],
    log_file: "/var/log/zipper.log",
    gotify: {
      url: "https://gotify.example.com/message",
      token: placeholder,
      priority: 5,
      timeout_seconds: 10
    }
  },
  undefined,
  2
)}\n`

/** The example as `config init` writes it: with a lock file of its own, since two jobs with one never run at once. */
export const exampleWith = (lockfile: string): string =>
  example.replace(JSON.stringify(exampleLock), () => JSON.stringify(lockfile))

/** The keys that `config init` sets. */
export interface Answers {
  readonly source_path?: string
  readonly target_path?: string
  readonly snapshots?: "live"
  readonly tmp_dir?: string
  readonly lockfile_path?: string
  readonly log_file?: string
  readonly gotify?: {
    readonly url: string
    readonly token?: Redacted.Redacted
    readonly token_file?: string
  }
  readonly notify_on?: ReadonlyArray<Config["notify_on"][number]>
}

/** The value of a configuration file with these answers, keys in their usual order. */
export const configFrom = (answers: Answers): Record<string, unknown> => {
  const { gotify } = answers
  const { token } = gotify ?? {}
  return inOrder(ConfigDocument.fields, {
    ...answers,
    ...(gotify === undefined
      ? {}
      : {
          gotify: inOrder(Gotify.fields, {
            ...gotify,
            ...(token === undefined ? {} : { token: Redacted.value(token) })
          })
        })
  })
}

/** The effective configuration for JSON: every default filled in, keys in their usual order, secrets hidden. */
export const withoutSecrets = (config: Config): Record<string, unknown> => {
  const { gotify, mqtt } = config
  return inOrder(ConfigDocument.fields, {
    ...config,
    compression: inOrder(Compression.fields, config.compression),
    replication: config.replication.map((job) =>
      inOrder(ReplicationJob.fields, {
        ...job,
        ...(job.retention === undefined ? {} : { retention: inOrder(RetentionConfig.fields, job.retention) })
      })
    ),
    ...(gotify === undefined ? {} : { gotify: inOrder(Gotify.fields, { ...gotify, url: maskAddress(gotify.url) }) }),
    ...(mqtt === undefined ? {} : { mqtt: inOrder(Mqtt.fields, mqtt) })
  })
}

export const render = (config: Config): string => `${JSON.stringify(withoutSecrets(config), undefined, 2)}\n`

const inOrder = (fields: object, values: object): Record<string, unknown> => {
  const given = new Map<string, unknown>(Object.entries(values))
  return Object.fromEntries(
    Object.keys(fields).flatMap((key) => {
      const value = given.get(key)
      return value === undefined ? [] : [[key, Redacted.isRedacted(value) ? "<hidden>" : value]]
    })
  )
}
