import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { asPreflight, PreflightError, retryTransient } from "../runs/Run.ts"
import { document, flag, optional, text } from "../text/Document.ts"
import { optionWords, shellWords } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import { isWithin, poolOf } from "../zfs/DatasetName.ts"
import { commandText } from "../zfs/ZfsCommand.ts"
import { type Look, lookPrefix, lookProperty, ReplicaEnd } from "./RecoverEnd.ts"
import { chooseSnapshots, copyName, type ZfsArguments } from "./RecoverPlan.ts"
import { Sender } from "./Sender.ts"
import { failPreflight } from "./Survey.ts"

interface LookRequest {
  readonly job: string
  /** The configuration that has the job, as a command to be pasted names it; undefined where it finds that by itself. */
  readonly config: string | undefined
  /** The replica; for {@link endLook} undefined: any. */
  readonly replica: string | undefined
  readonly folder: string
  readonly at: string | undefined
  readonly retries: number
  /** Six hexadecimal digits: end of the name of the clones. */
  readonly run: string
}

/**
 * Shows a replica and what is below it in a folder, read-only: clones in the top of the pool, each with our property. What
 * fails takes away what it made. Fails with PreflightError, and with RecoverRefusal when there is no such snapshot.
 */
export const beginLook = Effect.fn("Look.begin")(function* (request: LookRequest & { readonly replica: string }) {
  const { at, config, folder, job, replica, retries, run } = request
  const end = yield* ReplicaEnd
  const replicas = yield* surveyLook(request)
  const chosen = yield* chooseSnapshots({ replicas, at, now: yield* Clock.currentTimeMillis })
  const properties = yield* end.properties(replica).pipe(retryTransient(retries), asPreflight)
  const name = `${poolOf(replica)}/${lookPrefix}${run}`
  const shown = replicas.flatMap(({ kind, name: each }) => {
    const snapshot = chosen.get(each)
    const isAbove = [...chosen.keys()].some((other) => other.startsWith(`${each}/`))
    return snapshot === undefined && !isAbove
      ? []
      : [{ replica: each, kind, snapshot, clone: copyName(each, replica, name) }]
  })
  const locked = shown.filter(({ replica: each }) => properties.get(each)?.value("keystatus") === "unavailable")
  yield* failPreflight(
    locked.map(
      ({ replica: each }) => `the key of ${each} is not loaded; on ${end.label}: ${commandText(["load-key", each])}`
    )
  )
  const making = shown.map(({ clone, kind, replica: each, snapshot }): ZfsArguments => {
    const options = [
      `${lookProperty}=${folder}`,
      ...(kind === "volume" ? ["readonly=on"] : [`canmount=${snapshot === undefined ? "off" : "noauto"}`]),
      ...(kind === "filesystem" && clone === name ? [`mountpoint=${folder}`] : [])
    ].flatMap((each) => ["-o", each])
    return snapshot === undefined
      ? ["create", ...options, clone]
      : ["clone", ...options, `${each}@${snapshot.name}`, clone]
  })
  const files = shown.filter(({ kind, snapshot }) => kind === "filesystem" && snapshot !== undefined)
  const root = shown[0]?.kind === "filesystem" ? [["set", "readonly=on", name]] : []
  // Read-only at the end: folders to mount children at may have to be made.
  const all = [...making, ...files.map(({ clone }) => ["mount", clone]), ...root]
  yield* Effect.forEach(all, (args) => end.change(`show ${replica} in ${folder}`, args)).pipe(
    Effect.onError(() => Effect.ignoreLogged(end.change("take the clones away", ["destroy", "-r", name])))
  )
  const what = end.dryRun ? "would show" : "shows"
  yield* Effect.logInfo(
    `${folder} on ${end.label} ${what} ${replica}, read-only; to take it away: ${doneCommand(job, config, folder)}`
  )
  const datasets = shown.map(({ clone, kind, replica: each, snapshot }) => ({
    replica: each,
    clone,
    ...(snapshot === undefined ? {} : { snapshot: snapshot.name }),
    ...(kind === "volume" ? { device: `/dev/zvol/${clone}` } : {})
  }))
  for (const { device, replica: each, snapshot } of datasets) {
    const time = utcSeconds((chosen.get(each)?.creation ?? 0) * 1000)
    if (snapshot !== undefined) yield* Effect.logInfo(`${each}@${snapshot} of ${time}${device ? `: ${device}` : ""}`)
  }
  return { ...documentOf(request, end), name, datasets } satisfies LookDocument
})

/** The command that takes a look away. */
export const doneCommand = (job: string, config: string | undefined, folder: string): string =>
  shellWords(["zipper", "recover", "--job", job, ...optionWords("--config", config), "--done", folder])

const surveyLook = Effect.fnUntraced(function* ({
  config,
  folder,
  job,
  replica,
  retries
}: LookRequest & { readonly replica: string }) {
  const retry = retryTransient(retries)
  const end = yield* ReplicaEnd
  const { root, user } = yield* retry(end.account)
  const { datasets } = yield* retry((yield* Sender).tree([replica]))
  const problem =
    datasets[0] === undefined
      ? `there is no replica ${replica} on ${end.label}`
      : !root
        ? `only root can mount, and the user on ${end.label} is ${user}`
        : (yield* retry(end.looks)).some((look) => look.folder === folder)
          ? `${folder} on ${end.label} shows a replica already: ${doneCommand(job, config, folder)}`
          : (yield* retry(end.isFree(folder)))
            ? undefined
            : `${folder} on ${end.label} is no empty folder`
  return problem === undefined ? datasets : yield* new PreflightError({ message: problem })
}, asPreflight)

/** Takes a look away: only clones of ours, and nothing that another program put among them. */
export const endLook = Effect.fn("Look.end")(function* (request: LookRequest) {
  const { folder, replica, retries } = request
  const end = yield* ReplicaEnd
  const looks = yield* end.looks.pipe(retryTransient(retries), asPreflight)
  const found = looks.find(
    (look) => look.folder === folder && (replica === undefined || isWithin(look.replica ?? replica, replica))
  )
  if (found === undefined) {
    const others = looks.map((look) => look.folder).join(", ")
    const message = `nothing of zipper's is shown in ${folder} on ${end.label}${others === "" ? "" : `; it shows replicas in ${others}`}`
    return yield* new PreflightError({ message })
  }
  const properties = yield* end.properties(found.name)
  const strange = [...properties].find(([, of]) => of.local(lookProperty) === undefined)
  if (strange !== undefined) {
    const message = `${strange[0]} on ${end.label} was not made by zipper: move it out of ${found.name} (zfs rename), or destroy it by hand`
    return yield* new PreflightError({ message })
  }
  yield* end.change(`take away what is shown in ${folder}`, ["destroy", "-r", found.name])
  yield* Effect.logInfo(`${folder} on ${end.label} ${end.dryRun ? "would show" : "shows"} no replica any more`)
  return { ...documentOf(request, end), name: found.name, datasets: [] } satisfies LookDocument
})

/** Looks at replicas of these that were not taken away. */
export const looksAt = Effect.fnUntraced(function* (replicas: (name: string) => boolean) {
  const looks: ReadonlyArray<Look> = yield* (yield* ReplicaEnd).looks
  return looks.filter(({ replica }) => replica !== undefined && replicas(replica))
})

const documentOf = ({ folder, job }: LookRequest, { dryRun = false, label }: typeof ReplicaEnd.Service) => ({
  version: 1 as const,
  dry_run: dryRun,
  job,
  host: label,
  folder
})

export const LookDocument = document({
  dry_run: flag("nothing was changed"),
  job: text("name of the job that the replica is of"),
  host: text("the machine of the replica: this host, or another"),
  folder: text("where it is shown there, or was"),
  name: text("the dataset with the clones"),
  datasets: Schema.Array(
    Schema.Struct({
      replica: text("what is shown"),
      snapshot: optional(text("name after the @; left out where the replica has none and only others lie below it")),
      clone: text("the dataset that shows it"),
      device: optional(text("of a volume: where its blocks are read"))
    })
  ).annotations({ description: "none after --done" })
})
export type LookDocument = typeof LookDocument.Type
