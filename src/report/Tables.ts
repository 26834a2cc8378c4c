import { isBad } from "../store/FolderState.ts"
import * as Units from "../text/Text.ts"
import { dayMillis } from "../text/Time.ts"
import {
  badge,
  type Column,
  type Html,
  html,
  message,
  outcome,
  stepLine,
  table,
  time,
  timeAndAge,
  utc
} from "./Html.ts"
import type { ItemReport } from "./Items.ts"
import { doneBy, type TimedRun } from "./Jobs.ts"
import { type Failure, isUnverified, type Report } from "./Report.ts"

/** More rows would make the page too large. */
const mostRows = 2000
const mostFailures = 100

export const foldersTable = ({ folders, made }: Report): Html =>
  table("folders", folderColumns(made), lookFirst(folders), { most: mostRows, noun: "folders" })

export const replicasTable = ({ made, replicas }: Report): Html =>
  table("replicas", replicaColumns(made), lookFirst(replicas), { most: mostRows, noun: "datasets" })

export const failuresTable = ({ failures }: Report): Html =>
  table("failures", failureColumns, failures, { most: mostFailures, noun: "failures" })

export const runsTable = ({ recent, runs }: Report): Html =>
  table("runs", runColumns, recent, { all: runs, most: recent.length, noun: "runs of the period" })

const folderColumns = (now: number): ReadonlyArray<Column<ItemReport>> => [
  { title: "folder", kind: "name", cell: ({ name }) => html`<b>${name}</b>` },
  { title: "state", kind: "state", cell: stateBadge },
  { title: "last success", cell: ({ good }) => timeAndAge(good, now) },
  { title: "last archived", cell: ({ newest }) => (newest === undefined ? "" : time(newest.at)) },
  figures("files", ({ newest }) => newest?.entry.files, Units.number),
  figures("size", ({ newest }) => newest?.entry.bytes, Units.bytes),
  figures("archive", ({ newest }) => newest?.entry.zip_bytes, Units.bytes),
  figures("of size", zipShare, (share) => `${Math.round(share * 100)} %`),
  figures("took", ({ newest }) => newest?.entry.seconds, took),
  figures("times", ({ times }) => times, Units.number),
  {
    title: "verified",
    cell: (folder) => {
      const { newest, verified } = folder
      const late = isUnverified(folder, now) ? html` ${badge("warn", "overdue")}` : undefined
      if (verified !== undefined) {
        return html`${timeAndAge(Date.parse(verified.verified_at_utc), now)} ${verified.result}${late}`
      }
      return newest === undefined && late === undefined ? "" : html`<span class="none">when published</span>${late}`
    }
  }
]

/** A small chart of each folder: they share the axis of time, and each has its own scale, which it names. */
export const sizeCharts = ({ folders, made, sizeLines }: Report): Html | undefined => {
  const [first] = sizeLines
  if (first === undefined) return undefined
  const rest = folders.filter(({ newest }) => newest !== undefined).length - sizeLines.length
  return html`<h3>Size of each archive over time</h3>
<p class="sub">All from ${utc(first.from)} to ${utc(made)}. Each has its own scale.</p>
<div class="lines">
${sizeLines.map(({ name, values }) => {
  const last = values.at(-1) ?? 0
  const most = Units.bytes(Math.max(...values.map((value) => value ?? 0)))
  return html`<figure><figcaption><b title="${name}">${name}</b> <span>${Units.bytes(last)}</span></figcaption>
<div class="sized">${stepLine(`size of ${name}.zip, at most ${most}`, values)}<p class="scale"><span>${most}</span><span>0</span></p>
<p class="ends"><span>${axisTime(first.from, made - first.from)}</span><span>${axisTime(made, made - first.from)}</span></p></div></figure>
`
})}</div>${rest > 0 ? html`<p class="note">${Units.number(rest)} smaller archives are in the table alone.</p>` : undefined}`
}

/** As much of a time as tells the ends of an axis apart. */
const axisTime = (at: number, span: number): string => {
  const days = span / dayMillis
  return utc(at).slice(...(days < 2 ? [11, 16] : days < 300 ? [5, 10] : [0, 7]))
}

const replicaColumns = (now: number): ReadonlyArray<Column<ItemReport>> => [
  {
    title: "dataset",
    kind: "name",
    cell: ({ name, target }) =>
      html`<b>${name}</b>${target === undefined ? "" : html`<br><span class="sub">${target}</span>`}`
  },
  { title: "state", kind: "state", cell: stateBadge },
  { title: "job", kind: "short", cell: ({ job }) => job },
  { title: "last success", cell: ({ good }) => timeAndAge(good, now) },
  { title: "verified", cell: ({ looked }) => (looked === undefined ? "" : timeAndAge(looked.at, now)) },
  { title: "last sent", cell: ({ newest }) => (newest === undefined ? "" : time(newest.at)) },
  figures("size of that", ({ newest }) => newest?.entry.bytes, Units.bytes),
  figures("sent in all", ({ bytes }) => bytes, Units.bytes),
  {
    title: "each time",
    cell: ({ name, sizes }) =>
      stepLine(
        `bytes sent of ${name}`,
        sizes.map(({ bytes }) => bytes)
      )
  }
]

const figures = <A>(
  title: string,
  of: (item: A) => number | undefined,
  show: (figure: number) => string
): Column<A> => ({
  title,
  kind: "figure",
  cell: (item) => {
    const figure = of(item)
    return figure === undefined ? "" : show(figure)
  }
})

const took = (seconds: number): string => Units.duration(seconds * 1000)

const zipShare = ({ newest }: ItemReport): number | undefined => {
  const { bytes = 0, zip_bytes = 0 } = newest?.entry ?? {}
  return bytes > 0 ? zip_bytes / bytes : undefined
}

const lookFirst = (items: ReadonlyArray<ItemReport>): ReadonlyArray<ItemReport> =>
  [...items].sort((a, b) => Number(needsLook(b)) - Number(needsLook(a)))

const needsLook = (item: ItemReport): boolean =>
  item.looked?.isBad === true || item.trouble !== undefined || item.lost === true || isDamaged(item)

const isDamaged = ({ verified }: ItemReport): boolean => verified !== undefined && isBad(verified)

/** An archive that is not there, or damaged, weighs more than the result of the last run. */
const stateBadge = (item: ItemReport): Html => {
  const { gone, goneSince, lost, trouble } = item
  if (lost === true) return badge("bad", "archive lost")
  if (isDamaged(item)) return badge("bad", "damaged")
  if (item.looked?.isBad === true) return badge("bad", "not good")
  if (trouble === undefined) {
    if (!gone) return badge("good", "ok")
    return html`${badge("idle", "gone")}${goneSince === undefined ? undefined : html` <span class="age">since ${time(goneSince)}</span>`}`
  }
  return html`${badge("bad", trouble.result)}${trouble.times > 1 ? ` ${Units.number(trouble.times)}×` : ""}`
}

const failureColumns: ReadonlyArray<Column<Failure>> = [
  { title: "last", cell: ({ last }) => time(last) },
  { title: "first", cell: ({ first, times }) => (times > 1 ? time(first) : "") },
  figures("times", ({ times }) => times, Units.number),
  { title: "job", kind: "short", cell: ({ job }) => job },
  {
    title: "what",
    kind: "name",
    cell: ({ result, subject }) =>
      subject === undefined ? outcome(result === "refused" ? "failed" : result) : html`<b>${subject}</b>`
  },
  {
    title: "message",
    kind: "text",
    cell: ({ error, result }) => html`${result === "refused" ? html`<b>refused:</b> ` : undefined}${message(error)}`
  }
]

const runColumns: ReadonlyArray<Column<TimedRun>> = [
  {
    title: "started",
    kind: "name",
    cell: ({ run, started }) => html`${time(started)} <code class="sub">${run.run}</code>`
  },
  { title: "job", kind: "short", cell: ({ job }) => job },
  { title: "result", kind: "state", cell: ({ run }) => outcome(run.outcome) },
  {
    title: "what it did",
    kind: "text",
    cell: ({ run }) => (run.outcome === "not_started" ? message(run.error ?? "") : doneBy(run))
  },
  figures("bytes", ({ run }) => run.bytes || undefined, Units.bytes),
  figures("written", ({ run }) => (run.kind === "archive" && run.zip_bytes) || undefined, Units.bytes),
  figures("took", ({ run }) => run.seconds, took)
]
