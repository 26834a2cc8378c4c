import * as Redacted from "effect/Redacted"
import { Compression, type Config, ConfigDocument, Gotify, Mqtt } from "./Config.ts"
import { placeholder } from "./ConfigContradictions.ts"
import { maskAddress } from "./ConfigIssues.ts"
import { ReplicationJob, Retention } from "./replication/JobConfig.ts"

const exampleLock = "/var/run/zipper.lock"

/** The example of a configuration, byte for byte the same as config.json.example. */
export const example: string = `${JSON.stringify(
  {
    source_path: "/mnt/tank/source_dataset",
    target_path: "/mnt/tank/target_dataset",
    snapshot_prefix: "auto-zip",
    max_workers: 1,
    retries: 3,
    nice: 10,
    umask: "027",
    lockfile_path: exampleLock,
    tmp_dir: "/mnt/tank/tmp",
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

/** What `config init` is told: what has no default, and what most people choose. */
export interface Answers {
  readonly source_path?: string
  readonly target_path?: string
  readonly snapshots?: "live"
  readonly tmp_dir?: string
  readonly lockfile_path?: string
  readonly log_file?: string
  readonly gotify?: {
    readonly url: string
    /** In neither: it comes from the environment. */
    readonly token?: Redacted.Redacted
    readonly token_file?: string
  }
  readonly notify_on?: ReadonlyArray<Config["notify_on"][number]>
}

/** The value of a configuration file with these answers, keys in their usual order; whatever is not asked stays at its default. */
export const answered = (answers: Answers): Record<string, unknown> => {
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

/** The effective configuration as a value for JSON: every default filled in, keys in their usual order, secrets hidden. */
export const visible = (config: Config): Record<string, unknown> => {
  const { gotify, mqtt } = config
  return inOrder(ConfigDocument.fields, {
    ...config,
    compression: inOrder(Compression.fields, config.compression),
    replication: config.replication.map((job) =>
      inOrder(ReplicationJob.fields, {
        ...job,
        ...(job.retention === undefined ? {} : { retention: inOrder(Retention.fields, job.retention) })
      })
    ),
    ...(gotify === undefined
      ? {}
      : { gotify: inOrder(Gotify.fields, { ...gotify, url: maskAddress(gotify.url) }) }),
    ...(mqtt === undefined ? {} : { mqtt: inOrder(Mqtt.fields, mqtt) })
  })
}

/** {@link visible} as the text of a file. */
export const render = (config: Config): string => `${JSON.stringify(visible(config), undefined, 2)}\n`

const inOrder = (fields: object, values: object): Record<string, unknown> => {
  const given = new Map<string, unknown>(Object.entries(values))
  return Object.fromEntries(
    Object.keys(fields).flatMap((key) => {
      const value = given.get(key)
      return value === undefined ? [] : [[key, Redacted.isRedacted(value) ? "<hidden>" : value]]
    })
  )
}
