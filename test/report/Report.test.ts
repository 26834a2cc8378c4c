import { assert, describe, it } from "vitest"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import type { KnownJob } from "../../src/report/Jobs.ts"
import { headline, page } from "../../src/report/Page.ts"
import { type Report, reportOf } from "../../src/report/Report.ts"
import type { HistoryRun } from "../../src/runs/History.ts"
import type { JobState } from "../../src/runs/JobState.ts"
import {
  archivedFolder,
  archiveRun,
  failedFolder,
  replicationRun,
  sampleHistory,
  utcOf
} from "../support/program/reportHistory.ts"

const hour = 3_600_000
const day = 24 * hour
const now = Date.UTC(2026, 10, 21, 12)
const ago = (hours: number): number => now - hours * hour

const archiveJob: KnownJob = { key: archiveJobKey, state: undefined, begun: undefined }
const nasJob: KnownJob = { key: { kind: "replication", name: "nas" }, state: undefined, begun: undefined }

const made = (
  runs: ReadonlyArray<HistoryRun>,
  jobs: ReadonlyArray<KnownJob> = [archiveJob, nasJob],
  days = 90,
  archives = 0
): Report => reportOf({ runs, unreadable: 0 }, { host: "nas", now, days, jobs, archives })

const subjects = (report: Report) => report.problems.map(({ subject }) => subject)
const stateOf = (report: Report, name: string) => report.jobs.find((job) => job.name === name)?.state
const folderOf = (report: Report, name: string) => report.folders.find((folder) => folder.name === name)

const nightly = replicationRun(ago(10), [{ dataset: "tank/a", result: "sent", bytes: 10 }])

describe("how a job stands", () => {
  it("is forgotten, and not new, when there are archives and nothing tells of a run", () => {
    const report = made([], [archiveJob], 90, 3)
    assert.strictEqual(stateOf(report, "archive"), "forgotten")
    assert.match(report.problems[0]?.text ?? "", /archives of 3 folders .* nothing tells of a run/)
    assert.strictEqual(headline(report), "1 thing needs a look on nas")
    const html = page(report, { script: undefined, style: "", policy: "" })
    assert.include(html, "nothing tells of a run")
    assert.notInclude(html, "Nothing to show yet")
    assert.strictEqual(headline(made([], [archiveJob], 90, 0)), "No run on nas yet")
    assert.strictEqual(stateOf(made([archiveRun(ago(1))], [archiveJob], 90, 3), "archive"), "well")
  })

  it("hides no lost archive when the history is lost", () => {
    const found = { lost: ["ABCD"], verified: new Map(), undelivered: [] }
    const settings = { host: "nas", now, days: 90, jobs: [archiveJob, nasJob], archives: 0 }
    const report = reportOf({ runs: [], unreadable: 1 }, { ...settings, found })
    assert.strictEqual(headline(report), "3 things need a look on nas")
    const html = page(report, { script: undefined, style: "", policy: "" })
    assert.include(html, "its archive is lost")
    assert.notInclude(html, "Nothing to show yet")
  })

  it("is failing when its last run could not begin, and could not be written to the history either", () => {
    const last_run = {
      run: "ffffff",
      started_at_utc: utcOf(ago(1)),
      seconds: 1,
      outcome: "not_started",
      error: "read-only file system",
      bytes: 0,
      failures: 0
    } as const
    const state: JobState = { version: 1, kind: "archive", last_run, folders: [] }
    const failing = made([archiveRun(ago(2))], [{ ...archiveJob, state }])
    assert.strictEqual(stateOf(failing, "archive"), "failing")
    assert.deepStrictEqual(failing.problems[0]?.text, "could not begin: read-only file system")
    assert.strictEqual(failing.runs, 1)
    const later = made([archiveRun(ago(0.5))], [{ ...archiveJob, state }])
    assert.strictEqual(stateOf(later, "archive"), "well")
  })

  it("is new before its first run, and that needs a look", () => {
    const report = made([])
    assert.deepStrictEqual(
      report.jobs.map(({ name, state }) => [name, state]),
      [
        ["archive", "new"],
        ["nas", "new"]
      ]
    )
    assert.deepStrictEqual(subjects(report), ["archive job", "job nas"])
  })

  it("is well after a run that was, whatever was before", () => {
    const report = made([archiveRun(ago(2), { outcome: "not_started", error: "no room" }), archiveRun(ago(1)), nightly])
    assert.strictEqual(stateOf(report, "archive"), "well")
    assert.deepStrictEqual(report.problems, [])
    assert.strictEqual(report.failures.length, 1)
  })

  it("is failing after a run that could not begin, with the reason", () => {
    const report = made([archiveRun(ago(2)), archiveRun(ago(1), { outcome: "not_started", error: "no room" }), nightly])
    assert.strictEqual(stateOf(report, "archive"), "failing")
    assert.include(report.problems[0]?.text, "no room")
    assert.strictEqual(report.jobs[0]?.good?.started, ago(2))
  })

  it("is silent when it ran every hour and stopped, but not when it never ran regularly", () => {
    const hourly = [10, 9, 8, 7, 6].map((hours) => archiveRun(ago(hours)))
    assert.strictEqual(stateOf(made(hourly), "archive"), "silent")
    assert.strictEqual(stateOf(made(hourly.slice(0, 3)), "archive"), "well")
    assert.strictEqual(stateOf(made([...hourly, archiveRun(ago(2))]), "archive"), "well")
  })

  it("is killed when a run began that came to no end, and well while it is at work", () => {
    const begun = { at: ago(1), atWork: false }
    assert.deepStrictEqual(subjects(made([archiveRun(ago(2))], [{ ...archiveJob, begun }])), ["archive job"])
    assert.strictEqual(stateOf(made([archiveRun(ago(2))], [{ ...archiveJob, begun }]), "archive"), "killed")
    const atWork = { ...archiveJob, begun: { ...begun, atWork: true } }
    assert.deepStrictEqual(made([archiveRun(ago(2))], [atWork]).problems, [])
  })

  it("is past when the configuration has it no more: then it needs no look", () => {
    const failed = replicationRun(ago(30), [{ dataset: "tank/a", result: "failed", bytes: 0, error: "gone" }])
    const report = made([failed, archiveRun(ago(1))], [archiveJob])
    assert.strictEqual(stateOf(report, "nas"), "past")
    assert.deepStrictEqual(report.problems, [])
  })
})

describe("a folder", () => {
  const failed = archiveRun(ago(3), { unchanged: 9, folders: [failedFolder("ABCD", "cannot read x")] })

  it("is in trouble since its first failure, and out of it when it is archived", () => {
    const again = archiveRun(ago(2), { unchanged: 9, folders: [failedFolder("ABCD", "cannot read y")] })
    const report = made([archiveRun(ago(4)), failed, again, nightly])
    assert.deepStrictEqual(folderOf(report, "ABCD")?.trouble, {
      since: ago(3) + 2000,
      times: 2,
      result: "failed",
      error: "cannot read y"
    })
    assert.deepStrictEqual(subjects(report), ["ABCD"])
    const mended = made([failed, archiveRun(ago(1), { folders: [archivedFolder("ABCD", 5)] }), nightly])
    assert.deepStrictEqual(mended.problems, [])
    assert.strictEqual(folderOf(mended, "ABCD")?.newest?.entry.zip_bytes, 5)
  })

  it("is not out of it because a run of other folders was well", () => {
    const chosen = archiveRun(ago(1), { unchanged: 0, folders: [archivedFolder("EFGH", 5)] })
    assert.deepStrictEqual(subjects(made([failed, chosen, nightly])), ["ABCD"])
    assert.deepStrictEqual(subjects(made([failed, archiveRun(ago(1), { unchanged: 9 }), nightly])), [])
  })

  const state = (changed: Partial<Extract<JobState, { kind: "archive" }>>): KnownJob => ({
    ...archiveJob,
    state: {
      version: 1,
      kind: "archive",
      last_run: { run: "r", started_at_utc: utcOf(ago(1)), seconds: 1, outcome: "ok", bytes: 0, failures: 0 },
      folders: [],
      ...changed
    }
  })
  const abcd = archivedFolder("ABCD", 5).folder

  it("goes by what was written down of it after the last run, if that is as new as the history", () => {
    const item = { folder: abcd, last_attempt_utc: utcOf(ago(1)), last_success_utc: utcOf(ago(1)) }
    const runs = [failed, archiveRun(ago(1), { unchanged: 0 })]
    const unchanged = made(runs, [state({ folders: [{ ...item, result: "unchanged" }] })])
    assert.deepStrictEqual(unchanged.problems, [])
    assert.strictEqual(folderOf(unchanged, "ABCD")?.good, ago(1))
    const gone = made(runs, [state({})])
    assert.strictEqual(folderOf(gone, "ABCD")?.gone, true)
    assert.deepStrictEqual(gone.problems, [])
    const old = made([...runs, archiveRun(now - 60_000, { folders: [failedFolder("ABCD", "z")] })], [state({})])
    assert.deepStrictEqual(subjects(old), ["ABCD"])
  })

  it("and by that still after a run of chosen folders, which leaves the last run as it was", () => {
    const whole = archiveRun(ago(2), { unchanged: 1 })
    const chosen = archiveRun(ago(1), { unchanged: 0, folders: [archivedFolder("EFGH", 5)] })
    const { run, started_at_utc } = whole
    const stands = (folders: Extract<JobState, { kind: "archive" }>["folders"]) =>
      state({
        last_run: { run, started_at_utc, seconds: 1, outcome: "ok", bytes: 0, failures: 0 },
        folders
      })
    const known = { folder: archivedFolder("EFGH", 5).folder, result: "archived" as const }
    const at = chosen.started_at_utc
    const runs = [failed, whole, chosen, nightly]
    const written = stands([{ ...known, last_attempt_utc: at, last_success_utc: at }])
    assert.strictEqual(folderOf(made(runs, [written, nasJob]), "ABCD")?.gone, true)
    const lost = stands([{ ...known, last_attempt_utc: started_at_utc, last_success_utc: started_at_utc }])
    assert.deepStrictEqual(subjects(made(runs, [lost, nasJob])), ["ABCD"])
  })
})

describe("a clock that was set back", () => {
  const ahead = archiveRun(now + 5 * 365 * day, { folders: [failedFolder("ABCD", "cannot read x")] })
  const back = archiveRun(ago(1), { unchanged: 2, folders: [archivedFolder("ABCD", 5)] })

  it("leaves the runs in the order in which they ended", () => {
    const report = made([archiveRun(ago(2)), ahead, back, nightly])
    assert.strictEqual(stateOf(report, "archive"), "well")
    assert.deepStrictEqual(report.problems, [])
    assert.strictEqual(report.jobs[0]?.last?.started, ago(1))
    assert.deepStrictEqual(
      report.recent.map(({ started }) => started),
      [nightly, back, ahead, archiveRun(ago(2))].map((run) => Date.parse(run.started_at_utc))
    )
  })

  it("does not let a run in the future pass for a recent one", () => {
    const report = made([archiveRun(ago(2)), archiveRun(now + day), nightly])
    assert.deepStrictEqual(subjects(report), ["archive job"])
    assert.match(report.problems[0]?.text ?? "", /its last run is dated in the future \(2026-11-22T12:00:00Z\)/)
    assert.deepStrictEqual(made([archiveRun(now + 60_000), nightly]).problems, [])
  })

  it("is no reason to draw charts backwards, or beyond now", () => {
    const one = archiveRun(ago(1), { unchanged: 0, folders: [archivedFolder("ABCD", 10)] })
    const other = archiveRun(ago(2), { unchanged: 0, folders: [archivedFolder("EFGH", 1)] })
    const late = archiveRun(now + day, { folders: [archivedFolder("ABCD", 500)] })
    const { archiveCharts } = made([one, late, other])
    const total = archiveCharts.find(({ id }) => id === "total")
    assert.deepStrictEqual(
      total?.times,
      [ago(2) + 2000, ago(1) + 2000, now].map((at) => at / 1000)
    )
    assert.deepStrictEqual(total?.series[0]?.values, [1, 11, 11])
    for (const { id, times } of archiveCharts) {
      assert.isTrue(
        times.every((time, index) => time * 1000 <= now && (index === 0 || time > (times[index - 1] ?? 0))),
        id
      )
    }
  })

  it("what stands goes by the line of its run in the history", () => {
    const item = { folder: back.folders[0]?.folder ?? assert.fail(), last_attempt_utc: back.started_at_utc }
    const { outcome, run, seconds, started_at_utc } = back
    const last_run = { run, started_at_utc, seconds, outcome, bytes: 0, failures: 0 }
    const state: JobState = {
      version: 1,
      kind: "archive",
      last_run,
      folders: [{ ...item, result: "unchanged", last_success_utc: back.started_at_utc }]
    }
    const jobs = [{ ...archiveJob, state }, nasJob]
    assert.strictEqual(folderOf(made([ahead, back, nightly], jobs), "ABCD")?.good, ago(1))
    assert.deepStrictEqual(subjects(made([back, ahead, nightly], jobs)), ["ABCD"])
  })
})

describe("a replica", () => {
  it("that a whole run does not name was up to date", () => {
    const refused = replicationRun(ago(20), [
      { dataset: "tank/a", result: "sent", bytes: 10 },
      { dataset: "tank/b", result: "refused", bytes: 0, error: "would lose x" }
    ])
    const report = made([refused, archiveRun(ago(1))])
    assert.deepStrictEqual(subjects(report), ["tank/b (nas)"])
    assert.include(report.problems[0]?.text, "refused: would lose x")
    const later = made([refused, replicationRun(ago(10), []), archiveRun(ago(1))])
    assert.deepStrictEqual(later.problems, [])
    assert.deepStrictEqual(
      later.replicas.map(({ bytes, good, name }) => [name, bytes, good]),
      [
        ["tank/a", 10, ago(10) + 30_000],
        ["tank/b", 0, ago(10) + 30_000]
      ]
    )
  })
})

describe("failures", () => {
  it("that are the same are one, the latest first, and none is older than the period", () => {
    const runs = [200, 30, 20, 10].map((hours) =>
      archiveRun(ago(hours), { folders: [failedFolder("ABCD", "cannot read x")] })
    )
    const other = archiveRun(ago(15), { folders: [failedFolder("EFGH", "cannot read y")] })
    const { failures } = made([...runs.slice(0, 3), other, ...runs.slice(3)], [archiveJob], 7)
    assert.deepStrictEqual(
      failures.map(({ first, subject, times }) => [subject, times, first]),
      [
        ["ABCD", 3, ago(30) + 2000],
        ["EFGH", 1, ago(15) + 2000]
      ]
    )
  })
})

describe("charts", () => {
  const chartOf = (report: Report, id: string) =>
    [...report.archiveCharts, ...report.replicationCharts].find((chart) => chart.id === id)

  it("hold a size until the next, and are drawn up to now", () => {
    const runs = [
      archiveRun(ago(3), {
        unchanged: 0,
        folders: [archivedFolder("ABCD", 100), archivedFolder("EFGH", 10)]
      }),
      archiveRun(ago(2), { unchanged: 2 }),
      archiveRun(ago(1), { unchanged: 1, folders: [archivedFolder("EFGH", 40)] })
    ]
    const total = chartOf(made(runs), "total")
    assert.deepStrictEqual(total?.series[0]?.values, [110, 110, 140, 140])
    assert.deepStrictEqual(total?.series[1]?.values, [220, 220, 280, 280])
    assert.strictEqual(total?.times.at(-1), now / 1000)
    assert.deepStrictEqual(
      made(runs).sizeLines.map(({ name, values }) => [name, [...new Set(values)], values.indexOf(40)]),
      [
        ["ABCD", [100], -1],
        ["EFGH", [10, 40], 61]
      ]
    )
  })

  it("count a folder that was there before the history from the beginning, and a new one from its first archive", () => {
    const first = archiveRun(ago(4), { unchanged: 1, folders: [archivedFolder("ABCD", 100)] })
    const known = archiveRun(ago(3), { unchanged: 1, folders: [archivedFolder("EFGH", 10)] })
    const fresh = archiveRun(ago(2), { unchanged: 2, folders: [archivedFolder("IJKL", 1)] })
    assert.deepStrictEqual(chartOf(made([first, known, fresh]), "total")?.series[0]?.values, [110, 110, 111, 111])
  })

  it("put sums on top of each other, those beyond the largest as one", () => {
    const names = ["AAAA", "BBBB", "CCCC", "DDDD", "EEEE", "FFFF", "GGGG", "HHHH"]
    const folders = names.map((name, index) => archivedFolder(name, 100 - index))
    const written = chartOf(made([archiveRun(ago(1), { folders }), archiveRun(ago(0.5), { folders })]), "written")
    assert.strictEqual(written?.series.length, 7)
    assert.strictEqual(written?.series.at(-1)?.label, "all others")
    const all = written?.series.flatMap(({ values }) => values).reduce<number>((sum, value) => sum + (value ?? 0), 0)
    assert.strictEqual(
      all,
      2 * folders.reduce((sum, folder) => sum + (folder.result === "archived" ? folder.zip_bytes : 0), 0)
    )
  })

  it("are thin, ascending and true for two years of hourly runs", () => {
    const folders = Array.from({ length: 40 }, (_, index) => `A${String(index).padStart(3, "0")}`)
    const runs = sampleHistory({ now, days: 730, folders, changing: 4 }).filter(
      ({ seconds, started_at_utc: started }) => Date.parse(started) + seconds * 1000 <= now
    )
    const report = made(runs, [archiveJob, nasJob], 730)
    assert.strictEqual(report.sizeLines.length, 40)
    assert.isBelow(page(report, { script: undefined, style: "", policy: "" }).length, 250_000)
    const charts = [...report.archiveCharts, ...report.replicationCharts]
    assert.strictEqual(charts.length, 5)
    for (const { id, series, times } of charts) {
      assert.isAtMost(times.length, 510, id)
      assert.isTrue(
        times.every((time, index) => index === 0 || time > (times[index - 1] ?? 0)),
        id
      )
      assert.isTrue(
        series.every(({ values }) => values.length === times.length),
        id
      )
    }
    // Sums lose nothing on the way.
    const written = charts.find(({ id }) => id === "written")?.series.flatMap(({ values }) => values) ?? []
    const all = runs
      .filter(({ kind }) => kind === "archive")
      .reduce((sum, run) => sum + ("zip_bytes" in run ? run.zip_bytes : 0), 0)
    assert.strictEqual(
      written.reduce<number>((sum, value) => sum + (value ?? 0), 0),
      all
    )
    assert.strictEqual(report.recent.length, 50)
    assert.isTrue(report.folders.every(({ sizes }) => sizes.length <= 40))
  })
})

it("counts runs whose time cannot be read, and goes on without them", () => {
  const report = reportOf(
    { runs: [archiveRun(ago(1)), { ...archiveRun(ago(1)), started_at_utc: "yesterday" }], unreadable: 2 },
    { host: "nas", now, days: 90, jobs: [archiveJob], archives: 0 }
  )
  assert.strictEqual(report.unreadable, 3)
  assert.strictEqual(report.runs, 1)
})

it("shows each of the last days, the worst of its runs", () => {
  const report = made(
    [archiveRun(now - 2 * day), archiveRun(now - 2 * day + hour, { outcome: "interrupted" })],
    [archiveJob],
    5
  )
  assert.deepStrictEqual(
    report.jobs[0]?.days.map(({ runs, worst }) => [worst, runs]),
    [
      ["none", 0],
      ["none", 0],
      ["none", 0],
      ["interrupted", 2],
      ["none", 0],
      ["none", 0]
    ]
  )
})
