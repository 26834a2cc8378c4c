import { createHash } from "node:crypto"
import { hostname } from "node:os"
import * as Effect from "effect/Effect"
import { archiveOf, type Config, wholeName } from "../../config/Config.ts"
import type { PageParts } from "../../report/Page.ts"
import type { Report } from "../../report/Report.ts"
import { makeReport, ReportDocument, type Reserved, writeReport } from "../../report/writeReport.ts"
import { Disk } from "../../system/Disk.ts"
import * as Text from "../../text/Text.ts"
import { pageScript, pageStyle } from "../build.ts"
import { applyProcessSettings, loadConfig, makeCommand } from "../command.ts"
import { UsageError } from "../exit.ts"
import { jobsOf, placesOf, readLayers } from "../layers.ts"
import * as options from "../options.ts"
import { Output, printDocument } from "../output.ts"

const out = options.file("out", "o", "Where to write the page; - prints it.")

const longest = 3660

const days = options.parsed(
  "days",
  "N",
  (text) => (/^[0-9]+$/.test(text) && Number(text) >= 1 && Number(text) <= longest ? Number(text) : undefined),
  `a whole number from 1 to ${longest}`,
  "How far back lists and charts go; 90 when left out."
)

/** `zipper report`: what the history comes to, as one page. */
export const report = makeCommand(
  "report",
  "Write one self-contained web page about the runs so far: how things stand, sizes and durations over time, failures, replicas. Example: zipper report --out /var/www/zipper.html",
  { config: options.config, out, days },
  function* ({ config: file, days = 90, out }) {
    const output = yield* Output
    const printed = out === "-"
    if (printed && output.options.json) {
      const problem = "--out -: prints the page where --json prints its document; give one of them"
      return yield* new UsageError({ command: "report", problems: [problem] })
    }
    const config = yield* loadConfig(file)
    yield* applyProcessSettings(config)
    const archive = archiveOf(config)
    const settings = {
      host: hostname(),
      days,
      target: config.target_path,
      wanted: wholeName(config.folders),
      places: archive === undefined ? [] : placesOf(archive),
      snapshots: config.target_snapshots !== undefined
    }
    const made = yield* makeReport(settings, jobsOf(config), pageParts()).pipe(Effect.provide(readLayers(config)))
    if (printed) return yield* output.print(made.html)
    yield* writeReport(out, made.html, reservedOf(file, config)).pipe(Effect.provide(Disk.layer))
    const bytes = Buffer.byteLength(made.html)
    yield* Effect.logInfo(
      `wrote ${Text.quoted(out)}: ${Text.count(made.report.runs, "run")} of the last ${Text.count(days, "day")}, ${needsLook(made.report)}, ${Text.bytes(bytes)}`
    )
    yield* printDocument(ReportDocument, documentOf(out, bytes, made.report))
  }
)

/** The user's own folders and files, which a mistyped --out must not replace. */
const reservedOf = (file: string, config: Config): Reserved => ({
  folders: given({ target_path: config.target_path, source_path: config.source_path }),
  files: given({
    "the configuration": file,
    lockfile_path: config.lockfile_path,
    log_file: config.log_file,
    metrics_file: config.metrics_file
  })
})

const given = (keys: Readonly<Record<string, string | undefined>>) =>
  Object.entries(keys).flatMap(([key, path]) => (path === undefined ? [] : [[key, path] as const]))

const needsLook = ({ problems }: Report): string =>
  problems.length === 0
    ? "all well"
    : `${Text.count(problems.length, "thing")} ${problems.length === 1 ? "needs" : "need"} a look`

const documentOf = (file: string, bytes: number, report: Report): ReportDocument => ({
  version: 1,
  file,
  bytes,
  made_at_utc: `${new Date(report.made).toISOString().slice(0, 19)}Z`,
  days: report.days,
  runs: report.runs,
  ok: report.problems.length === 0,
  problems: report.problems.map(({ subject, text }) => ({ subject, problem: text })),
  unreadable_lines: report.unreadable
})

const digestOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** A browser runs the page's own program and style sheet by their digests, and nothing else: no name of a file, no network. */
const pageParts = (): PageParts => ({
  script: pageScript,
  style: pageStyle,
  policy: [
    "default-src 'none'",
    `script-src ${pageScript === undefined ? "'none'" : digestOf(pageScript)}`,
    `style-src ${digestOf(pageStyle)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'"
  ].join("; ")
})
