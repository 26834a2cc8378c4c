import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { alertsKeyOf, type Job, targetOf } from "../config/ReplicationJob.ts"
import { Ping } from "../notify/Ping.ts"
import { type JobState, JobStates } from "../runs/JobState.ts"
import { Lock } from "../runs/Lock.ts"
import { withMessages } from "../runs/Messages.ts"
import { type MessageOptions, verifyReplicasMessages } from "../runs/MessageTexts.ts"
import { Metrics } from "../runs/Metrics.ts"
import { asPreflight, PreflightError, retryTransient, waitForLock } from "../runs/Run.ts"
import {
  type PoolVerdict,
  type ReplicaVerdict,
  summarize,
  totals,
  type VerifyReplicasDocument
} from "../runs/VerifyReplicasResult.ts"
import { orWarn } from "../system/Log.ts"
import { Progress } from "../system/Progress.ts"
import { bytes, count, duration, shellWord } from "../text/Text.ts"
import { utcSeconds } from "../text/Time.ts"
import { permissionsOf } from "../zfs/Allow.ts"
import type { SendMode, SourceDataset, TargetDataset } from "../zfs/Dataset.ts"
import { poolOf } from "../zfs/DatasetName.ts"
import { onEnd } from "../zfs/Endpoint.ts"
import { poolProblems, scrubRemark, unreadableIn } from "../zfs/PoolHealth.ts"
import { ZfsError } from "../zfs/ZfsCommand.ts"
import { moveAway, plan } from "./Plan.ts"
import { commonWith, sortReplicas } from "./Prune.ts"
import { Receiver } from "./Receiver.ts"
import { sourcesOf } from "./RecoverPlan.ts"
import { minimalRoots } from "./Selection.ts"
import { failPreflight, missingOn, SourceError, survey, targetNames } from "./Survey.ts"

interface VerifyReplicasOptions extends MessageOptions {
  readonly retries: number
  readonly lockfile: string
  readonly lockWait?: number
  /** Every block of the newest snapshot of each replica is read. */
  readonly read: boolean
}

/**
 * Are the replicas of a job good? Compares both ends under the job's lock, so that no run is at work meanwhile; reads (which may
 * take days) without it; asks the pools. Changes no replica. Remembers what it found, and sends the messages of that. Fails
 * with PreflightError when there is nothing to look at or the host of the replicas does not answer.
 */
export const runVerifyReplicas = Effect.fn("VerifyReplicas.run")(function* (job: Job, options: VerifyReplicasOptions) {
  const { reminder_hours, run } = options
  const key = alertsKeyOf(job, true)
  const states = yield* JobStates
  const ping = yield* Ping
  const before = yield* states.verifiedReplicas(key).pipe(orWarn("earlier results are not known", undefined))
  const save = (found: VerifyReplicasDocument) =>
    states.saveVerifiedReplicas(key, found).pipe(orWarn("not remembered", undefined))
  return yield* verifyReplicas(job, options, before, save).pipe(
    Effect.tap(Effect.flatMap(Metrics, ({ rewrite }) => rewrite)),
    Effect.onInterrupt(() => Effect.logError("stopped by a signal: only replicas read to their end are remembered")),
    withMessages(
      { of: { job: key, task: "verify" }, reminder_hours },
      verifyReplicasMessages(options, job.name),
      undefined,
      (report) => ping.fail(`${report}\nrun ${run}`)
    )
  )
})

const resultWords: Readonly<Record<ReplicaVerdict["result"], string>> = {
  good: "good",
  bad: "not good",
  unknown: "nothing is wrong with it by itself",
  orphan: "its source is gone, and nothing is wrong with it by itself",
  none: "not replicated yet: at the last run its source had no snapshot, or the job did not know it"
}

/** A replica as both ends showed it. `target`: undefined where there is nothing to read. */
interface Looked extends Pick<ReplicaVerdict, "dataset" | "result" | "findings"> {
  readonly name: string | null
  readonly target: TargetDataset | undefined
}

const verifyReplicas = Effect.fnUntraced(function* (
  job: Job,
  options: VerifyReplicasOptions,
  before: VerifyReplicasDocument | undefined,
  /** Called after each replica that was read, with all that is known by then, and at the end. */
  save: (found: VerifyReplicasDocument) => Effect.Effect<void>
) {
  const { lockWait, lockfile, read, retries, run } = options
  const started = yield* Clock.currentTimeMillis
  const started_at_utc = utcSeconds(started)
  const lock = yield* Lock
  const { errors, looked } = yield* Effect.scoped(
    Effect.zipRight(lock.acquire(lockfile).pipe(waitForLock(lockWait)), look(job, options))
  )
  const lastReads = new Map(before?.replicas.map(({ last_read, target }) => [target, last_read]))
  const link = { lost: false }
  const verdictOf = ({ dataset, findings, name, result }: Looked, failed: ReadonlyArray<string>): ReplicaVerdict => {
    const last_read = lastReads.get(name)
    const when = last_read?.at_utc === started_at_utc ? "" : ` (read ${last_read?.at_utc}; --read reads it again)`
    const problem = last_read?.problem === undefined ? [] : [`${last_read.problem}${when}`]
    const all = [...findings, ...failed, ...problem]
    const known = last_read === undefined ? {} : { last_read }
    return { dataset, target: name, result: all.length > 0 ? "bad" : result, findings: all, ...known }
  }
  const summaryOf = (read: boolean, replicas: ReadonlyArray<ReplicaVerdict>, pools: ReadonlyArray<PoolVerdict>) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const seconds = Math.max(0, now - started) / 1000
      return summarize({ job, run, started_at_utc, seconds, read, replicas, pools, ...errors })
    })
  const readOne = Effect.fnUntraced(function* (target: TargetDataset) {
    const found = yield* Effect.either(readReplica(target.name, retries, link))
    if (Either.isLeft(found)) return [found.left.message]
    lastReads.set(target.name, { at_utc: started_at_utc, ...found.right })
    const verdicts = looked.map((each) => verdictOf(each, []))
    yield* save(yield* summaryOf(false, verdicts, before?.pools ?? []))
    return []
  })
  const replicas = yield* Effect.forEach(looked, (each) =>
    Effect.gen(function* () {
      const verdict = verdictOf(each, read && each.target ? yield* readOne(each.target) : [])
      yield* Effect.forEach(verdict.findings, (text) => Effect.logError(text), { discard: true })
      if (verdict.findings.length === 0) yield* Effect.logInfo(resultWords[each.result])
      return verdict
    }).pipe(Effect.annotateLogs("dataset", each.name ?? each.dataset))
  )
  // After the reading, which the pools then know more by.
  const names = new Set(looked.flatMap(({ target }) => (target ? [poolOf(target.name)] : [])))
  const pools = yield* Effect.forEach(names, askPool)
  const summary = yield* summaryOf(read, replicas, pools)
  yield* save(summary)
  yield* Effect.logInfo(totals(summary))
  return summary
})

/** Both ends; where the source cannot be asked, what can be said of the replicas without it. */
const look = Effect.fnUntraced(function* (job: Job, { read, retries }: VerifyReplicasOptions) {
  const found = yield* Effect.either(survey(job, retries))
  const receiver = yield* Receiver
  if (Either.isLeft(found) && !(found.left.cause instanceof SourceError)) return yield* found.left
  const all = Either.isRight(found)
    ? { looked: yield* compare(job, found.right), errors: {} }
    : { looked: yield* lookAtReplicas(job, found.left), errors: { source_error: found.left.message } }
  if (Either.isLeft(found)) yield* Effect.logError(`the source could not be asked: ${found.left.message}`)
  const targets = all.looked.flatMap(({ target }) => (target === undefined ? [] : [target]))
  if (targets.length === 0 && all.looked.every(({ result }) => result === "none")) {
    const message = "no dataset of the job has a snapshot that was there at its last run: nothing to verify yet"
    return yield* new PreflightError({ message })
  }
  if (!read) return all
  const places = targets.map(({ name }) => ({ dataset: name, where: "here" }) as const)
  const account = yield* asPreflight(receiver.account)
  yield* failPreflight(yield* missingOn(receiver, account, permissionsOf("send"), places))
  return all
})

const compare = Effect.fnUntraced(function* (job: Job, found: Effect.Effect.Success<ReturnType<typeof survey>>) {
  const { label: to } = yield* Receiver
  const state = yield* (yield* JobStates)
    .load(alertsKeyOf(job, true))
    .pipe(orWarn("when the job ran last is not known", undefined))
  const now = yield* Clock.currentTimeMillis
  const pairs = found.items.map(({ source, target: name }): Looked => {
    const target = found.targets.get(name)
    const verdict = judge(source, target, { mode: job.mode, ran: lastRun(state, source.name, target) ?? now })
    return {
      dataset: source.name,
      name,
      ...verdict,
      findings: named(to, verdict.findings),
      target: withSnapshots(target)
    }
  })
  const { orphans } = sortReplicas(job, found)
  const missing = Array.from(found.missing, ([dataset, why]): Looked => {
    const name = Either.getOrNull(targetOf(job, dataset))
    const target = orphans.find((each) => each.name === name)
    const findings = [`the job names ${dataset}: ${why}`, ...named(to, target === undefined ? [] : changesIn(target))]
    return { dataset, name, result: "bad", findings, target }
  })
  const roots = missing.map(({ name }) => name)
  const gone = orphans.filter(({ name }) => !roots.includes(name)).map(withoutSource(job, to, "orphan"))
  const unplaced = found.unplaced.map(({ dataset, error, target: name }): Looked => {
    return { dataset, name, result: "bad", findings: [error], target: undefined }
  })
  return [...pairs, ...gone, ...missing, ...unplaced]
})

const lookAtReplicas = Effect.fnUntraced(function* (job: Job, error: PreflightError) {
  const receiver = yield* Receiver
  const tree = yield* Effect.mapError(receiver.tree(minimalRoots(targetNames(job, job.datasets))), () => error)
  const replicas = [...tree.values()].filter(({ mode, snapshots }) => mode !== undefined && snapshots.length > 0)
  if (replicas.length === 0) return yield* error
  return replicas.map(withoutSource(job, receiver.label, "unknown"))
})

const named = (end: string, findings: ReadonlyArray<string>) => findings.map((text) => `${onEnd(end)}${text}`)

/** A replica with nothing to compare it with; `result` if nothing is wrong with it. */
const withoutSource =
  (job: Job, end: string, result: "orphan" | "unknown") =>
  (target: TargetDataset): Looked => {
    const findings = named(end, changesIn(target))
    const [dataset = target.name] = sourcesOf(job, target.name)
    return { dataset, name: target.name, result: findings.length > 0 ? "bad" : result, findings, target }
  }

const withSnapshots = (target: TargetDataset | undefined) => (target?.snapshots.length === 0 ? undefined : target)

/** When the last run began that tried the dataset, in milliseconds since 1970; 0: none did. Undefined: it is not known. */
const lastRun = (state: JobState | undefined, dataset: string, target: TargetDataset | undefined) => {
  if (state?.kind !== "replication") return undefined
  const item = state.datasets.find((each) => each.dataset === dataset)
  if (item !== undefined) return Date.parse(item.last_attempt_utc)
  // What has a replica was sent by a run of which the state was lost.
  return withSnapshots(target) === undefined ? 0 : undefined
}

/** The clocks of the two hosts may differ by so much. */
const slackMillis = 600_000

/** What is wrong with a replica. All that was at the source when the last run that tried it began (`ran`) has to be there. */
const judge = (
  source: SourceDataset,
  target: TargetDataset | undefined,
  { mode, ran }: { readonly mode: SendMode; readonly ran: number }
): Pick<ReplicaVerdict, "result" | "findings"> => {
  const due = source.snapshots.filter(({ creation }) => creation * 1000 < ran - slackMillis)
  const next = plan(source, target, { mode, rollback: false })
  const changes = target === undefined ? [] : changesIn(target, next._tag === "Diverged")
  const refused = next._tag === "Diverged" || next._tag === "Blocked" ? [next.reason] : []
  if (withSnapshots(target) === undefined) {
    const absent = due.length === 0 ? [] : [`there is no replica, and @${due.at(-1)?.name} was there at the last run`]
    const findings = [...absent, ...(due.length === 0 ? [] : refused), ...changes]
    return { result: findings.length > 0 ? "bad" : "none", findings }
  }
  const base = commonWith(source, target ?? { snapshots: [] }).at(-1)
  const from = [...source.snapshots, ...source.bookmarks].find(({ guid }) => guid === base?.guid)
  const lacking = from === undefined ? [] : due.filter(({ createtxg }) => createtxg > from.createtxg)
  const [first] = lacking
  const missed = `${count(lacking.length, "snapshot")} from before the last run`
  const verb = lacking.length === 1 ? "is missing:" : "are missing, the first is"
  const lag = first === undefined ? [] : [`lags: it ends at @${base?.name}; ${missed} ${verb} @${first.name}`]
  const findings = [...refused, ...lag, ...changes]
  return { result: findings.length > 0 ? "bad" : "good", findings }
}

const changesIn = (
  { name, resumeToken, snapshots, written }: TargetDataset,
  isRefused = false
): ReadonlyArray<string> => {
  const newest = snapshots.at(-1)
  return [
    // A run that would lose it says so itself.
    ...(newest === undefined || written === 0 || isRefused
      ? []
      : [
          `${bytes(written)} were written to ${name} since its newest snapshot; to give that up, there: zfs rollback '${name}@${newest.name}'`
        ]),
    ...(resumeToken === undefined ? [] : ["a stream was cut; the next run sends the rest"])
  ]
}

/** Asks right before for the newest snapshot, as a run may be at work. Of blocks that cannot be read gives the problem. */
const readReplica = Effect.fnUntraced(function* (name: string, retries: number, link: { lost: boolean }) {
  const receiver = yield* Receiver
  const started = yield* Clock.currentTimeMillis
  const show = yield* (yield* Progress).start(name)
  let done = 0
  const once = Effect.gen(function* () {
    const newest = (yield* receiver.read(name))?.snapshots.at(-1)
    if (newest === undefined) {
      const message = `${onEnd(receiver.label)}${name} is gone, or all of its snapshots`
      return yield* new ZfsError({ reason: "NotFound", message, transient: false })
    }
    const whole = yield* receiver.readBlocks(`${name}@${newest.name}`, ({ sent, total }) => {
      done = sent
      show({ done, total })
    })
    done = whole.bytes
    if (done === 0) {
      const message = `${onEnd(receiver.label)}zfs send gave nothing of ${name}@${newest.name}: it is not known whether it can be read`
      return yield* new ZfsError({ reason: "Other", message, transient: false })
    }
    const millis = Math.max(1, (yield* Clock.currentTimeMillis) - started)
    yield* Effect.logInfo(
      `all of @${newest.name} can be read: ${bytes(done)}, ${duration(millis)}, ${bytes((done / millis) * 1000)}/s`
    )
  })
  const problem = yield* once.pipe(
    Effect.retry({ times: 2, while: ({ reason }) => reason === "Vanished" }),
    retryTransient(link.lost ? 0 : retries),
    Effect.as(undefined),
    Effect.tapError(({ reason }) => Effect.sync(() => (link.lost ||= reason === "Unreachable"))),
    Effect.catchIf(
      ({ reason }) => reason === "Unreadable",
      (error) => withAdvice(name, error)
    )
  )
  return { bytes: done, ...(problem === undefined ? {} : { problem }) }
}, Effect.scoped)

const withAdvice = Effect.fnUntraced(function* (name: string, { message }: ZfsError) {
  const pool = poolOf(name)
  const health = yield* Effect.option((yield* Receiver).pool(pool))
  return `${message}; ${unreadableIn(Option.getOrUndefined(health), pool)}; there, zpool scrub ${shellWord(pool)} mends what the pool has twice; otherwise move the replica away (${moveAway(name)}) and the next run sends it anew`
})

const askPool = Effect.fnUntraced(function* (pool: string) {
  const { label, pool: ask } = yield* Receiver
  const now = yield* Clock.currentTimeMillis
  const name = `the pool ${pool}${onEnd(label) === "" ? "" : ` on ${label}`}`
  const asked = yield* Effect.either(ask(pool))
  const findings = Either.match(asked, {
    onLeft: ({ message }) => [message],
    onRight: (health) => poolProblems(health).map((text) => `${name} ${text}`)
  })
  yield* Effect.forEach(findings, (text) => Effect.logError(text), { discard: true })
  const unread = Either.isLeft(asked) ? undefined : scrubRemark(asked.right, now)
  if (unread !== undefined) yield* Effect.logWarning(`${name} ${unread}`)
  return { pool, findings, ...(unread === undefined ? {} : { remark: `${name} ${unread}` }) } satisfies PoolVerdict
})
