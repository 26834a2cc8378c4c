import type { Outcome } from "../runs/Run.ts"
import { isBad, type Verified } from "../store/Verification.ts"
import * as Units from "../text/Text.ts"
import { withoutControls } from "../text/Text.ts"
import type { FolderReport, ReplicaReport, Trouble } from "./Items.ts"
import { type Day, doneBy, jobOf, type TimedRun } from "./Jobs.ts"
import type { Failure, Report } from "./Report.ts"

/** Markup. Only the functions of this file make it, so that foreign text is never taken for markup. */
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
const escaped = (text: string): string => withoutControls(text).replace(/[&<>"']/g, (char) => escapes[char] ?? char)

const textOf = (content: Content): string => {
  if (content === undefined) return ""
  if (typeof content === "string") return escaped(content)
  if (typeof content === "number") return String(content)
  return "text" in content ? content.text : content.map(({ text }) => text).join("")
}

/** A template of markup: what is put into it is text, unless it is markup of another template. */
export const html = (parts: TemplateStringsArray, ...contents: ReadonlyArray<Content>): Html => ({
  _tag: "Html",
  text: parts.reduce((text, part, index) => text + textOf(contents[index - 1]) + part)
})

/** Markup from the project's own build: a program, a style sheet. */
export const ownText = (text: string): Html => ({ _tag: "Html", text })

/** A value as JSON in an element of its own, for a program to read: no `<` can end the element. */
export const dataElement = (id: string, value: unknown): Html => ({
  _tag: "Html",
  text: `<script type="application/json" id="${escaped(id)}">${JSON.stringify(value).replaceAll("<", "\\u003c")}</script>`
})

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

interface Column<A> {
  readonly title: string
  /** It holds figures. */
  readonly figures?: boolean
  readonly cell: (item: A) => string | Html
}

/** At most `most` rows; more are only counted. A table has a frame of its own that scrolls sideways where the page is narrower. */
const table = <A>(
  label: string,
  columns: ReadonlyArray<Column<A>>,
  items: ReadonlyArray<A>,
  { all = items.length, most, noun }: { readonly all?: number; readonly most: number; readonly noun: string }
): Html => {
  const kind = ({ figures }: Column<A>): Html | undefined => (figures === true ? html` class="figure"` : undefined)
  const shown = items.slice(0, most)
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}"><table>
<thead><tr>${columns.map((column) => html`<th scope="col"${kind(column)}>${column.title}</th>`)}</tr></thead>
<tbody>
${shown.map(
  (item) => html`<tr>${columns.map((column) => html`<td${kind(column)}>${column.cell(item)}</td>`)}</tr>
`
)}</tbody></table></div>${
    all > shown.length
      ? html`<p class="note">${Units.number(all - shown.length)} more ${noun} are not shown.</p>`
      : undefined
  }`
}

/** A word in colour. The sign before it says the same without the colour. */
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
const sparkline = (label: string, values: ReadonlyArray<{ readonly at: number; readonly bytes: number }>): Html => {
  const points = [...values].sort((a, b) => a.at - b.at)
  const [first] = points
  const last = points.at(-1)
  if (first === undefined || last === undefined || last.at === first.at) return html``
  const most = Math.max(1, ...points.map(({ bytes }) => bytes))
  const drawn = points.map(({ at, bytes }) => {
    const x = ((at - first.at) / (last.at - first.at)) * sparkWidth
    const y = sparkHeight - 1 - (bytes / most) * (sparkHeight - 2)
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

/** More rows would make the page too large. */
const mostRows = 2000
const mostFailures = 100
const longest = 1000

/** A message, cut to a length that can be read. */
export const message = (text: string): Html =>
  html`<span class="message">${text.length > longest ? `${text.slice(0, longest)}…` : text}</span>`

/** Each folder, those in trouble first. */
export const foldersTable = ({ folders, made }: Report): Html => {
  const newest = (cellOf: (entry: NonNullable<FolderReport["newest"]>["entry"]) => string) => ({
    figures: true,
    cell: ({ newest }: FolderReport) => (newest === undefined ? "" : cellOf(newest.entry))
  })
  const columns: ReadonlyArray<Column<FolderReport>> = [
    { title: "folder", cell: ({ name }) => html`<b>${name}</b>` },
    { title: "state", cell: folderBadge },
    { title: "last in order", cell: ({ good }) => timeAndAge(good, made) },
    { title: "last archived", cell: ({ newest }) => (newest === undefined ? "" : time(newest.at)) },
    { title: "files", ...newest(({ files }) => Units.number(files)) },
    { title: "size", ...newest(({ bytes }) => Units.bytes(bytes)) },
    { title: "archive", ...newest(({ zip_bytes }) => Units.bytes(zip_bytes)) },
    {
      title: "of size",
      ...newest(({ bytes, zip_bytes }) => (bytes > 0 ? `${Math.round((zip_bytes / bytes) * 100)} %` : ""))
    },
    { title: "took", ...newest(({ seconds }) => Units.duration(seconds * 1000)) },
    { title: "times", figures: true, cell: ({ times }) => Units.number(times) },
    { title: "verified", cell: ({ verified }) => verifiedCell(verified, made) },
    { title: "archive over time", cell: ({ name, sizes }) => sparkline(`size of ${name}.zip`, sizes) }
  ]
  return table("folders", columns, lookFirst(folders), { most: mostRows, noun: "folders" })
}

const lookFirst = <A extends FolderReport | ReplicaReport>(items: ReadonlyArray<A>): ReadonlyArray<A> =>
  [...items].sort((a, b) => Number(needsLook(b)) - Number(needsLook(a)))

const needsLook = (item: FolderReport | ReplicaReport): boolean =>
  item.trouble !== undefined ||
  ("lost" in item && item.lost === true) ||
  ("verified" in item && item.verified !== undefined && isBad(item.verified))

/** An archive that is not there, or damaged, weighs more than the result of the last run. */
const folderBadge = (folder: FolderReport): Html => {
  if (folder.lost === true) return badge("bad", "archive lost")
  return folder.verified !== undefined && isBad(folder.verified) ? badge("bad", "damaged") : troubleBadge(folder)
}

const troubleBadge = ({ gone, trouble }: { readonly gone: boolean; readonly trouble: Trouble | undefined }) => {
  if (trouble === undefined) return gone ? badge("idle", "gone") : badge("good", "ok")
  return html`${badge("bad", trouble.result)}${trouble.times > 1 ? ` ${Units.number(trouble.times)}×` : ""}`
}

const verifiedCell = (verified: Verified | undefined, now: number): Html =>
  verified === undefined
    ? time(undefined)
    : html`${timeAndAge(Date.parse(verified.verified_at_utc), now)} ${verified.result}`

/** Each dataset of each replication job. */
export const replicasTable = ({ made, replicas }: Report): Html => {
  const columns: ReadonlyArray<Column<ReplicaReport>> = [
    {
      title: "dataset",
      cell: ({ name, target }) =>
        html`<b class="name">${name}</b>${target === undefined ? "" : html`<br><span class="name sub">${target}</span>`}`
    },
    { title: "job", cell: ({ job }) => job },
    { title: "state", cell: troubleBadge },
    { title: "last in order", cell: ({ good }) => timeAndAge(good, made) },
    { title: "last sent", cell: ({ newest }) => (newest === undefined ? "" : time(newest.at)) },
    {
      title: "size of that",
      figures: true,
      cell: ({ newest }) => (newest === undefined ? "" : Units.bytes(newest.entry.bytes))
    },
    { title: "sent in all", figures: true, cell: ({ bytes }) => Units.bytes(bytes) },
    { title: "sent over time", cell: ({ name, sizes }) => sparkline(`bytes sent of ${name}`, sizes) }
  ]
  return table("replicas", columns, lookFirst(replicas), { most: mostRows, noun: "datasets" })
}

/** What went wrong in the period, the latest first. */
export const failuresTable = ({ failures }: Report): Html =>
  table("failures", failureColumns, failures, { most: mostFailures, noun: "failures" })

const failureColumns: ReadonlyArray<Column<Failure>> = [
  { title: "last", cell: ({ last }) => time(last) },
  { title: "first", cell: ({ first, times }) => (times > 1 ? time(first) : "") },
  { title: "times", figures: true, cell: ({ times }) => Units.number(times) },
  { title: "job", cell: ({ job }) => job },
  {
    title: "what",
    cell: ({ result, subject }) =>
      subject === undefined ? outcome(result === "refused" ? "failed" : result) : html`<b class="name">${subject}</b>`
  },
  {
    title: "message",
    cell: ({ error, result }) => html`${result === "refused" ? html`<b>refused:</b> ` : undefined}${message(error)}`
  }
]

/** The newest runs. */
export const runsTable = ({ recent, runs }: Report): Html =>
  table("runs", runColumns, recent, { all: runs, most: recent.length, noun: "runs of the period" })

const runColumns: ReadonlyArray<Column<TimedRun>> = [
  { title: "started", cell: ({ started }) => time(started) },
  { title: "job", cell: jobOf },
  { title: "result", cell: ({ run }) => outcome(run.outcome) },
  {
    title: "what it did",
    cell: (timed) => (timed.run.outcome === "not_started" ? message(timed.run.error ?? "") : doneBy(timed))
  },
  { title: "bytes", figures: true, cell: ({ run }) => (run.bytes > 0 ? Units.bytes(run.bytes) : "") },
  {
    title: "written",
    figures: true,
    cell: ({ run }) => (run.kind === "archive" && run.zip_bytes > 0 ? Units.bytes(run.zip_bytes) : "")
  },
  { title: "took", figures: true, cell: ({ run }) => Units.duration(run.seconds * 1000) },
  { title: "run", cell: ({ run }) => html`<code>${run.run}</code>` }
]
