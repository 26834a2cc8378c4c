import { assert, describe, it } from "vitest"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import { page } from "../../src/report/Page.ts"
import { type Report, reportOf, type Settings } from "../../src/report/Report.ts"
import type { HistoryRun } from "../../src/runs/History.ts"
import type { JobState } from "../../src/runs/JobState.ts"
import type { Verified } from "../../src/store/FolderState.ts"
import { folder } from "../support/program/job.ts"
import { archivedFolder, archiveRun, utcOf } from "../support/program/reportHistory.ts"

const hour = 3_600_000
const day = 24 * hour
const now = Date.UTC(2026, 10, 21, 12)

const made = (
  runs: ReadonlyArray<HistoryRun>,
  { found, state }: Pick<Settings, "found"> & { readonly state?: JobState } = {}
): Report =>
  reportOf(
    { runs, unreadable: 0 },
    {
      host: "nas",
      now,
      days: 90,
      archives: 1,
      jobs: [{ key: archiveJobKey, state, begun: undefined }],
      ...(found === undefined ? {} : { found })
    }
  )

const textsOf = (report: Report) => report.problems.map(({ subject, text }) => `${subject}: ${text}`)
const htmlOf = (report: Report) => page(report, { script: undefined, style: "", policy: "" })

/** Hourly runs from so many hours ago on, those of some hours left out. */
const hourly = (from: number, without: (ago: number) => boolean = () => false) =>
  Array.from({ length: from }, (_, index) => from - index)
    .filter((ago) => !without(ago))
    .map((ago) => archiveRun(now - ago * hour))

describe("an archive that was not read back", () => {
  const names = ["AAAA", "BBBB", "CCCC", "DDDD", "EEEE", "FFFF", "GGGG"]
  const archivedAgo = (days: number, folders = ["ABCD"]) => [
    archiveRun(now - days * day, { folders: folders.map((name) => archivedFolder(name, 5)), seconds: 0 }),
    archiveRun(now - hour)
  ]
  const verified = (days: number, result: Verified["result"]) => ({
    lost: [],
    undelivered: [],
    verified: new Map([
      ["ABCD", { current: { verified_at_utc: utcOf(now - days * day), result }, previous: undefined }]
    ])
  })

  it("needs a look after 45 days, counted from its publication or its last good check", () => {
    assert.deepStrictEqual(textsOf(made(archivedAgo(45))), [])
    const report = made(archivedAgo(46))
    assert.deepStrictEqual(textsOf(report), [
      "archives: 1 archive was not read back for more than 45 days (ABCD): whether the disk damaged it is not known; `zipper verify` reads it"
    ])
    assert.strictEqual(report.problems[0]?.since, now - 46 * day)
    assert.include(htmlOf(report), "overdue")
    assert.deepStrictEqual(textsOf(made(archivedAgo(300), { found: verified(45, "good") })), [])
    assert.strictEqual(made(archivedAgo(300), { found: verified(46, "foreign") }).problems.length, 1)
    // It was not read to its end.
    assert.strictEqual(made(archivedAgo(300), { found: verified(1, "unsettled") }).problems.length, 1)
  })

  it("is not counted again when it is lost or damaged", () => {
    const damaged = made(archivedAgo(300), { found: verified(1, "damaged") })
    assert.match(textsOf(damaged).join("\n"), /^ABCD: ABCD.zip is damaged, as verify found.*$/)
    const lost = made(archivedAgo(300), { found: { lost: ["ABCD"], undelivered: [], verified: new Map() } })
    assert.match(textsOf(lost).join("\n"), /^ABCD: its archive is lost.*$/)
  })

  it("shares its line with the others, the first five by name", () => {
    assert.deepStrictEqual(textsOf(made(archivedAgo(50, names))), [
      "archives: 7 archives were not read back for more than 45 days (AAAA, BBBB, CCCC, DDDD, EEEE and 2 more): whether the disk damaged them is not known; `zipper verify` reads them"
    ])
  })
})

describe("runs that were missed", () => {
  it("need a look for a week, and say when none began", () => {
    const night = (from: number) => (ago: number) => ago < from && ago > from - 10
    assert.deepStrictEqual(textsOf(made(hourly(400, night(100)))), [
      "archive job: missed about 9 runs in the last 7 days: none began from 2026-11-17 08:00 to 2026-11-17 18:00 UTC; was the machine off, or cron?"
    ])
    assert.deepStrictEqual(textsOf(made(hourly(400, night(200)))), [])
    // Two hours are no more than a machine that starts anew.
    assert.deepStrictEqual(textsOf(made(hourly(400, (ago) => ago === 50 || ago === 49))), [])
  })

  it("are none where the machine sleeps each night, or where the job ran more rarely before", () => {
    assert.deepStrictEqual(textsOf(made(hourly(400, (ago) => ago % 24 > 14))), [])
    const nightly = Array.from({ length: 20 }, (_, index) => archiveRun(now - (25 - index) * day))
    assert.deepStrictEqual(textsOf(made([...nightly, ...hourly(5 * 24)])), [])
  })

  it("are none of a run that took long", () => {
    const long = archiveRun(now - 100 * hour, { seconds: 10 * 3600 })
    const runs = hourly(400, (ago) => ago <= 100 && ago > 90)
    assert.deepStrictEqual(textsOf(made([...runs.slice(0, 300), long, ...runs.slice(300)])), [])
  })
})

describe("a folder that is gone", () => {
  const last = archiveRun(now - hour)
  const stateWith = (days: number): JobState => ({
    version: 1,
    kind: "archive",
    last_run: { run: last.run, started_at_utc: last.started_at_utc, seconds: 2, outcome: "ok", bytes: 0, failures: 0 },
    folders: [],
    gone: [{ folder: folder("ABCD"), since_utc: utcOf(now - days * day) }]
  })
  const runs = [archiveRun(now - 40 * day, { folders: [archivedFolder("ABCD", 5)] }), last]

  it("needs a look for 30 days, with the time since when it is; the table keeps it", () => {
    const news = made(runs, { state: stateWith(30) })
    assert.deepStrictEqual(textsOf(news), [
      "ABCD: is not in the source any more, or `folders` does not match it now: its archives stay as they are"
    ])
    assert.strictEqual(news.problems[0]?.since, now - 30 * day)
    const old = made(runs, { state: stateWith(31) })
    assert.deepStrictEqual(textsOf(old), [])
    assert.match(htmlOf(old), /gone<\/span> <span class="age">since <time datetime="2026-10-21T12:00:00.000Z">/)
  })

  it("is known by the state alone too, when the history does not go back that far", () => {
    assert.deepStrictEqual(
      made([last], { state: stateWith(3) }).folders.map(({ gone, name }) => [name, gone]),
      [["ABCD", true]]
    )
  })
})

describe("the page", () => {
  const runs = [
    archiveRun(now - 400 * hour, {
      unchanged: 0,
      folders: ["ABCD", "EFGH"].map((name) => archivedFolder(name, 2 ** 20))
    }),
    archiveRun(now - 100 * hour, { folders: [archivedFolder("EFGH", 2 ** 21)] }),
    ...hourly(20)
  ]
  const found = { lost: [], undelivered: [], verified: new Map(), free: 2 ** 30 }

  it("has the table of folders before the charts, and the room that is left", () => {
    const html = htmlOf(made(runs, { found }))
    const places = ['aria-label="folders"', "The target: 1.0 GiB are free", 'class="lines"', 'class="charts"']
    const found_ = places.map((part) => html.indexOf(part))
    assert.deepStrictEqual(
      [...found_].sort((a, b) => a - b),
      found_
    )
    assert.isAbove(found_[0] ?? -1, 0)
    assert.notInclude(htmlOf(made(runs)), "The target:")
  })

  it("draws a folder without any program: the same axis of time for all, and a scale of its own", () => {
    const { sizeLines } = made(runs)
    assert.deepStrictEqual(
      sizeLines.map(({ from, name, values }) => [name, from, values.length, values[0], values.at(-1)]),
      [
        ["ABCD", now - 400 * hour + 2000, 91, 2 ** 20, 2 ** 20],
        ["EFGH", now - 400 * hour + 2000, 91, 2 ** 20, 2 ** 21]
      ]
    )
    const html = htmlOf(made(runs))
    assert.include(html, 'aria-label="size of EFGH.zip, at most 2.0 MiB"><path class="area" d="M0 52H68V4H90V100H0Z"/>')
    assert.include(html, '<p class="scale"><span>2.0 MiB</span><span>0</span></p>')
    assert.include(html, "<span>11-04</span><span>11-21</span>")
  })

  it("shows any name as it is", () => {
    const name = `it's "mine" <b> 日本`
    const report = made(runs, { found })
    const rename = <A extends { readonly name: string }>(item: A): A => ({ ...item, name })
    const html = htmlOf({
      ...report,
      folders: report.folders.map(rename),
      sizeLines: report.sizeLines.map(rename),
      problems: [{ subject: name, text: name }]
    })
    assert.strictEqual(html.split("it&#39;s &quot;mine&quot; &lt;b&gt; 日本").length - 1, 2 + 2 + 2 * 3)
    assert.notInclude(html, 'mine" <b>')
  })
})
