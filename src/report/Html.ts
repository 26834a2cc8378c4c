import type { Outcome } from "../runs/StateFolder.ts"
import { isBad, type Verified } from "../store/Verification.ts"
import * as Units from "../text/Text.ts"
import { harmless } from "../text/Text.ts"
import type { FolderReport, ReplicaReport } from "./Items.ts"
import type { Failure, Report } from "./Report.ts"
import { type Day, doneBy, jobOf, type TimedRun, type Trouble } from "./Timeline.ts"

/** Markup: made by {@link html} alone, so that text which comes from elsewhere is never taken for it. */
export interface Html {
  readonly _tag: "Html"
  readonly text: string
}

type Content = string | number | Html | ReadonlyArray<Html> | undefined

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** Text as it has to be written in HTML, between tags or in a quoted attribute; what cannot be seen becomes visible. */
const escaped = (text: string): string => harmless(text).replace(/[&<>"']/g, (char) => escapes[char] ?? char)

const written = (content: Content): string => {
  if (content === undefined) return ""
  if (typeof content === "string") return escaped(content)
  if (typeof content === "number") return String(content)
  return "text" in content ? content.text : content.map(({ text }) => text).join("")
}

/** A template of markup: whatever is put into it is text, unless it is markup of another template. */
export const html = (parts: TemplateStringsArray, ...contents: ReadonlyArray<Content>): Html => ({
  _tag: "Html",
  text: parts.reduce((text, part, index) => text + written(contents[index - 1]) + part)
})

/** What the project itself wrote and the build handed over: a program, a style sheet. */
export const ownText = (text: string): Html => ({ _tag: "Html", text })

/** A value as JSON in an element of its own, for a program to read: no `<` can end the element. */
export const dataElement = (id: string, value: unknown): Html => ({
  _tag: "Html",
  text: `<script type="application/json" id="${escaped(id)}">${JSON.stringify(value).replaceAll("<", "\\u003c")}</script>`
})

/** Small pieces of the page. */

/** `2025-01-01 12:00`, in UTC, from milliseconds since 1970. */
export const utc = (at: number): string => new Date(at).toISOString().slice(0, 16).replace("T", " ")

/** A time, with what a program needs to show it in the reader's own zone. */
export const time = (at: number | undefined): Html =>
  at === undefined
    ? html`<span class="none">never</span>`
    : html`<time datetime="${new Date(at).toISOString()}">${utc(at)}</time>`

/** A length of time in one unit, as a person would say it: "59 m", "7 h", "3 d". */
export const roughly = (millis: number): string => {
  const minutes = Math.round(Math.abs(millis) / 60_000)
  if (minutes < 60) return `${minutes} m`
  const hours = Math.round(minutes / 60)
  return hours < 48 ? `${hours} h` : `${Units.number(Math.round(hours / 24))} d`
}

/** `7 h ago`. */
const ago = (at: number, now: number): string =>
  at > now + 60_000 ? `in ${roughly(at - now)}` : `${roughly(now - at)} ago`

/** A time with its age, or "never". */
export const timeAndAge = (at: number | undefined, now: number): Html =>
  at === undefined ? time(at) : html`${time(at)} <span class="age">${ago(at, now)}</span>`

/** One column of a table: its heading, and whether it holds figures. */
interface Column {
  readonly title: string
  readonly figures?: boolean
}

/** A table whose own frame scrolls sideways where the page is narrower. */
export const table = (
  label: string,
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string | Html>>
): Html => {
  const kind = (index: number): Html | undefined =>
    columns[index]?.figures === true ? html` class="figure"` : undefined
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}"><table>
<thead><tr>${columns.map(({ title }, index) => html`<th scope="col"${kind(index)}>${title}</th>`)}</tr></thead>
<tbody>
${rows.map(
  (row) => html`<tr>${row.map((cell, index) => html`<td${kind(index)}>${cell}</td>`)}</tr>
`
)}</tbody></table></div>`
}

/** A word in colour. The sign before it is for those who do not see the colour. */
export const badge = (kind: "good" | "bad" | "warn" | "idle", word: string): Html =>
  html`<span class="badge ${kind}">${word}</span>`

/** How a run ended. */
export const outcome = (value: Outcome): Html => {
  switch (value) {
    case "ok":
      return badge("good", "ok")
    case "failed":
      return badge("bad", "failed")
    case "not_started":
      return badge("bad", "could not begin")
    case "interrupted":
      return badge("warn", "interrupted")
  }
}

const sparkWidth = 96
const sparkHeight = 20

/** Values over time (in any order: the clock may have been set) as a small line, drawn from zero; nothing where there are fewer than two. */
export const sparkline = (
  label: string,
  values: ReadonlyArray<{ readonly at: number; readonly value: number }>
): Html => {
  const points = [...values].sort((a, b) => a.at - b.at)
  const [first] = points
  const last = points.at(-1)
  if (first === undefined || last === undefined || last.at === first.at) return html``
  const most = Math.max(1, ...points.map(({ value }) => value))
  const drawn = points.map(({ at, value }) => {
    const x = ((at - first.at) / (last.at - first.at)) * sparkWidth
    const y = sparkHeight - 1 - (value / most) * (sparkHeight - 2)
    return `${x.toFixed(1)},${y.toFixed(1)}`
  })
  return html`<svg class="spark" viewBox="0 0 ${sparkWidth} ${sparkHeight}" width="${sparkWidth}" height="${sparkHeight}" role="img" aria-label="${label}"><polyline points="${drawn.join(" ")}"/></svg>`
}

const dayWords: Readonly<Record<Day["worst"], string>> = {
  none: "no run",
  ok: "all well",
  interrupted: "interrupted",
  failed: "something failed",
  not_started: "could not begin"
}

const cell = 8
const gap = 2
const height = 22

/** One bar a day, the latest at the right. A day on which something was wrong is taller, so that it is seen without colour. */
export const strip = (days: ReadonlyArray<Day>): Html => {
  const width = days.length * (cell + gap) - gap
  const bad = days.filter(({ worst }) => worst !== "ok" && worst !== "none").length
  return html`<svg class="strip" viewBox="0 0 ${Math.max(width, 1)} ${height}" preserveAspectRatio="none" role="img" aria-label="${Units.count(days.length, "day")}, ${bad} with something wrong">${days.map(
    ({ at, runs, worst }, index) => {
      const inset = worst === "none" ? 9 : worst === "ok" ? 4 : 0
      return html`<rect class="${worst}" x="${index * (cell + gap)}" y="${inset}" width="${cell}" height="${height - 2 * inset}" rx="1"><title>${utc(at).slice(0, 10)}: ${dayWords[worst]}${runs > 0 ? `, ${Units.count(runs, "run")}` : ""}</title></rect>`
    }
  )}</svg>`
}

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
