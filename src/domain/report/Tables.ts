import * as Units from "../Units.ts"
import { isBad, type Verified } from "../Verification.ts"
import type { Failure } from "./Failures.ts"
import type { FolderReport } from "./Folders.ts"
import { type Html, html } from "./Html.ts"
import { doneBy, jobOf } from "./Jobs.ts"
import { badge, outcome, sparkline, table, time, timeAndAge } from "./Parts.ts"
import type { ReplicaReport } from "./Replicas.ts"
import type { Report } from "./Report.ts"
import type { TimedRun, Trouble } from "./Timeline.ts"

/** More rows than this help nobody, and would make the page too large. */
const mostRows = 2000
const mostFailures = 100
const longest = 1000

/** A message, as much of it as anybody reads. */
export const message = (text: string): Html =>
  html`<span class="message">${text.length > longest ? `${text.slice(0, longest)}…` : text}</span>`

const left = (all: number, shown: number, what: string): Html | undefined =>
  all > shown ? html`<p class="note">${Units.number(all - shown)} more ${what} are not shown.</p>` : undefined

const standing = (trouble: Trouble | undefined, gone: boolean): Html => {
  if (trouble === undefined) return gone ? badge("idle", "gone") : badge("good", "ok")
  return html`${badge("bad", trouble.result)}${trouble.times > 1 ? ` ${Units.number(trouble.times)}×` : ""}`
}

/** Each folder, those in trouble first. */
export const foldersTable = ({ folders, made }: Report): Html => {
  const sorted = [...folders].sort((a, b) => Number(needsLook(b)) - Number(needsLook(a)))
  const shown = sorted.slice(0, mostRows)
  return html`${table(
    "folders",
    [
      { title: "folder" },
      { title: "state" },
      { title: "last in order" },
      { title: "last archived" },
      { title: "files", figures: true },
      { title: "size", figures: true },
      { title: "archive", figures: true },
      { title: "of size", figures: true },
      { title: "took", figures: true },
      { title: "times", figures: true },
      { title: "verified" },
      { title: "archive over time" }
    ],
    shown.map((folder) => folderRow(folder, made))
  )}${left(sorted.length, shown.length, "folders")}`
}

const needsLook = ({ lost, trouble, verified }: FolderReport): boolean =>
  trouble !== undefined || lost === true || (verified !== undefined && isBad(verified))

/** An archive that is not there, or damaged, weighs more than how the last run went. */
const folderState = ({ gone, lost, trouble, verified }: FolderReport): Html =>
  lost === true
    ? badge("bad", "archive lost")
    : verified !== undefined && isBad(verified)
      ? badge("bad", "damaged")
      : standing(trouble, gone)

const verifiedCell = (verified: Verified | undefined, now: number): Html =>
  verified === undefined
    ? time(undefined)
    : html`${timeAndAge(Date.parse(verified.verified_at_utc), now)} ${verified.result}`

const folderRow = (report: FolderReport, now: number): ReadonlyArray<string | Html> => {
  const { archives, folder, good, newest, sizes, verified } = report
  return [
    html`<b>${folder}</b>`,
    folderState(report),
    timeAndAge(good, now),
    newest === undefined ? "" : time(newest.at),
    ...(newest === undefined
      ? ["", "", "", "", ""]
      : [
          Units.number(newest.files),
          Units.bytes(newest.bytes),
          Units.bytes(newest.zipBytes),
          newest.bytes > 0 ? `${Math.round((newest.zipBytes / newest.bytes) * 100)} %` : "",
          Units.duration(newest.seconds * 1000)
        ]),
    Units.number(archives),
    verifiedCell(verified, now),
    sparkline(
      `size of ${folder}.zip`,
      sizes.map(({ at, zipBytes }) => ({ at, value: zipBytes }))
    )
  ]
}

/** Each dataset of each replication job. */
export const replicasTable = ({ made, replicas }: Report): Html => {
  const sorted = [...replicas].sort(
    (a, b) => Number(b.trouble !== undefined) - Number(a.trouble !== undefined)
  )
  const shown = sorted.slice(0, mostRows)
  return html`${table(
    "replicas",
    [
      { title: "dataset" },
      { title: "job" },
      { title: "state" },
      { title: "last in order" },
      { title: "last sent" },
      { title: "size of that", figures: true },
      { title: "sent in all", figures: true },
      { title: "sent over time" }
    ],
    shown.map((replica) => replicaRow(replica, made))
  )}${left(sorted.length, shown.length, "datasets")}`
}

const replicaRow = (
  { bytes, dataset, gone, good, job, sent, sizes, target, trouble }: ReplicaReport,
  now: number
): ReadonlyArray<string | Html> => [
  html`<b class="name">${dataset}</b>${target === undefined ? "" : html`<br><span class="name sub">${target}</span>`}`,
  job,
  standing(trouble, gone),
  timeAndAge(good, now),
  sent === undefined ? "" : time(sent.at),
  sent === undefined ? "" : Units.bytes(sent.bytes),
  Units.bytes(bytes),
  sparkline(
    `bytes sent of ${dataset}`,
    sizes.map(({ at, bytes: value }) => ({ at, value }))
  )
]

/** What went wrong in the period, the latest first. */
export const failuresTable = ({ failures }: Report): Html => {
  const shown = failures.slice(0, mostFailures)
  return html`${table(
    "failures",
    [
      { title: "last" },
      { title: "first" },
      { title: "times", figures: true },
      { title: "job" },
      { title: "what" },
      { title: "message" }
    ],
    shown.map(failureRow)
  )}${left(failures.length, shown.length, "failures")}`
}

const failureRow = ({ error, first, job, last, result, subject, times }: Failure) => [
  time(last),
  times > 1 ? time(first) : "",
  Units.number(times),
  job,
  subject === undefined
    ? outcome(result === "refused" ? "failed" : result)
    : html`<b class="name">${subject}</b>`,
  html`${result === "refused" ? html`<b>refused:</b> ` : undefined}${message(error)}`
]

/** The newest runs. */
export const runsTable = ({ recent, runs }: Report): Html =>
  html`${table(
    "runs",
    [
      { title: "started" },
      { title: "job" },
      { title: "result" },
      { title: "what it did" },
      { title: "bytes", figures: true },
      { title: "written", figures: true },
      { title: "took", figures: true },
      { title: "run" }
    ],
    recent.map(runRow)
  )}${left(runs, recent.length, "runs of the period")}`

const runRow = (timed: TimedRun): ReadonlyArray<string | Html> => {
  const { run, started } = timed
  return [
    time(started),
    jobOf(timed),
    outcome(run.outcome),
    run.outcome === "not_started" ? message(run.error ?? "") : doneBy(timed),
    run.bytes > 0 ? Units.bytes(run.bytes) : "",
    run.kind === "archive" && run.zip_bytes > 0 ? Units.bytes(run.zip_bytes) : "",
    Units.duration(run.seconds * 1000),
    html`<code>${run.run}</code>`
  ]
}
