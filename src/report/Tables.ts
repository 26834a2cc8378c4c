import { isBad } from "../store/FolderState.ts"
import * as Units from "../text/Text.ts"
import { badge, type Column, type Html, html, message, outcome, sparkline, table, time, timeAndAge } from "./Html.ts"
import type { ItemReport } from "./Items.ts"
import { doneBy, type TimedRun } from "./Jobs.ts"
import type { Failure, Report } from "./Report.ts"

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
  { title: "folder", cell: ({ name }) => html`<b>${name}</b>` },
  { title: "state", cell: stateBadge },
  { title: "last in order", cell: ({ good }) => timeAndAge(good, now) },
  { title: "last archived", cell: ({ newest }) => (newest === undefined ? "" : time(newest.at)) },
  figures("files", ({ newest }) => newest?.entry.files, Units.number),
  figures("size", ({ newest }) => newest?.entry.bytes, Units.bytes),
  figures("archive", ({ newest }) => newest?.entry.zip_bytes, Units.bytes),
  figures("of size", zipShare, (share) => `${Math.round(share * 100)} %`),
  figures("took", ({ newest }) => newest?.entry.seconds, took),
  figures("times", ({ times }) => times, Units.number),
  {
    title: "verified",
    cell: ({ verified }) =>
      verified === undefined
        ? time(undefined)
        : html`${timeAndAge(Date.parse(verified.verified_at_utc), now)} ${verified.result}`
  },
  { title: "archive over time", cell: ({ name, sizes }) => sparkline(`size of ${name}.zip`, sizes) }
]

const replicaColumns = (now: number): ReadonlyArray<Column<ItemReport>> => [
  {
    title: "dataset",
    cell: ({ name, target }) =>
      html`<b class="name">${name}</b>${target === undefined ? "" : html`<br><span class="name sub">${target}</span>`}`
  },
  { title: "job", cell: ({ job }) => job },
  { title: "state", cell: stateBadge },
  { title: "last in order", cell: ({ good }) => timeAndAge(good, now) },
  { title: "last sent", cell: ({ newest }) => (newest === undefined ? "" : time(newest.at)) },
  figures("size of that", ({ newest }) => newest?.entry.bytes, Units.bytes),
  figures("sent in all", ({ bytes }) => bytes, Units.bytes),
  { title: "sent over time", cell: ({ name, sizes }) => sparkline(`bytes sent of ${name}`, sizes) }
]

const figures = <A>(
  title: string,
  of: (item: A) => number | undefined,
  show: (figure: number) => string
): Column<A> => ({
  title,
  figures: true,
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

const needsLook = (item: ItemReport): boolean => item.trouble !== undefined || item.lost === true || isDamaged(item)

const isDamaged = ({ verified }: ItemReport): boolean => verified !== undefined && isBad(verified)

/** An archive that is not there, or damaged, weighs more than the result of the last run. */
const stateBadge = (item: ItemReport): Html => {
  const { gone, lost, trouble } = item
  if (lost === true) return badge("bad", "archive lost")
  if (isDamaged(item)) return badge("bad", "damaged")
  if (trouble === undefined) return gone ? badge("idle", "gone") : badge("good", "ok")
  return html`${badge("bad", trouble.result)}${trouble.times > 1 ? ` ${Units.number(trouble.times)}×` : ""}`
}

const failureColumns: ReadonlyArray<Column<Failure>> = [
  { title: "last", cell: ({ last }) => time(last) },
  { title: "first", cell: ({ first, times }) => (times > 1 ? time(first) : "") },
  figures("times", ({ times }) => times, Units.number),
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

const runColumns: ReadonlyArray<Column<TimedRun>> = [
  { title: "started", cell: ({ started }) => time(started) },
  { title: "job", cell: ({ job }) => job },
  { title: "result", cell: ({ run }) => outcome(run.outcome) },
  { title: "what it did", cell: ({ run }) => (run.outcome === "not_started" ? message(run.error ?? "") : doneBy(run)) },
  figures("bytes", ({ run }) => run.bytes || undefined, Units.bytes),
  figures("written", ({ run }) => (run.kind === "archive" && run.zip_bytes) || undefined, Units.bytes),
  figures("took", ({ run }) => run.seconds, took),
  { title: "run", cell: ({ run }) => html`<code>${run.run}</code>` }
]
