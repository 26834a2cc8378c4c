import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { activityOf } from "../../src/runs/JobOverview.ts"
import type { ArchiveJobState, ReplicationJobState } from "../../src/runs/JobState.ts"
import type { FolderName } from "../../src/source/FolderName.ts"
import { archiveStatus, replicationStatus } from "../../src/status/Status.ts"
import { type Status, StatusDocument, statusDocument } from "../../src/status/StatusDocument.ts"
import * as StatusText from "../../src/status/StatusText.ts"
import { age } from "../../src/status/StatusText.ts"
import type { FolderRecord, FolderState, FolderVerification } from "../../src/store/FolderState.ts"
import { folder } from "../support/program/job.ts"

const now = Date.UTC(2025, 0, 10, 12)
const hour = 3_600_000
const ago = (hours: number) => `${new Date(now - hours * hour).toISOString().slice(0, 19)}Z`

const state = (name: string, hours: number): FolderState => ({
  version: 1,
  folder: folder(name),
  manifest_sha256: "0".repeat(64),
  hard_links: false,
  snapshot: "s",
  archived_at_utc: ago(hours),
  files: 1204,
  bytes: 1e9,
  zip_size: 4e8,
  zip_md5: "0".repeat(32),
  zip_sha256: "0".repeat(64)
})

const well = (name: string, hours: number): FolderRecord => ({
  state: state(name, hours),
  zipSize: 4e8,
  failure: undefined
})

const failed = (name: string, record: FolderRecord, hours: number): FolderRecord => ({
  ...record,
  failure: {
    version: 1,
    folder: folder(name),
    run: "r",
    failed_at_utc: ago(hours),
    failures: 2,
    error: "cannot read x: permission denied"
  }
})

const lastRun = (hours: number) => ({
  run: "ab12cd",
  started_at_utc: ago(hours),
  seconds: 12,
  outcome: "ok" as const,
  bytes: 0,
  failures: 0
})

const unchanged = (name: string, hours: number) => ({
  folder: folder(name),
  result: "unchanged" as const,
  last_success_utc: ago(hours),
  last_attempt_utc: ago(hours)
})

const standing: ArchiveJobState = {
  version: 1,
  kind: "archive",
  last_run: lastRun(1),
  last_success_utc: ago(1),
  folders: [unchanged("ABCD", 1), unchanged("EFGH", 30)]
}

const of = (
  records: Readonly<Record<string, FolderRecord>>,
  inSource: ReadonlyArray<string> | { readonly problem: string },
  options: {
    readonly maxAge?: number
    readonly standing?: ArchiveJobState | undefined
    readonly lost?: ReadonlyArray<string>
    readonly verified?: ReadonlyArray<FolderVerification>
  } = {}
) => {
  const entries = Object.entries(records).map(([name, record]) => [folder(name), record] as const)
  return archiveStatus(
    { now, maxAge: options.maxAge },
    {
      source: "/source",
      target: "/target",
      inSource: "problem" in inSource ? inSource : new Set(inSource.map(folder)),
      records: new Map<FolderName, FolderRecord>(entries),
      previous: new Map([[folder("ABCD"), { zip_bytes: 1, archived_at_utc: ago(100) }]]),
      state: "standing" in options ? options.standing : standing,
      activity: { _tag: "Idle" },
      lost: (options.lost ?? []).map(folder),
      verified: new Map((options.verified ?? []).map((each) => [each.folder, each])),
      undelivered: []
    }
  )
}

const at = (status: ReturnType<typeof of>, name: string) =>
  status.folders.find((each) => each.folder === name) ?? assert.fail(`no ${name}`)

describe("status of the archive job", () => {
  it("takes the last success from whatever is newest: the end of a run, or an archive of one that was killed", () => {
    const status = of({ ABCD: well("ABCD", 50), EFGH: well("EFGH", 0.5) }, ["ABCD", "EFGH"])
    assert.deepInclude(at(status, "ABCD"), { last_success_utc: ago(1), result: "unchanged", due: null })
    assert.deepInclude(at(status, "EFGH"), { last_success_utc: ago(0.5), result: "archived" })
    const unknown = of({ ABCD: well("ABCD", 50) }, ["ABCD"], { standing: undefined })
    assert.deepInclude(at(unknown, "ABCD"), { last_success_utc: ago(50), last_attempt_utc: ago(50) })
  })

  it("keeps a failure apart from the success before it, also one that only its record tells of", () => {
    const status = of({ ABCD: failed("ABCD", well("ABCD", 50), 0.2) }, ["ABCD"])
    assert.deepInclude(at(status, "ABCD"), {
      last_success_utc: ago(1),
      last_attempt_utc: ago(0.2),
      result: "failed",
      error: "cannot read x: permission denied",
      due: "its last attempt failed"
    })
  })

  it("says what is due, from the records", () => {
    const full = well("ABCD", 1)
    const dueOf = (record: FolderRecord | undefined) =>
      at(of(record === undefined ? {} : { ABCD: record }, ["ABCD"]), "ABCD").due
    assert.isNull(dueOf(full))
    assert.strictEqual(dueOf(undefined), "never archived")
    assert.strictEqual(dueOf({ ...full, zipSize: undefined }), "its archive is missing")
    assert.strictEqual(dueOf({ ...full, zipSize: 1 }), "its archive has another size than when it was published")
    const { archived_at_utc, zip_sha256 } = full.state ?? assert.fail()
    const current = { archived_at_utc, zip_sha256, verified_at_utc: ago(1), result: "damaged" as const }
    const found = of({ ABCD: full }, ["ABCD"], { verified: [{ version: 1, folder: folder("ABCD"), current }] })
    assert.strictEqual(at(found, "ABCD").due, "verify found its archive damaged")
    assert.strictEqual(dueOf({ ...full, incomplete: "metadata.json" }), "a file beside its archive is missing")
  })

  it("does not say that no run did anything of a job that ran long ago and has no folder", () => {
    const textOf = (job: ArchiveJobState | undefined) =>
      StatusText.overdue({
        now,
        maxAge: hour,
        archive: of({}, [], { maxAge: hour, standing: job }),
        replications: []
      })
    const old = { ...standing, last_run: lastRun(72), last_success_utc: ago(72), folders: [] }
    assert.deepStrictEqual(textOf(old), ["archive: last run 3 d ago, and it has no folder or dataset"])
    assert.deepStrictEqual(textOf(undefined), ["archive: no run did anything yet"])
  })

  it("does not call all well what it could not look at", () => {
    const status = { now, maxAge: 26 * hour, replications: [] }
    const archive = { ...of({ ABCD: well("ABCD", 1) }, ["ABCD"]), unread: ["cannot list the index: I/O error (EIO)"] }
    const lines = StatusText.render({ ...status, archive }, { width: 200, ellipsis: "…" }).map(({ text }) => text)
    assert.notInclude(lines.join("\n"), "all well")
    assert.include(lines, "cannot list the index: I/O error (EIO)")
    assert.deepStrictEqual(StatusText.flawedCurrent({ ...status, archive }), archive.unread)
  })

  it("tells of folders that are gone, which are never overdue, and of no failure that outlived its folder", () => {
    const nothing = { state: undefined, zipSize: undefined, failure: undefined }
    const status = of({ ABCD: well("ABCD", 500), OLD1: failed("OLD1", nothing, 900) }, ["EFGH"], {
      maxAge: hour,
      standing: undefined
    })
    assert.deepStrictEqual(
      status.folders.map((each) => [String(each.folder), each.gone, each.overdue]),
      [
        ["ABCD", true, false],
        ["EFGH", false, true]
      ]
    )
  })

  it("takes nothing for gone while the source cannot be listed", () => {
    const status = of({ ABCD: well("ABCD", 500) }, { problem: "not mounted" }, { maxAge: hour, standing: undefined })
    assert.deepInclude(at(status, "ABCD"), { gone: false, overdue: true })
    assert.strictEqual(status.source_problem, "not mounted")
  })

  it("is overdue by the last success alone, to the minute", () => {
    const overdue = (maxAge: number | undefined) =>
      of({ ABCD: well("ABCD", 1), EFGH: well("EFGH", 30) }, ["ABCD", "EFGH"], maxAge === undefined ? {} : { maxAge })
        .folders.filter((each) => each.overdue)
        .map((each) => String(each.folder))
    assert.deepStrictEqual(overdue(undefined), [])
    assert.deepStrictEqual(overdue(30 * hour), [])
    assert.deepStrictEqual(overdue(30 * hour - 1), ["EFGH"])
    assert.deepStrictEqual(overdue(hour - 1), ["ABCD", "EFGH"])
  })

  it("a success in the future is none that counts, but for clocks that differ a little", () => {
    const overdueAt = (hours: number) => {
      const folders = [unchanged("ABCD", hours)]
      const found = of({ ABCD: well("ABCD", 50) }, ["ABCD"], {
        maxAge: 26 * hour,
        standing: { ...standing, folders }
      })
      return at(found, "ABCD").overdue
    }
    assert.deepStrictEqual([-24, -0.1, -0.05, 0, 25].map(overdueAt), [true, true, false, false, false])
    const empty = { ...standing, folders: [], last_success_utc: ago(-24) }
    assert.isTrue(of({}, [], { maxAge: 26 * hour, standing: empty }).overdue)
  })

  it("an archive that a run made, and that is not there, is lost, whatever else is due", () => {
    const nothing = { state: undefined, zipSize: undefined, failure: undefined }
    const lostOf = (
      record: FolderRecord | undefined,
      inSource: ReadonlyArray<string> | { readonly problem: string } = ["ABCD"],
      known: ArchiveJobState | undefined = standing
    ) =>
      of(record === undefined ? {} : { ABCD: record }, inSource, { maxAge: 26 * hour, standing: known })
        .folders.filter(({ lost }) => lost)
        .map((each) => String(each.folder))
    const well1 = well("ABCD", 1)
    assert.deepStrictEqual(lostOf(well1), [])
    assert.deepStrictEqual(lostOf({ ...well1, zipSize: undefined }), ["ABCD"])
    assert.deepStrictEqual(lostOf(failed("ABCD", { ...well1, zipSize: undefined }, 1)), ["ABCD"])
    // The folder is away as a whole.
    assert.deepStrictEqual(lostOf(undefined), ["ABCD"])
    assert.deepStrictEqual(lostOf(undefined, { problem: "not mounted" }), ["ABCD", "EFGH"])
    // One that never had a success has none to lose, and one that is gone is nobody's any more.
    assert.deepStrictEqual(lostOf(failed("ABCD", nothing, 1), ["ABCD"], { ...standing, folders: [] }), [])
    assert.deepStrictEqual(lostOf({ ...well1, zipSize: undefined }, ["NEW1"]), [])
  })

  it("a folder that no run has seen yet is late only when the runs are", () => {
    const overdue = (success: string | undefined, records: Readonly<Record<string, FolderRecord>> = {}) => {
      const { last_success_utc: _, ...rest } = standing
      const job = { ...rest, ...(success === undefined ? {} : { last_success_utc: success }) }
      return at(of(records, ["NEW1"], { maxAge: 26 * hour, standing: job }), "NEW1").overdue
    }
    assert.isFalse(overdue(ago(1)))
    assert.isTrue(overdue(ago(27)))
    assert.isTrue(overdue(ago(-27)))
    assert.isTrue(overdue(undefined))
    // One that was tried, or of which the success is not known, is late by itself.
    const nothing = { state: undefined, zipSize: undefined, failure: undefined }
    assert.isTrue(overdue(ago(1), { NEW1: failed("NEW1", nothing, 1) }))
    assert.isTrue(overdue(ago(1), { NEW1: { ...nothing, zipSize: 5 } }))
  })

  it("a job that looks after nothing, and never ran, does not pass for one that is well", () => {
    assert.isTrue(of({}, [], { maxAge: hour, standing: undefined }).overdue)
    assert.isFalse(of({}, [], { standing: undefined }).overdue)
    assert.isFalse(of({}, [], { maxAge: 2 * hour, standing: { ...standing, folders: [] } }).overdue)
  })
})

const replicas = (maxAge?: number) => {
  const job = { name: "nas", direction: "pull" as const, host: "nas", datasets: ["tank"] }
  const known: ReplicationJobState = {
    version: 1,
    kind: "replication",
    job: "nas",
    direction: "pull",
    host: "nas",
    last_run: { ...lastRun(5), outcome: "failed", failures: 1 },
    datasets: [
      { dataset: "tank", result: "nothing_to_send", last_attempt_utc: ago(5) },
      {
        dataset: "tank/data/with/a/name/that/goes/on/and/on",
        target: "backup/pool/nas/tank/data/with/a/name/that/goes/on/and/on",
        result: "refused",
        last_success_utc: ago(80),
        last_attempt_utc: ago(5),
        error: "would lose\n2 snapshots",
        bytes: 123456789
      }
    ]
  }
  const idle = { _tag: "Idle" } as const
  return {
    ran: replicationStatus({ now, maxAge }, job, { state: known, activity: idle, undelivered: [] }),
    never: replicationStatus(
      { now, maxAge },
      { ...job, name: "new" },
      { state: undefined, activity: idle, undelivered: [] }
    )
  }
}

describe("status of a replication", () => {
  it("is overdue where a dataset is, and where no run is known; one without snapshots only holds others", () => {
    const { never, ran } = replicas(26 * hour)
    assert.deepStrictEqual(
      ran.datasets.map(({ overdue }) => overdue),
      [false, true]
    )
    assert.deepStrictEqual(
      never.datasets.map(({ dataset, overdue }) => [dataset, overdue]),
      [["tank", true]]
    )
  })

  it("a dataset that was added is late only when the runs are", () => {
    const job = { name: "nas", direction: "pull" as const, host: "nas", datasets: ["tank", "new"] }
    const overdue = (hours: number) =>
      replicationStatus({ now, maxAge: 26 * hour }, job, {
        state: {
          version: 1,
          kind: "replication",
          job: "nas",
          direction: "pull",
          host: "nas",
          last_run: lastRun(hours),
          last_success_utc: ago(hours),
          datasets: [{ dataset: "tank", result: "sent", last_success_utc: ago(1), last_attempt_utc: ago(1) }]
        },
        activity: { _tag: "Idle" },
        undelivered: []
      }).datasets.map((each) => [each.dataset, each.overdue])
    assert.deepStrictEqual(overdue(1), [
      ["new", false],
      ["tank", false]
    ])
    assert.deepStrictEqual(overdue(27), [
      ["new", true],
      ["tank", false]
    ])
  })
})

describe("activity", () => {
  const marker = { version: 1, run: "r", pid: 7, started_at_utc: ago(1), lockfile: "/l" } as const
  it("a mark without its process is one of a run that was killed", () => {
    assert.strictEqual(activityOf(undefined, undefined)._tag, "Idle")
    assert.strictEqual(activityOf(marker, { pid: 7, since: ago(1) })._tag, "Running")
    assert.deepStrictEqual(activityOf(marker, undefined), { _tag: "Died", run: "r", pid: 7, since: ago(1) })
  })

  it("is not taken for that of another process with the same lock, or with the same pid later", () => {
    assert.strictEqual(activityOf(marker, { pid: 8, since: ago(1) })._tag, "Died")
    assert.strictEqual(activityOf(marker, { pid: 7, since: ago(0.5) })._tag, "Died")
    assert.strictEqual(activityOf(marker, { pid: 7, since: ago(1.5) })._tag, "Died")
    assert.strictEqual(activityOf(marker, { pid: 7, since: ago(1 - 20 / 3600) })._tag, "Running")
    assert.deepStrictEqual(activityOf(undefined, { pid: 7, since: ago(1) }), {
      _tag: "Locked",
      pid: 7,
      since: ago(1)
    })
  })
})

describe("the table", () => {
  const everything = (): Status => {
    const maxAge = 26 * hour
    const { never, ran } = replicas(maxAge)
    const archive = of(
      {
        ABCD: well("ABCD", 50),
        EFGH: failed("EFGH", { ...well("EFGH", 50), zipSize: 1e12 }, 0.2),
        OLD1: well("OLD1", 2000)
      },
      ["ABCD", "EFGH", "NEW1"],
      { maxAge }
    )
    return { now, maxAge, archive, replications: [ran, never] }
  }
  const text = (width: number) => StatusText.render(everything(), { width, ellipsis: "…" }).map((line) => line.text)

  it("fits into 80 columns, whatever is to be told, and cuts the front of long names only", () => {
    const lines = text(80)
    for (const line of lines) assert.isAtMost(line.length, 80, line)
    assert.match(lines.join("\n"), /…[a-z/]*on\/and\/on/)
    assert.match(lines.join("\n"), /^NEW1 +never .* no archive$/m)
  })

  it("uses the width that there is, aligned", () => {
    const lines = text(200)
    assert.isTrue(
      lines.some((line) => line.includes("tank/data/with/a/name/that/goes/on/and/on  backup/pool/nas/tank"))
    )
    const [title = "", ...rows] = lines.slice(1, 6)
    const end = title.indexOf("SUCCESS") + "SUCCESS".length
    assert.deepStrictEqual(
      rows.slice(0, 4).map((row) => row.slice(0, end).replace(/ +/, " ")),
      ["ABCD 1 h ago", "EFGH 30 h ago", "NEW1 never", "OLD1 83 d ago"]
    )
  })

  it("says each overdue thing by name, and how many", () => {
    assert.deepStrictEqual(StatusText.overdue(everything()), [
      "EFGH: last success 30 h ago; the last attempt failed: cannot read x: permission denied",
      "nas: tank/data/with/a/name/that/goes/on/and/on: last success 3 d ago; the last attempt failed: would lose\n2 snapshots",
      "new: tank: never succeeded"
    ])
    assert.strictEqual(StatusText.overdueSummary(everything()), "3 are overdue: no success in the last 1 d 02 h")
  })

  it("says each archive that is lost, in the table too", () => {
    const archive = of({ ABCD: { ...well("ABCD", 50), zipSize: undefined } }, ["ABCD", "EFGH"])
    const status: Status = { now, maxAge: 48 * hour, archive, replications: [] }
    const lines = StatusText.render(status, { width: 80, ellipsis: "…" })
    assert.deepStrictEqual(
      lines.filter(({ text }) => /^(?:ABCD|EFGH) /.test(text)).map(({ kind, text }) => [kind, text.slice(-14)]),
      [
        ["bad", "  ARCHIVE LOST"],
        ["bad", "  ARCHIVE LOST"]
      ]
    )
    assert.deepStrictEqual(StatusText.lost(status), [
      "ABCD: its archive is lost: ABCD.zip is not there; last success 1 h ago",
      "EFGH: its archive is lost: EFGH.zip is not there; last success 30 h ago"
    ])
    assert.strictEqual(
      StatusText.lostSummary(status),
      "2 archives are lost: the zip is not there, though a run made it"
    )
    assert.isUndefined(StatusText.lostSummary({ ...status, archive: undefined }))
    assert.strictEqual(statusDocument(status, ago(0)).lost, 2)
  })

  it("has a document that its schema describes", () => {
    const document = statusDocument(everything(), ago(0))
    assert.deepStrictEqual(Schema.decodeUnknownSync(StatusDocument)(JSON.parse(JSON.stringify(document))), document)
    assert.strictEqual(document.overdue, 3)
  })

  it("gives ages in words", () => {
    const ages = [-3, -0.05, 0, 0.5, 1, 47.9, 48, 24 * 1500].map((hours) => age(now, ago(hours)))
    assert.deepStrictEqual(ages, [
      "in the future",
      "just now",
      "just now",
      "30 min ago",
      "1 h ago",
      "47 h ago",
      "2 d ago",
      "1,500 d ago"
    ])
    assert.strictEqual(age(now, ""), "unknown")
  })
})
