import { assert, describe, it } from "@effect/vitest"
import type { ReplicationJobState } from "../../src/runs/JobState.ts"
import type { FolderName } from "../../src/source/FolderName.ts"
import { archiveStatus, replicationStatus } from "../../src/status/Status.ts"
import type { ArchiveStatus, Status } from "../../src/status/StatusDocument.ts"
import * as StatusText from "../../src/status/StatusText.ts"
import type { FolderRecord } from "../../src/store/FolderState.ts"
import { wrapped } from "../../src/text/Text.ts"
import { folder } from "../support/program/job.ts"

const now = Date.UTC(2025, 0, 10, 12)
const hour = 3_600_000
const ago = (hours: number) => `${new Date(now - hours * hour).toISOString().slice(0, 19)}Z`

const lastRun = {
  run: "r",
  started_at_utc: ago(5),
  seconds: 250,
  outcome: "failed" as const,
  error: `the target /mnt/tank/archives ${"is away and nobody knows why ".repeat(5).trim()}\nlook at the log`,
  bytes: 0,
  failures: 1
}

const job = { name: "a-job-with-a-long-name", direction: "pull" as const, host: "nas.somewhere.example.com" }

const replication = (
  datasets: ReadonlyArray<string>,
  known: ReadonlyArray<ReplicationJobState["datasets"][number]>,
  maxAge?: number
) =>
  replicationStatus(
    { now, maxAge },
    { ...job, datasets },
    {
      state: {
        version: 1,
        kind: "replication",
        job: job.name,
        direction: "pull",
        host: job.host,
        last_run: lastRun,
        datasets: known
      },
      activity: { _tag: "Died", run: "r", pid: 7, since: ago(5) },
      undelivered: []
    }
  )

const failed = {
  dataset: "tank/a",
  result: "refused" as const,
  last_attempt_utc: ago(5),
  error: `${"a reason of many words ".repeat(8).trim()}\nand one more line`
}

const archive = (records: Readonly<Record<string, FolderRecord>>, problem?: string) =>
  archiveStatus(
    { now, maxAge: undefined },
    {
      source: "/source",
      target: "/target",
      inSource: problem === undefined ? new Set(Object.keys(records).map(folder)) : { problem },
      records: new Map<FolderName, FolderRecord>(
        Object.entries(records).map(([name, record]) => [folder(name), record])
      ),
      previous: new Map(),
      state: undefined,
      activity: { _tag: "Locked", pid: 12, since: ago(1) },
      lost: [],
      verified: new Map(),
      undelivered: []
    }
  )

const shown = (status: Partial<Status>, width: number) =>
  StatusText.render(
    { now, maxAge: undefined, archive: undefined, replications: [], ...status },
    { width, ellipsis: "…" }
  ).map(({ text }) => text)

describe("the words of status", () => {
  const everything = {
    archive: archive({}, "the source cannot be read, for reasons that take more than a line of a terminal to tell"),
    replications: [replication(["tank/a"], [failed])]
  }

  it("fit into the terminal, further lines of a paragraph after two spaces", () => {
    for (const width of [60, 80]) {
      const lines = shown(everything, width)
      for (const line of lines) {
        assert.isAtMost(line.length, width)
        assert.notInclude(line, "\n")
      }
      const began = lines.findIndex((line) => line.includes("the run that began"))
      assert.match(lines[began] ?? "", /^ {2}\S/)
      assert.match(lines[began + 1] ?? "", /^ {2}\S/)
      const reason = lines.findIndex((line) => line.startsWith("tank/a: a reason"))
      assert.match(lines[reason + 1] ?? "", /^ {2}\S/)
      assert.include(lines, "  and one more line")
      assert.include(lines, "  look at the log")
    }
  })

  it("are a line each where there is room, for a file or a mail", () => {
    const lines = shown(everything, Number.POSITIVE_INFINITY)
    assert.isTrue(lines.some((line) => line.startsWith(`${job.name} (pull, ${job.host}): last run 5 h ago, took `)))
    assert.isTrue(lines.some((line) => /^ {2}the run that began .* what it left$/.test(line)))
  })

  it("say how far back the target goes, and nothing where nothing is kept", () => {
    const figures = { count: 31, oldest_utc: ago(24 * 60), newest_utc: ago(2) }
    const lines = (target_snapshots: ArchiveStatus["target_snapshots"]) =>
      shown({ archive: { ...archive({}), target_snapshots } }, Number.POSITIVE_INFINITY).filter((line) =>
        line.includes("snapshots of the target")
      )
    assert.deepStrictEqual(lines(null), [])
    const well = `  snapshots of the target: 31, back to ${ago(24 * 60)} (60 d ago), the newest 2 h ago`
    assert.deepStrictEqual(lines(figures), [well])
    assert.deepStrictEqual(lines({ ...figures, error: "out of space" }), [
      well,
      "  snapshots of the target: out of space"
    ])
    assert.deepStrictEqual(lines({ count: 0, oldest_utc: null, newest_utc: null }), [
      "  snapshots of the target: none yet"
    ])
  })

  it("tell an archive whose state is damaged from one that is not there", () => {
    const nothing = { state: undefined, failure: undefined, zipSize: undefined }
    const lines = shown({ archive: archive({ ABCD: { ...nothing, zipSize: 5 }, EFGH: nothing }) }, 80)
    assert.match(lines.find((line) => line.startsWith("ABCD")) ?? "", / state lost$/)
    assert.match(lines.find((line) => line.startsWith("EFGH")) ?? "", / no archive$/)
  })
})

describe("datasets that were put into a job, or taken out of it, since its last run", () => {
  it("are overdue before their first run, and not there any more", () => {
    const well = { result: "sent" as const, last_attempt_utc: ago(5), last_success_utc: ago(5) }
    const status = replication(
      ["tank/a", "tank/new"],
      [
        { ...well, dataset: "tank/a" },
        { ...well, dataset: "tank/old" }
      ],
      26 * hour
    )
    assert.deepStrictEqual(
      status.datasets.map(({ dataset, last_success_utc, overdue }) => [dataset, last_success_utc, overdue]),
      [
        ["tank/a", ago(5), false],
        ["tank/new", null, true]
      ]
    )
    assert.deepStrictEqual(StatusText.overdue({ now, maxAge: 26 * hour, archive: undefined, replications: [status] }), [
      `${job.name}: tank/new: never succeeded`
    ])
  })
})

describe("text on lines", () => {
  it("breaks between words only, and keeps every one of them", () => {
    const path = `/${"long/".repeat(20)}name`
    assert.deepStrictEqual(wrapped(`  one two ${path} three`, 12, "  "), ["  one two", `  ${path}`, "  three"])
    assert.deepStrictEqual(wrapped("one\ntwo", 80, "  "), ["one", "  two"])
    assert.deepStrictEqual(wrapped("", 80, "  "), [""])
  })
})
