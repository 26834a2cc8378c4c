import * as Option from "effect/Option"
import { isReadonlyRecord as isRecord } from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { wrapped } from "../text/Text.ts"
import { Compression, type Config, ConfigDocument, Gotify, Hooks, Mqtt } from "./Config.ts"
import { maskAddress } from "./ConfigIssues.ts"
import { placeholder } from "./Contradictions.ts"
import { ReplicationJob, RetentionConfig } from "./ReplicationJob.ts"

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
  target_snapshots: { hourly: 24, daily: 30, weekly: 8, monthly: 12 },
  hooks: {
    before: ["/usr/local/bin/dump-database", "--all"],
    after: ["/usr/local/bin/after-backup"],
    failure: ["/usr/local/bin/mail-failure", "admin@example.com"]
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
      concurrency: 1,
      compress: "none",
      retention: { hourly: 24, daily: 14, weekly: 8, monthly: 12 },
      snapshot: true,
      source_retention: { hourly: 24, daily: 7 },
      ping_url: "https://hc-ping.com/UUID"
    }
  ],
  mqtt: { host: "broker.example.com", username: "zipper", password: "secret" }
}

/** Keys that contradict the others: shown as a comment. */
const apart: Readonly<Record<string, unknown>> = { $schema: "zipper.schema.json", state_dir: "/var/lib/zipper" }

/** The example beside a configuration: every key with meaning, type, default and a value, in JSON with comments. */
export const commentedExample = (): string =>
  [
    "// Every key of a zipper configuration. A configuration may have comments and trailing commas, too.",
    "// Copy what you need to your configuration, and leave out the rest.",
    ...objectOf(ConfigDocument.fields, samples, ""),
    ""
  ].join("\n")

const objectOf = (
  fields: Schema.Struct.Fields,
  given: Readonly<Record<string, unknown>>,
  indent: string
): ReadonlyArray<string> => {
  const within = `${indent}  `
  const shown = keysOf(fields).map(({ expected, inner, key, note, standard }) => {
    const value = given[key] ?? standard
    const comment = wrapped(`${within}// ${commentOf(note, expected, standard)}`, 100, `${within}// `)
    if (value !== undefined) return { comment, lines: valueLines(inner, key, value, within) }
    return { comment: [...comment, `${within}// "${key}": ${JSON.stringify(apart[key])}`], lines: [] }
  })
  const last = shown.findLastIndex(({ lines }) => lines.length > 0)
  return [
    `${indent}{`,
    ...shown.flatMap(({ comment, lines }, index) => [
      ...comment,
      ...lines.map((line, at) => (at === lines.length - 1 && index !== last ? `${line},` : line))
    ]),
    `${indent}}`
  ]
}

const valueLines = (
  inner: Schema.Struct.Fields | undefined,
  key: string,
  value: unknown,
  indent: string
): ReadonlyArray<string> => {
  const list = Array.isArray(value)
  const [object]: ReadonlyArray<unknown> = list ? value : [value]
  if (inner === undefined || !isRecord(object)) return [`${indent}"${key}": ${JSON.stringify(value)}`]
  const lines = objectOf(inner, object, indent)
  const open = `${indent}"${key}": ${list ? "[" : ""}{`
  return [open, ...lines.slice(1, -1), `${indent}}${list ? "]" : ""}`]
}

/** A key of the configuration, as its schema describes it. */
export interface KeyDescription {
  readonly key: string
  readonly note: string
  /** What a value has to be; undefined for an object. */
  readonly expected: string | undefined
  readonly isRequired: boolean
  /** The default, if there is one. */
  readonly standard: unknown
  /** The keys of the object, or of each object of the list. */
  readonly inner: Schema.Struct.Fields | undefined
}

const sections: Readonly<Record<string, Schema.Struct.Fields>> = {
  gotify: Gotify.fields,
  compression: Compression.fields,
  mqtt: Mqtt.fields,
  replication: ReplicationJob.fields,
  retention: RetentionConfig.fields,
  source_retention: RetentionConfig.fields,
  target_snapshots: RetentionConfig.fields,
  hooks: Hooks.fields
}

/** Every key of a struct of the configuration, in the usual order. */
export const keysOf = (fields: Schema.Struct.Fields): ReadonlyArray<KeyDescription> =>
  Object.entries(fields).map(([key, { ast }]) => ({ key, inner: sections[key], ...describe(ast) }))

const describe = (ast: AST.AST | Schema.PropertySignature.AST): Omit<KeyDescription, "key" | "inner"> => {
  switch (ast._tag) {
    case "PropertySignatureDeclaration":
      return { note: noteOf(ast), expected: descriptionOf(ast.type), isRequired: !ast.isOptional, standard: undefined }
    case "PropertySignatureTransformation": {
      const standard = Option.getOrUndefined(ast.decode(Option.none()))
      return { note: noteOf(ast.to), expected: descriptionOf(ast.from.type), isRequired: false, standard }
    }
    default:
      return { note: "", expected: descriptionOf(ast), isRequired: true, standard: undefined }
  }
}

const noteOf = (annotated: AST.Annotated): string => Option.getOrElse(AST.getDescriptionAnnotation(annotated), () => "")

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

/** The keys that `config init` sets; what is undefined is left out. */
export interface Answers {
  readonly source_path?: string | undefined
  readonly target_path?: string | undefined
  readonly folders?: string | undefined
  readonly snapshots?: "live" | undefined
  readonly tmp_dir?: string | undefined
  readonly lockfile_path?: string
  readonly log_file?: string
  readonly gotify?: {
    readonly url: string
    readonly token?: Redacted.Redacted
    readonly token_file?: string | undefined
  }
  readonly notify_on?: ReadonlyArray<Config["notify_on"][number]>
}

/** The value of a configuration file with these answers, keys in their usual order. */
export const configFrom = (answers: Answers): Record<string, unknown> => {
  const { gotify } = answers
  const token = gotify?.token && Redacted.value(gotify.token)
  return inOrder(ConfigDocument.fields, {
    ...answers,
    gotify: gotify && inOrder(Gotify.fields, { ...gotify, token })
  })
}

/** The effective configuration for JSON: every default filled in, keys in their usual order, secrets hidden. */
export const withoutSecrets = (config: Config): Record<string, unknown> => {
  const { gotify, mqtt } = config
  return inOrder(ConfigDocument.fields, {
    ...config,
    compression: inOrder(Compression.fields, config.compression),
    target_snapshots: retentionOf(config.target_snapshots),
    replication: config.replication.map((job) =>
      inOrder(ReplicationJob.fields, {
        ...job,
        retention: retentionOf(job.retention),
        source_retention: retentionOf(job.source_retention)
      })
    ),
    gotify: gotify && inOrder(Gotify.fields, { ...gotify, url: maskAddress(gotify.url) }),
    mqtt: mqtt && inOrder(Mqtt.fields, mqtt)
  })
}

const retentionOf = (retention: object | undefined) => retention && inOrder(RetentionConfig.fields, retention)

export const render = (config: Config): string => `${JSON.stringify(withoutSecrets(config), undefined, 2)}\n`

/** Leaves out what is undefined, and hides secrets. */
const inOrder = (fields: object, values: object): Record<string, unknown> => {
  const given = new Map<string, unknown>(Object.entries(values))
  return Object.fromEntries(
    Object.keys(fields).flatMap((key) => {
      const value = given.get(key)
      return value === undefined ? [] : [[key, Redacted.isRedacted(value) ? "<hidden>" : value]]
    })
  )
}
