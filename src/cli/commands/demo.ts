import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Command from "@effect/cli/Command"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { runArchive } from "../../archive/ArchiveJob.ts"
import { type ArchiveConfig, decode, withToken } from "../../config/Config.ts"
import type { RunSummary } from "../../runs/ArchiveResult.ts"
import { PreflightError } from "../../runs/Run.ts"
import { explain } from "../../system/Errno.ts"
import { Process } from "../../system/Process.ts"
import { quoted } from "../../text/Text.ts"
import { datasetProblem } from "../../zfs/DatasetName.ts"
import { makeCommand } from "../command.ts"
import { stopUnless, UsageError } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { printDocument } from "../output.ts"
import { commandLine } from "../program.ts"
import * as progressBar from "../progressBar.ts"
import { demonstrateOn } from "./demoDataset.ts"
import { makeSample } from "./demoSample.ts"
import { DemoDocument } from "./schema.ts"

/** `zipper demo`: the archive job on a sample, without ZFS; with --dataset all of zipper, on ZFS. */
export const demo = makeCommand(
  "demo",
  "Show the archive job at work on a small sample in a temporary folder, or everything on ZFS. Example: zipper demo --dataset tank/scratch",
  {
    dataset: options.single(
      "dataset",
      "DATASET",
      "Try everything on ZFS instead, below this empty dataset: archives, a run that is killed, a restore, a replica. What was made is destroyed at the end."
    ),
    keep: options.flag("keep", "Leave there what was made, to look around in it.")
  },
  function* ({ dataset, keep }) {
    const problem = dataset === undefined ? undefined : datasetProblem(dataset)
    if (problem !== undefined) {
      return yield* new UsageError({ command: "demo", problems: [`--dataset: ${quoted(dataset ?? "")} ${problem}`] })
    }
    const result = dataset === undefined ? yield* demonstrateLive(keep) : yield* demonstrateOn(dataset, keep)
    yield* printDocument(DemoDocument, { version: 1, ...result })
    if (!result.ok) yield* Effect.logError("the demonstration did not go as it should: please report this")
    yield* stopUnless(result.ok)
    const done =
      dataset === undefined
        ? ": DOCS was archived again and its archive before kept, the archives of the others are the same as before"
        : ""
    yield* Effect.logInfo(`All well${done}. Next: ${commandLine("config", "init")}`)
  }
).pipe(Command.provide(Layer.merge(Layer.scope, Process.layer)))

const demonstrateLive = Effect.fnUntraced(function* (keep: boolean) {
  const place = yield* makePlace(keep)
  const config = yield* configFor(place)
  const result = yield* demonstrate(place, job(config))
  if (keep) yield* Effect.logInfo(`${place.root} is left for you to look at.`)
  return { ...result, folder: keep ? place.root : null }
})

// Decoded as a configuration file is, so that the demonstration has its defaults.
const configFor = ({ root, source, target }: DemoPlace) =>
  decode({
    source_path: source,
    target_path: target,
    snapshots: "live",
    lockfile_path: `${root}/zipper.lock`,
    log_file: `${root}/zipper.log`,
    syslog: false
  }).pipe(
    Either.mapBoth({
      onLeft: (issues) => new Error(issues.join("\n")),
      onRight: (document): ArchiveConfig => ({
        ...withToken(document, undefined),
        source_path: source,
        target_path: target
      })
    }),
    Effect.orDie
  )

const job = (config: ArchiveConfig) => {
  const id = services.archiveIdentity(config)
  return runArchive(config, { ...id, folders: [], force: false, configWords: [] }).pipe(
    Effect.provide(services.archiveLayers(config, id, false)),
    Effect.provide(progressBar.layer),
    services.logs(config, id)
  )
}

type DemoPlace = Effect.Effect.Success<ReturnType<typeof makePlace>>

type DemoCheck = (typeof DemoDocument.Type)["checks"][number]

/** A temporary folder, removed when the scope closes, unless it is to be kept. */
const makePlace = Effect.fnUntraced(function* (keep: boolean) {
  const fs = yield* FileSystem.FileSystem
  const options = { prefix: "zipper-demo-" }
  const root = yield* (keep ? fs.makeTempDirectory(options) : fs.makeTempDirectoryScoped(options)).pipe(
    Effect.mapError(
      (cause) =>
        new PreflightError({ message: `no folder can be made in ${tmpdir()} (TMPDIR): ${explain(cause.cause)}` })
    )
  )
  const place = { root, source: join(root, "source"), target: join(root, "target") }
  yield* fs.makeDirectory(place.source)
  yield* fs.makeDirectory(place.target)
  return place
})

const listTarget = Effect.fnUntraced(function* (target: string) {
  const fs = yield* FileSystem.FileSystem
  const visible = (path: string) =>
    Effect.map(fs.readDirectory(path), (names) => names.filter((name) => !name.startsWith(".")).sort())
  return yield* Effect.forEach(yield* visible(target), (folder) =>
    Effect.map(visible(join(target, folder)), (files) => ({ folder, files }))
  )
})

const demonstrate = Effect.fn("Demo.demonstrate")(function* <E, R>(
  { root, source, target }: DemoPlace,
  job: Effect.Effect<RunSummary, E, R>
) {
  const fs = yield* FileSystem.FileSystem
  yield* Effect.logInfo(`A sample source in ${root}, read without ZFS ("snapshots": "live").`)
  yield* makeSample(source)
  yield* Effect.logInfo("First run: every folder is new.")
  const first = yield* job
  yield* fs.writeFileString(join(source, "DOCS/report.txt"), "Quarterly report, corrected\n".repeat(2000))
  yield* Effect.logInfo("Now one file of DOCS changes. Second run:")
  const second = yield* job
  yield* Effect.logInfo("What is in the target now:")
  const listed = yield* listTarget(target)
  for (const { folder, files } of listed) yield* Effect.logInfo(`  ${folder}/  ${files.join("  ")}`)
  yield* Effect.logInfo("What other programs say of it:")
  const commands = listed.flatMap(({ files, folder }) =>
    files.flatMap((file) => commandsFor(file).map((command) => runCheck(join(target, folder), command)))
  )
  const checks = (yield* Effect.all(commands)).filter((check) => check !== undefined)
  for (const reader of new Set(checks.map((check) => check.reader))) {
    const asked = checks.filter((check) => check.reader === reader)
    const bad = asked.filter(({ ok }) => !ok)
    for (const { detail, file } of bad) yield* Effect.logError(`${reader} ${file}: ${detail}`)
    yield* Effect.logInfo(`  ${reader.padEnd(22)} ${asked.length - bad.length} of ${asked.length} files are good`)
  }
  if (checks.length === 0) {
    yield* Effect.logInfo("  none of unzip, 7zz, bsdtar, python3, sha256sum, md5sum is installed here")
  }
  const asPlanned = first.archived === 3 && second.archived === 1 && second.unchanged === 2
  return { ok: asPlanned && checks.every(({ ok }) => ok), archived: [first.archived, second.archived], checks }
})

const commandsFor = (file: string): ReadonlyArray<readonly [string, ...Array<string>]> => {
  if (file.endsWith(".sha256")) return [["sha256sum", "-c", file]]
  if (file.endsWith(".md5")) return [["md5sum", "-c", file]]
  if (!file.endsWith(".zip")) return []
  return [
    ["unzip", "-tq", file],
    ["7zz", "t", file],
    ["bsdtar", "-xOf", file],
    ["python3", "-m", "zipfile", "-t", file]
  ]
}

// Undefined where the program is not installed.
const runCheck = Effect.fnUntraced(function* (cwd: string, [program, ...args]: readonly [string, ...Array<string>]) {
  const process = yield* Process
  return yield* process.run({ program, args, cwd, env: { LC_ALL: "C.UTF-8" } }).pipe(
    Effect.map(({ exitCode, stderr, stdout }): DemoCheck => {
      // Python's zipfile ends with 0 also after it has found a damaged entry.
      const ok = exitCode === 0 && !/^The following enclosed file is corrupted/.test(stdout)
      const reader = [program, ...args.slice(0, -1)].join(" ")
      return { reader, file: args.at(-1) ?? "", ok, detail: ok ? "" : (stderr || stdout).trim() }
    }),
    Effect.catchIf(
      (error) => error.reason === "NotFound",
      () => Effect.succeed(undefined)
    )
  )
})
