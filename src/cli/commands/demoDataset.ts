import { createHash, randomBytes } from "node:crypto"
import { arch, constants, release, type } from "node:os"
import { join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import type { Job } from "../../config/ReplicationJob.ts"
import { runReplication } from "../../replication/Replicate.ts"
import { RestoreDocuments } from "../../restore/RestoreResult.ts"
import { RunDocument } from "../../runs/ArchiveResult.ts"
import { decode as readHolder } from "../../runs/Lock.ts"
import { asPreflight } from "../../runs/Run.ts"
import { VerifyDocument } from "../../runs/VerifyResult.ts"
import { Process } from "../../system/Process.ts"
import { duration, messageText, shellWords, withoutControls } from "../../text/Text.ts"
import { openScratch, type Scratch } from "../../zfs/Scratch.ts"
import { commandText } from "../../zfs/ZfsCommand.ts"
import { version } from "../build.ts"
import { localReplicationLayers, replicationIdentity } from "../layers.ts"
import { Output } from "../output.ts"
import { programCall } from "../program.ts"
import { makeSample } from "./demoSample.ts"
import type { DemoDocument } from "./schema.ts"

/*
 * The whole of zipper on the user's own ZFS: runs of this program as processes of their own, one of them killed, and a replication
 * inside this process, since `zipper pull` and `push` go by ssh. Below the given dataset it makes
 *   source            with the folders of the sample, and LOGS, large enough to be killed over
 *   source/MAIL       a folder that is a dataset of its own
 *   target            where the archives go
 *   replica           with replica/source and replica/source/MAIL, which are received
 */

/** Demonstrates zipper below an empty dataset, and destroys what it made unless `keep`. A PreflightError before anything is made. */
export const demonstrateOn = Effect.fn("Demo.dataset")(function* (dataset: string, keep: boolean) {
  const fs = yield* FileSystem.FileSystem
  const scratch = yield* asPreflight(openScratch(dataset, randomBytes(6).toString("hex")))
  const system = yield* describeSystem
  const options = { prefix: "zipper-demo-" }
  const folder = yield* keep ? fs.makeTempDirectory(options) : fs.makeTempDirectoryScoped(options)
  const removal = keep ? Effect.logInfo(howToRemove(dataset, folder)) : scratch.remove
  const steps: Array<Step> = []
  const archived: Array<number> = []
  const work = Effect.gen(function* () {
    const place = yield* asPreflight(makeDatasets(scratch, folder))
    yield* Effect.logInfo(`a source, a target and a place for a replica below ${dataset}`)
    for (const [step, body] of stepsIn(place, archived)) steps.push(yield* runStep(step, body))
  })
  const last = keep
    ? removal
    : Effect.map(runStep("what was made is destroyed, and nothing else", removal), (step) => steps.push(step))
  yield* Effect.uninterruptibleMask((restored) =>
    restored(work).pipe(
      Effect.onError(() => Effect.catchAll(removal, ({ message }) => Effect.logError(message))),
      Effect.zipRight(last)
    )
  )
  yield* report(dataset, system, steps)
  return { ok: steps.every(({ ok }) => ok), folder: keep ? folder : null, dataset, system, archived, checks: [], steps }
}, Effect.scoped)

type Step = NonNullable<(typeof DemoDocument.Type)["steps"]>[number]

type System = NonNullable<(typeof DemoDocument.Type)["system"]>

interface Place {
  readonly scratch: Scratch
  readonly folder: string
  readonly source: string
  readonly target: string
  readonly config: string
  readonly lockfile: string
}

/** What a step found is not what it has to be. */
class Unexpected extends Data.TaggedError("Unexpected")<{ readonly message: string }> {}

const expect = (ok: boolean, message: string) => (ok ? Effect.void : new Unexpected({ message }))

const describeSystem = Effect.gen(function* () {
  const { exitCode, stderr, stdout } = yield* (yield* Process).run({ program: "zfs", args: ["version"] })
  const said = (exitCode === 0 ? stdout : stderr).trim().split("\n").join(", ")
  return {
    zipper: version,
    node: process.version,
    platform: `${type()} ${release()} ${arch()}`,
    openzfs: exitCode === 0 ? said : `unknown (zfs version: ${said})`
  } satisfies System
}).pipe(asPreflight)

const makeDatasets = Effect.fnUntraced(function* (scratch: Scratch, folder: string) {
  const fs = yield* FileSystem.FileSystem
  const source = yield* scratch.create("source")
  yield* scratch.create("source/MAIL")
  const target = yield* scratch.create("target")
  yield* scratch.create("replica", "-o", "canmount=off")
  const place = {
    ...{ scratch, folder, source, target },
    config: join(folder, "zipper.json"),
    lockfile: join(folder, "zipper.lock")
  }
  const config = {
    source_path: source,
    target_path: target,
    lockfile_path: place.lockfile,
    log_file: join(folder, "zipper.log"),
    syslog: false,
    nice: 0,
    retries: 0,
    // Slow enough for LOGS to be in the making when the run is killed.
    compression: { method: "deflate", level: 9, threads: 1 }
  }
  yield* fs.writeFileString(place.config, JSON.stringify(config))
  yield* makeSample(source)
  yield* fs.writeFileString(join(source, "MAIL/inbox"), "From: a child dataset\n")
  yield* writeLogs(place)
  return place satisfies Place
})

const writeLogs = ({ source }: Pick<Place, "source">) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    yield* fs.makeDirectory(join(source, "LOGS"), { recursive: true })
    yield* fs.writeFile(join(source, "LOGS/large"), randomBytes(8 * 1024 ** 2))
  })

/** What each step shows, and how. Each is tried, also after one that failed. */
const stepsIn = (
  place: Place,
  archived: Array<number>
): ReadonlyArray<
  readonly [
    step: string,
    body: Effect.Effect<void, { readonly message: string }, Process | FileSystem.FileSystem | Output>
  ]
> => [
  ["a first run archives every folder from snapshots, the child dataset too", firstRun(place, archived)],
  ["zfs diff finds exactly the folders that changed", secondRun(place, archived)],
  ["a run that is killed (SIGKILL) leaves every archive as it was", Effect.retry(killedRun(place), { times: 2 })],
  ["the next run clears up after it and archives the change", nextRun(place, archived)],
  ["verify reads all archives back, and they are good", verify(place)],
  ["what is restored is the source, byte by byte", restore(place)],
  ["a replication sends every snapshot", replicate(place, "full")],
  ["the next one sends what is new, and the guids are the same at both ends", replicateAgain(place)]
]

const runStep = Effect.fnUntraced(function* <E, R>(step: string, body: Effect.Effect<void, E, R>) {
  const [time, exit] = yield* Effect.timed(Effect.exit(body))
  const millis = Duration.toMillis(time)
  const detail = Exit.isSuccess(exit) ? "" : messageText(Cause.squash(exit.cause))
  const done: Step = { step, ok: Exit.isSuccess(exit), seconds: millis / 1000, detail }
  const line = `${done.ok ? "ok    " : "FAILED"} ${duration(millis).padStart(7)}  ${step}`
  yield* done.ok ? Effect.logInfo(line) : Effect.logError(`${line}\n${detail}`)
  return done
})

const firstRun = Effect.fnUntraced(function* ({ config, scratch }: Place, archived: Array<number>) {
  const { document } = yield* runArchive(config, archived)
  yield* expect(document.archived === 5, `archived ${document.archived} of 5 folders`)
  yield* expect(
    document.source.startsWith(`${scratch.dataset}/source@auto-zip-`),
    `read ${document.source}, which is no snapshot of the source`
  )
})

const secondRun = Effect.fnUntraced(function* ({ config, source }: Place, archived: Array<number>) {
  const fs = yield* FileSystem.FileSystem
  yield* fs.writeFileString(join(source, "DOCS/report.txt"), "Quarterly report, corrected\n")
  yield* fs.writeFileString(join(source, "MAIL/outbox"), "To: a child dataset\n")
  const { document, stderr } = yield* runArchive(config, archived, "--debug")
  yield* expectArchived(document, "DOCS", "MAIL")
  // What it says instead, when there is no diff, is the reason.
  const [, changes = "nothing"] = /^debug: changes: (.*)$/m.exec(stderr) ?? []
  yield* expect(changes.startsWith("compared with "), `the run did not go by zfs diff: ${changes}`)
})

/** Fails on a busy machine when the signal comes after the run has published; it is repeated then. */
const killedRun = Effect.fnUntraced(function* (place: Place) {
  const { config, lockfile, target } = place
  const fs = yield* FileSystem.FileSystem
  const before = yield* digestsIn(target)
  yield* writeLogs(place)
  // The lock file names the process. The archive is staged there before it is published.
  const kill = Effect.gen(function* () {
    while (!(yield* fs.exists(join(target, "LOGS/.publish")))) yield* Effect.sleep("1 millis")
    const holder = readHolder(yield* fs.readFileString(lockfile))
    if (holder !== undefined) yield* Effect.sync(() => process.kill(holder.pid, "SIGKILL"))
    return yield* Effect.never
  })
  const run = (yield* Process).run(programCall(["run", "--config", config]))
  const { exitCode, stderr } = yield* Effect.raceFirst(run, kill)
  const killed = 128 + constants.signals.SIGKILL
  yield* expect(
    exitCode === killed,
    `the run ended with exit status ${exitCode} before it was killed: ${messagesIn(stderr)}`
  )
  const after = yield* digestsIn(target)
  yield* expect(
    before.join("\n") === after.join("\n"),
    `the archives were\n${before.join("\n")}\nand are\n${after.join("\n")}`
  )
})

const nextRun = Effect.fnUntraced(function* ({ config, scratch, target }: Place, archived: Array<number>) {
  const fs = yield* FileSystem.FileSystem
  const { document } = yield* runArchive(config, archived)
  yield* expectArchived(document, "LOGS")
  yield* expect(!(yield* fs.exists(join(target, "LOGS/.publish"))), "the unfinished archive of LOGS is still there")
  for (const dataset of [`${scratch.dataset}/source`, `${scratch.dataset}/source/MAIL`]) {
    const snapshots = yield* scratch.guids(dataset)
    yield* expect(
      snapshots.length === 2,
      `${dataset} has ${snapshots.length} snapshots, not the last two of runs that ended`
    )
  }
})

const verify = Effect.fnUntraced(function* ({ config }: Place) {
  const { document } = yield* runZipper(VerifyDocument, "verify", "--config", config)
  yield* expect(document.good === 5, `${document.good} of 5 archives are good`)
})

const restore = Effect.fnUntraced(function* ({ config, folder, source }: Place) {
  for (const name of ["DOCS", "LOGS", "MAIL", "PH01"]) {
    const back = join(folder, name)
    yield* runZipper(RestoreDocuments, "restore", name, "--to", back, "--config", config)
    yield* expectSameFiles(join(source, name), back)
  }
})

const replicate = Effect.fnUntraced(function* ({ folder, scratch }: Place, how: "full" | "incremental") {
  const { dataset } = scratch
  const job: Job = {
    name: "demo",
    direction: "push",
    // Only for the names of messages and locks: both ends are this machine.
    remote: { _tag: "Remote", host: "localhost", options: [] },
    datasets: [`${dataset}/source`],
    exclude: [],
    destination: scratch.expect("replica"),
    stripPrefix: dataset,
    mode: "plain",
    compress: "none",
    bandwidth: undefined,
    concurrency: 1,
    retention: undefined,
    bookmark: true,
    snapshot: false,
    sourceRetention: undefined
  }
  const lockfile = join(folder, "replication.lock")
  const settings = { named: false, rollback: false, retries: 0, notify_on: [], reminder_hours: 24, lockfile }
  const names = ["source", "source/MAIL"].map(
    (name) => [`${dataset}/${name}`, scratch.expect(`replica/${name}`)] as const
  )
  const { datasets } = yield* runReplication(job, { ...replicationIdentity(), ...settings }).pipe(
    Effect.provide(localReplicationLayers),
    // Its errors are in the summary.
    Logger.withMinimumLogLevel(LogLevel.None)
  )
  for (const result of datasets) {
    const found = "error" in result ? result.error : result.result === "sent" ? result.how : result.result
    yield* expect(found === how, `${result.dataset}: ${found}, expected ${how}`)
  }
  for (const [from, to] of names) {
    const [sent, received] = [yield* scratch.guids(from), yield* scratch.guids(to)]
    yield* expect(
      sent.length > 0 && sent.join() === received.join(),
      `${from} has snapshots with the guids ${sent.join(", ")}, ${to} ${received.join(", ") || "none"}`
    )
  }
})

const replicateAgain = Effect.fnUntraced(function* (place: Place) {
  const { scratch, source } = place
  const fs = yield* FileSystem.FileSystem
  yield* fs.writeFileString(join(source, "DOCS/report.txt"), "Quarterly report, corrected again\n")
  yield* scratch.snapshot("demo", [`${scratch.dataset}/source`, `${scratch.dataset}/source/MAIL`])
  yield* replicate(place, "incremental")
})

const runArchive = (config: string, archived: Array<number>, ...args: ReadonlyArray<string>) =>
  Effect.tap(runZipper(RunDocument, "run", "--config", config, ...args), ({ document }) =>
    Effect.sync(() => archived.push(document.archived))
  )

/** Runs a command of this program, which has to end well; its document, and what it wrote beside it. */
const runZipper = Effect.fnUntraced(function* <A, I>(schema: Schema.Schema<A, I>, ...args: ReadonlyArray<string>) {
  const { exitCode, stderr, stdout } = yield* (yield* Process).run(programCall([...args, "--json"]))
  const said = messagesIn(stderr)
  yield* expect(exitCode === 0, `zipper ${args[0]} ended with exit status ${exitCode}: ${said}`)
  const text = Buffer.from(stdout, "latin1").toString("utf8")
  return { document: yield* Schema.decodeUnknown(Schema.parseJson(schema))(text), stderr }
})

/** The error messages of a run, else its last lines. */
const messagesIn = (stderr: string): string =>
  (stderr.match(/^error: .*(?:\n {2}.*)*/gm) ?? stderr.trimEnd().split("\n").slice(-3)).join("\n")

const expectArchived = ({ folders }: RunDocument, ...names: ReadonlyArray<string>) => {
  const found = folders.filter(({ result }) => result === "archived").map(({ folder }) => folder)
  return expect(
    found.join() === names.join(),
    `archived ${found.join(", ") || "nothing"}, expected ${names.join(", ")}`
  )
}

/** The SHA-256 of each archive, with its name. */
const digestsIn = Effect.fnUntraced(function* (target: string) {
  const fs = yield* FileSystem.FileSystem
  const names = (yield* fs.readDirectory(target)).filter((name) => !name.startsWith(".")).sort()
  return yield* Effect.forEach(names, (name) =>
    Effect.map(fs.readFile(join(target, name, `${name}.zip`)), (content) => {
      return `${createHash("sha256").update(content).digest("hex")}  ${name}.zip`
    })
  )
})

const expectSameFiles = Effect.fnUntraced(function* (source: string, back: string) {
  const fs = yield* FileSystem.FileSystem
  const listed = (folder: string) => Effect.map(fs.readDirectory(folder, { recursive: true }), (names) => names.sort())
  const [names, found] = [yield* listed(source), yield* listed(back)]
  yield* expect(
    names.join("\n") === found.join("\n"),
    `${back} holds ${found.join(", ")}, ${source} ${names.join(", ")}`
  )
  for (const name of names) {
    if ((yield* fs.stat(join(source, name))).type !== "File") continue
    const [one, other] = [yield* fs.readFile(join(source, name)), yield* fs.readFile(join(back, name))]
    yield* expect(Buffer.from(one).equals(other), `${join(back, name)} has other bytes than ${join(source, name)}`)
  }
})

/** Text to be pasted: where this ran, and what failed. */
const report = Effect.fnUntraced(function* (dataset: string, system: System, steps: ReadonlyArray<Step>) {
  const output = yield* Output
  const failed = steps.filter(({ ok }) => !ok)
  if (output.options.quiet && failed.length === 0) return
  const result =
    failed.length === 0 ? `all ${steps.length} steps went well` : `${failed.length} of ${steps.length} steps FAILED`
  const lines = [
    "",
    `zipper demo --dataset ${dataset}: ${result}`,
    `zipper ${system.zipper}, node ${system.node}, ${system.platform}, ${system.openzfs}`,
    ...failed.map(({ detail, step }) => `FAILED: ${step}\n  ${detail.replaceAll("\n", "\n  ")}`)
  ]
  yield* output.print(withoutControls(lines.join("\n")))
})

const howToRemove = (dataset: string, folder: string): string => {
  const commands = ["replica", "target", "source"].map((name) => commandText(["destroy", "-r", `${dataset}/${name}`]))
  return `all of it is left there, to look around in it; to remove it:\n${[...commands, shellWords(["rm", "-r", folder])].join("\n")}`
}
