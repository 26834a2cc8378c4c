import * as Effect from "effect/Effect"
import { type ArchiveConfig, archiveOf, type Config, wholeName } from "../../config/Config.ts"
import { jobFromConfig } from "../../config/ReplicationJob.ts"
import { status as statusOf, statusOfArchive } from "../../status/Status.ts"
import { type Status, StatusDocument, statusDocument } from "../../status/StatusDocument.ts"
import * as StatusText from "../../status/StatusText.ts"
import { Store } from "../../store/Store.ts"
import { utcSeconds } from "../../text/Time.ts"
import { archiving, loadConfig, makeCommand } from "../command.ts"
import { stopUnless } from "../exit.ts"
import * as services from "../layers.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"
import { isUtf8 } from "../terminal.ts"

const maxAge = options.age(
  "max-age",
  "Exit with status 1 when something has had no success for longer than this (90m, 26h, 2d), or an archive is lost or damaged, or verify found a replica not good, and mark it."
)

/** `zipper status`: is it working? */
export const status = makeCommand(
  "status",
  "Show how everything stands: last successes and attempts, sizes, what is due. Changes nothing. Example: zipper status --max-age 26h",
  { config: options.config, maxAge },
  function* ({ config: file, maxAge }) {
    const config = yield* loadConfig(file)
    const archive = archiveOf(config)
    // Fails for a configuration that has neither.
    if (archive === undefined && config.replication.length === 0) yield* archiving(file, config)
    const found = yield* statusOf(
      { maxAge, replications: replicationsOf(config) },
      archive === undefined ? Effect.succeed(undefined) : ofArchive(archive, maxAge)
    ).pipe(Effect.provide(services.readLayers(config)))
    yield* printDocument(StatusDocument, statusDocument(found, utcSeconds(found.now)))
    yield* show(found)
    yield* stopUnless(yield* reportProblems(found))
  }
)

const ofArchive = (config: ArchiveConfig, age: number | undefined) => {
  const { job: jobId } = services.archiveIdentity(config)
  const folders = wholeName(config.folders)
  const store = Store.layerReport({ targetPath: config.target_path, folders, tmpDir: config.tmp_dir, jobId })
  return Effect.provide(statusOfArchive(config, age, services.placesOf(config)), store)
}

const replicationsOf = (config: Config) =>
  config.replication.map((written) => {
    const job = jobFromConfig(written)
    return { ...job, host: job.remote.host, lockfile: services.lockfileOf(job, config) }
  })

const colours: Readonly<Record<StatusText.LineKind, readonly [string, string] | undefined>> = {
  bad: ["\x1b[31m", "\x1b[39m"],
  watch: ["\x1b[33m", "\x1b[39m"],
  past: ["\x1b[2m", "\x1b[22m"],
  plain: undefined
}

/** The tables; nothing when quiet. Names are cut only for a terminal: what goes into a file or a mail has room. */
const show = Effect.fnUntraced(function* (found: Status) {
  const { colour, options: said, print, terminal } = yield* Output
  if (said.quiet || said.json) return
  const lines = StatusText.render(found, {
    width: terminal.isTerminal("stdout") ? terminal.columns("stdout") : Number.POSITIVE_INFINITY,
    ellipsis: said.ascii || !isUtf8(terminal.env) ? "..." : "…"
  })
  const painted = lines.map(({ kind, text }) => {
    const [on, off] = (colour ? colours[kind] : undefined) ?? ["", ""]
    return text === "" ? "" : `${on}${text}${off}`
  })
  yield* print(painted.join("\n"))
})

/** With --max-age: logs what is wrong, in a line per kind, or per item without the table (--quiet). Gives whether all is well. */
const reportProblems = Effect.fnUntraced(function* (found: Status) {
  if (found.maxAge === undefined) return true
  const lines = [
    ...((yield* Output).options.quiet
      ? [
          ...StatusText.overdue(found),
          ...StatusText.lost(found),
          ...StatusText.damaged(found),
          ...StatusText.replicas(found)
        ]
      : [
          ...[StatusText.overdueSummary(found), StatusText.aheadSummary(found), StatusText.lostSummary(found)],
          ...[StatusText.damagedSummary(found), StatusText.replicasSummary(found)]
        ]),
    ...StatusText.flawedCurrent(found)
  ].filter((text) => text !== undefined)
  yield* Effect.forEach(lines, (text) => Effect.logError(text), { discard: true })
  return lines.length === 0
})
