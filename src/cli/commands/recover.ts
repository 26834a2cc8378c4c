import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { identity } from "effect/Function"
import { Questions } from "../../config/ConfigInterview.ts"
import { beginLook, endLook, LookDocument } from "../../replication/Look.ts"
import { RecoverDocument, runRecover } from "../../replication/Recover.ts"
import { keyProblem, RecoverRefusal, replicaOf } from "../../replication/RecoverPlan.ts"
import { exitStatusOf } from "../../runs/ReplicationResult.ts"
import { datasetProblem, parentOf } from "../../zfs/DatasetName.ts"
import { type Endpoint, local } from "../../zfs/Endpoint.ts"
import { applyProcessSettings, makeCommand, warn, withLayers } from "../command.ts"
import { findConfig } from "../configPath.ts"
import { endWith, UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { printDocument } from "../output.ts"
import { endpointFromFlags, noPlace, resolveJob } from "../replicationJob.ts"

const folder = (name: string, description: string) => options.single(name, "DIR", description)

/** `zipper recover`: a replica as a working dataset, or as a folder to look at. */
export const recover = makeCommand(
  "recover",
  "Bring a replica back as a working dataset, with everything below it, or show it in a folder. Nothing is written over. Example: zipper recover tank/data --job nas --to tank/data --host nas --user root",
  {
    to: options.single("to", "TARGET", "The dataset to make of it; its parent has to be there, and it must not."),
    ...options.remote,
    host: options.single(
      "host",
      "HOST",
      "The machine of TARGET, by ssh: a host, an alias, or user@host; else this one."
    ),
    at: options.single(
      "at",
      "TIME|SNAPSHOT",
      "As it was: up to the newest snapshot that is not younger than a time (2026-11-28T10:00; 3d: so long ago), or to one by its name."
    ),
    key: options.single(
      "key",
      "LOCATION",
      "What opens encrypted datasets: file:///path or https://host/path, as seen from the machine of TARGET, or prompt: asked for once."
    ),
    look: folder("look", "Show it in this folder, read-only, on the machine where the replica is."),
    done: folder("done", "Take away what --look has shown there."),
    job: options.single("job", "NAME", "The job of the configuration that the replica is of."),
    config: options.jobConfig,
    dryRun: options.replicationDryRun,
    datasets: options.datasets("The dataset, by its name at the source or that of its replica.")
  },
  function* (flags) {
    const { at, datasets, done, dryRun, job: name, key, look, to } = flags
    const ways = [to, look, done].filter((way) => way !== undefined)
    // TARGET is judged below, and names no dataset of the job.
    const place = endpointFromFlags({ ...flags, datasets: ["tank"] })
    const { config, job, warnings } = yield* resolveJob(
      "recover",
      { ...noPlace, job: name ?? "", config: flags.config },
      [
        ...(name === undefined ? ["give --job NAME: the job that the replica is of"] : []),
        ...(ways.length === 1 ? [] : ["give one of --to TARGET, --look DIR and --done DIR"]),
        ...(datasets.length === 1 || (done !== undefined && datasets.length === 0) ? [] : ["give one dataset"]),
        ...(done !== undefined && at !== undefined ? ["--at goes with --to and --look"] : []),
        ...(to === undefined ? [] : targetProblems(to)),
        ...Either.match(place, { onLeft: (problems) => problems, onRight: () => [] }),
        ...(to === undefined && (key !== undefined || flags.host !== undefined)
          ? ["--host and --key go with --to"]
          : []),
        ...[key === undefined ? undefined : keyProblem(key)].filter((problem) => problem !== undefined)
      ]
    )
    const found = datasets[0] === undefined ? undefined : replicaOf(job, datasets[0])
    if (found !== undefined && Either.isLeft(found)) return yield* fail(found.left)
    const { dataset, replica } = found?.right ?? {}
    const replicas = services.endsOf(job).target
    const dir = look ?? done
    if (dir !== undefined && replicas._tag === "Remote" && !dir.startsWith("/")) {
      return yield* fail("--look, --done: give a path that begins with /: the folder is on the other machine")
    }
    const target = Either.getOrElse(place, () => local)
    const { run } = services.replicationIdentity()
    const { lock_wait_seconds: lockWait = 0, retries } = { retries: 3, ...config }
    const input = key === "prompt" && !dryRun ? yield* passphrase(to) : undefined
    const program = Effect.gen(function* () {
      if (dir !== undefined) {
        const place = { config: findConfig(flags.config).named, folder: replicas._tag === "Local" ? resolve(dir) : dir }
        const asked = { job: job.name, ...place, at, retries, run }
        const begins = look !== undefined && replica !== undefined
        return yield* printDocument(
          LookDocument,
          yield* begins ? beginLook({ ...asked, replica }) : endLook({ ...asked, replica })
        )
      }
      if (dataset === undefined || replica === undefined || to === undefined || config === undefined) {
        return yield* fail("give a dataset, --job NAME and --to TARGET")
      }
      const opens = key === undefined ? undefined : { location: key, input }
      const settings = { run, retries, lockfile: services.lockfileBeside(config, job), lockWait }
      const place = { dataset, replica, target: to, sameHost: isSame(replicas, target) }
      const summary = yield* runRecover(job, { ...place, at, key: opens, ...settings })
      yield* printDocument(RecoverDocument, summary)
      yield* endWith(exitStatusOf(summary))
    })
    yield* (config === undefined ? Effect.void : applyProcessSettings(config)).pipe(
      Effect.zipRight(warn(warnings)),
      Effect.zipRight(program),
      Effect.mapError((error) =>
        error instanceof RecoverRefusal && error.reason === "Impossible" ? fail(error.message) : error
      ),
      withLayers({
        dryRun,
        layer: services.recoverLayers(job, target, config, dryRun),
        disclaimer: "nothing is changed on either host",
        logs: config === undefined ? identity : services.logs(config, { run })
      })
    )
  }
)

const fail = (problem: string) => new UsageError({ command: "recover", problems: [problem] })

const targetProblems = (target: string): ReadonlyArray<string> => {
  const problem = datasetProblem(target)
  if (problem !== undefined) return [`--to: ${JSON.stringify(target)} ${problem}`]
  return parentOf(target) === undefined ? [`--to: ${target} is a pool; give a dataset in it: ${target}/data`] : []
}

const isSame = (one: Endpoint, other: Endpoint): boolean =>
  one._tag === "Local" ? other._tag === "Local" : other._tag === "Remote" && one.host === other.host

const passphrase = (target = "") =>
  Effect.flatMap(Questions, ({ secret }) => secret(`passphrase of ${target}`)).pipe(Effect.provide(Questions.layer))
