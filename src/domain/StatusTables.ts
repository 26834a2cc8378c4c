import type { DueReason } from "./Changes.ts"
import type { DatasetStatus, FolderStatus } from "./Status.ts"
import { age, type Line, line, type Mood } from "./StatusLine.ts"
import * as Table from "./Table.ts"
import { bytes, number } from "./Units.ts"
import { isBad } from "./Verification.ts"

const folderColumns: ReadonlyArray<Table.Column> = [
  { title: "FOLDER", align: "left" },
  { title: "SUCCESS", align: "right" },
  { title: "ATTEMPT", align: "right" },
  { title: "SIZE", align: "right" },
  { title: "RATIO", align: "right" },
  { title: "FILES", align: "right" },
  { title: "PREV", align: "right" },
  { title: "VERIFIED", align: "right" },
  { title: "STATE", align: "left", cut: "end" }
]

/** The folders of the archive job. */
export const folderTable = (
  now: number,
  folders: ReadonlyArray<FolderStatus>,
  options: { readonly width: number; readonly ellipsis: string }
): ReadonlyArray<Line> => {
  if (folders.length === 0) return [line("  no folder is archived, and none is there to be")]
  const rows = folders.map((folder) => [
    folder.folder,
    folder.lastSuccess === undefined ? "never" : age(now, folder.lastSuccess),
    folder.result === "failed" && folder.lastAttempt !== undefined ? age(now, folder.lastAttempt) : "",
    folder.zipBytes === undefined ? "-" : bytes(folder.zipBytes),
    ratio(folder),
    folder.files === undefined ? "-" : number(folder.files),
    folder.previous === undefined ? "-" : age(now, folder.previous.archivedAt).replace(/ ago$/, ""),
    folder.verified === undefined ? "-" : age(now, folder.verified.verified_at_utc).replace(/ ago$/, ""),
    folderState(folder)
  ])
  return moody(Table.render(folderColumns, rows, options), folders, (folder) =>
    folder.overdue || folder.lost || folder.result === "failed" || isDamaged(folder)
      ? "bad"
      : folder.gone
        ? "past"
        : folder.due === undefined
          ? "plain"
          : "watch"
  )
}

/** Size of the archive in relation to what is in it. */
const ratio = ({ bytes: from, zipBytes }: FolderStatus): string =>
  from === undefined || zipBytes === undefined || from === 0 ? "-" : percent(zipBytes / from)

// Of a folder that holds next to nothing, the archive is mostly names.
const percent = (part: number): string => (part > 9.99 ? ">999%" : `${Math.round(part * 100)}%`)

const isDamaged = ({ flaws, previous, verified }: FolderStatus): boolean =>
  flaws.length > 0 || [verified, previous?.verified].some((each) => each !== undefined && isBad(each))

const folderState = ({ due, flaws, gone, lost, overdue, previous, verified }: FolderStatus): string =>
  [
    ...(overdue ? ["OVERDUE"] : []),
    ...(lost
      ? ["ARCHIVE LOST"]
      : flaws.some(({ which }) => which === "current") || (verified !== undefined && isBad(verified))
        ? ["ARCHIVE DAMAGED"]
        : []),
    ...(flaws.some(({ which }) => which === "previous") ? ["PREV LOST"] : []),
    ...(previous?.verified !== undefined && isBad(previous.verified) ? ["PREV DAMAGED"] : []),
    ...(verified?.result === "unsettled" ? ["verify unsettled"] : []),
    ...(gone ? ["gone from source"] : due === undefined || (lost && lostSays.has(due)) ? [] : [dueWords[due]])
  ].join(", ")

/** Why a folder is due, where that its archive is lost says the same. */
const lostSays: ReadonlySet<DueReason> = new Set(["never archived", "its archive is missing"])

const dueWords: Readonly<Record<DueReason, string>> = {
  forced: "forced",
  "never archived": "no archive",
  "its .state.json is missing or damaged": "state lost",
  "its archive is missing": "zip missing",
  "its archive has another size than when it was published": "zip damaged",
  "a file beside its archive is missing": "file missing",
  "verify found its archive damaged": "archive damaged",
  "its last attempt failed": "failed",
  "it was written to shortly before it was last listed": "written to at listing",
  changed: "changed"
}

const datasetColumns: ReadonlyArray<Table.Column> = [
  { title: "DATASET", align: "left", cut: "start" },
  { title: "TARGET", align: "left", cut: "start" },
  { title: "SUCCESS", align: "right" },
  { title: "ATTEMPT", align: "right" },
  { title: "SENT", align: "right" },
  { title: "RESULT", align: "left" }
]

/** The datasets of a replication job. */
export const datasetTable = (
  now: number,
  datasets: ReadonlyArray<DatasetStatus>,
  options: { readonly width: number; readonly ellipsis: string }
): ReadonlyArray<Line> => {
  const rows = datasets.map((dataset) => [
    dataset.dataset,
    dataset.target ?? "-",
    dataset.lastSuccess === undefined ? "never" : age(now, dataset.lastSuccess),
    hasFailed(dataset) && dataset.lastAttempt !== undefined ? age(now, dataset.lastAttempt) : "",
    dataset.bytes === undefined ? "-" : bytes(dataset.bytes),
    [
      ...(dataset.overdue ? ["OVERDUE"] : []),
      ...(dataset.result === undefined ? [] : [resultWords[dataset.result]])
    ].join(", ")
  ])
  return moody(Table.render(datasetColumns, rows, options), datasets, (dataset) =>
    dataset.overdue || hasFailed(dataset) ? "bad" : dataset.result === "nothing_to_send" ? "watch" : "plain"
  )
}

const hasFailed = ({ result }: DatasetStatus): boolean => result === "failed" || result === "refused"

const resultWords: Readonly<Record<NonNullable<DatasetStatus["result"]>, string>> = {
  sent: "sent",
  up_to_date: "up to date",
  nothing_to_send: "no snapshot",
  refused: "refused",
  failed: "failed"
}

const moody = <A>(
  [title = "", ...rows]: ReadonlyArray<string>,
  items: ReadonlyArray<A>,
  moodOf: (item: A) => Mood
): ReadonlyArray<Line> => [
  line(title),
  ...rows.map((text, index) => {
    const item = items[index]
    return line(text, item === undefined ? "plain" : moodOf(item))
  })
]
