import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import { page } from "../../src/report/Page.ts"
import { reportOf } from "../../src/report/Report.ts"
import { HistoryRun } from "../../src/runs/History.ts"
import { JobState, RunMarker } from "../../src/runs/JobState.ts"
import * as holder from "../../src/runs/Lock.ts"
import * as Metrics from "../../src/runs/Metrics.ts"
import { FolderName } from "../../src/source/FolderName.ts"
import { archiveStatus, replicationStatus } from "../../src/status/Status.ts"
import * as StatusText from "../../src/status/StatusText.ts"
import { FolderFailure, FolderState } from "../../src/store/FolderState.ts"
import * as ChecksumFile from "../../src/store/Metadata.ts"
import * as PublishPlan from "../../src/store/PublishPlan.ts"
import { Cursor } from "../../src/store/Records.ts"
import { makeFileNames, readMetadata } from "../../src/verify/MetadataText.ts"
import * as SnapshotMark from "../../src/zfs/SnapshotPrune.ts"
import * as ArchiveIndex from "../../src/zip/ArchiveIndex.ts"
import { asText, holds, isCount, isSeen, type Target } from "./Target.ts"

// Files of ours, as they may lie there after a fault of the disk, or when somebody else wrote them.

const now = Date.parse("2025-06-01T12:00:00Z")
const abcd = FolderName.make("ABCD")

/** What was read says the same when it is written and read again. */
const again = <A, I>(schema: Schema.Schema<A, I>, bytes: string): A | undefined => {
  const text = Schema.parseJson(schema)
  const found = Option.getOrUndefined(Schema.decodeUnknownOption(text)(asText(bytes)))
  if (found === undefined) return undefined
  const written = Schema.encodeSync(text)(found)
  const second = Schema.decodeUnknownOption(text)(written)
  holds(Option.isSome(second), "what was read cannot be written and read again")
  holds(Schema.encodeSync(text)(second.value) === written, "it says something else when it is read again")
  return found
}

const stateFile: Target = {
  name: "state",
  check: (bytes) => {
    const state = again(FolderState, bytes)
    if (state !== undefined) holds(isCount(state.zip_size) && isCount(state.bytes), "a size is out of range")
    again(FolderFailure, bytes)
    again(Cursor, bytes)
  }
}

const journal: Target = {
  name: "journal",
  check: (bytes) => {
    const found = PublishPlan.decodeJournal(abcd, asText(bytes))
    for (const { name } of found?.steps ?? []) {
      holds(PublishPlan.publishedNames(abcd).includes(name), "it names a file of somebody else")
    }
  }
}

const parts = { script: undefined, style: "", policy: "default-src 'none'" }

const history: Target = {
  name: "history",
  check: (bytes) => {
    const runs = bytes.split("\n").flatMap((line) => again(HistoryRun, line) ?? [])
    const jobs = [{ key: archiveJobKey, state: undefined, begun: undefined }]
    const report = reportOf({ runs, unreadable: 0 }, { host: "nas", now, days: 90, archives: 1, jobs })
    const text = page(report, parts)
    // All markup is the page's own: no text from a run opens an element.
    holds(!/<(script(?! type="application\/json" id="charts">)|img)/i.test(text), "a run's text is markup")
    holds(isSeen(text), "a character in the page cannot be seen")
    holds(
      !/\bNaN\b|Invalid Date|\bInfinity\b/.test(text) || /NaN|Infinity|Invalid Date/.test(bytes),
      "a number is none"
    )
  }
}

const asked = { now, maxAge: 86_400_000 }

const standing: Target = {
  name: "standing",
  check: (bytes) => {
    const found = again(JobState, bytes)
    const marker = again(RunMarker, bytes)
    if (marker !== undefined) holds(isCount(marker.pid), "a pid is out of range")
    if (found === undefined) return
    const activity = { _tag: "Idle" } as const
    const status =
      found.kind === "archive"
        ? {
            archive: archiveStatus(asked, {
              source: "/s",
              target: "/t",
              inSource: new Set([abcd]),
              records: new Map(),
              previous: new Map(),
              state: found,
              activity,
              lost: [],
              verified: new Map(),
              undelivered: []
            }),
            replications: []
          }
        : {
            archive: undefined,
            replications: [
              replicationStatus(
                asked,
                { name: found.job, direction: found.direction, host: found.host, datasets: ["tank/data"] },
                { state: found, activity, undelivered: [] }
              )
            ]
          }
    for (const line of StatusText.render({ ...asked, ...status }, { width: 100, ellipsis: "…" })) {
      holds(isSeen(line.text) && !/\bNaN\b|Invalid Date/.test(line.text), `a line of the table: ${line.text}`)
    }
    const metrics = Metrics.render([found])
    for (const line of metrics.split("\n")) {
      holds(
        line === "" ||
          /^# (HELP|TYPE) zipper_[a-z_]+ .+$/.test(line) ||
          /^zipper_[a-z_]+\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\} -?[0-9.]+(e[+-]?[0-9]+)?$/.test(line),
        `a metric that no monitor reads: ${line}`
      )
    }
    holds(Metrics.withJobAlone(metrics, found) !== "", "the metrics are gone")
    holds(
      Metrics.otherOwner(Metrics.withOwner(metrics, found.last_run.run), found.last_run.run) === undefined,
      "whose it is, is lost"
    )
  }
}

const metrics: Target = {
  name: "metrics",
  check: (bytes) => {
    const text = asText(bytes)
    Metrics.otherOwner(text, "/t/.zipper")
    const kept = Metrics.withJobAlone(text, sample)
    holds(kept.includes('zipper_last_run_outcome{job="archive",outcome="ok"} 1'), "the run is not in it")
    holds(Metrics.withJobAlone(kept, sample).length <= kept.length, "it grows each time")
  }
}

const sample = Schema.decodeUnknownSync(JobState)({
  version: 1,
  kind: "archive",
  last_run: {
    run: "ab12cd",
    started_at_utc: "2025-01-01T12:00:00Z",
    seconds: 1.5,
    outcome: "ok",
    bytes: 10,
    failures: 0
  },
  folders: []
})

const metadata: Target = {
  name: "metadata",
  check: (bytes) => {
    const text = asText(bytes)
    const { findings, metadata: found } = readMetadata("metadata.json", text)
    for (const { problem } of findings) holds(isSeen(problem), "a finding steers a terminal")
    if (found === undefined) return holds(findings.length > 0, "it is none, and nothing is said")
    if (findings.length === 0) holds(`${JSON.stringify(found, null, 2)}\n` === text, "it was written otherwise")
    const names = makeFileNames(found.files)
    names.add(["a.txt", "b%FF"])
    for (const sentence of names.end()) holds(isSeen(sentence), "a difference steers a terminal")
  }
}

const smallFiles: Target = {
  name: "small-files",
  check: (bytes) => {
    const mark = SnapshotMark.decodeMark(bytes)
    if (mark !== undefined) {
      holds(isCount(mark.pid), "a pid is out of range")
      holds(SnapshotMark.encodeMark(mark).length <= bytes.length * 3, "a mark grows")
    }
    const held = holder.decode(bytes)
    if (held !== undefined)
      holds(holder.encode(held) === bytes.replace(/pid 0+(?=\d)/, "pid "), "a holder is another one")
    holds(isSeen(holder.describeHolder(bytes)), "a holder steers a terminal")
    const sum = ChecksumFile.parseChecksums(bytes)
    if (sum !== undefined) holds(/^[0-9a-f]{32,128}$/.test(sum.digest), "a digest is none")
    const index = ArchiveIndex.decode(Buffer.from(bytes, "latin1"))
    if (index !== undefined) {
      holds(index.stamps.length % 2 === 0, "a stamp is half a one")
      holds(Buffer.concat(ArchiveIndex.encode(index)).toString("latin1") === bytes, "an index is another one")
    }
  }
}

export const files: ReadonlyArray<Target> = [stateFile, journal, history, standing, metrics, metadata, smallFiles]
