import type { DueReason } from "../runs/ArchiveResult.ts"
import { type Activity, describeLockedOut, type LastRun, type LockedOut } from "../runs/JobState.ts"
import { namesOf } from "../store/PublishedArchive.ts"
import { isBad } from "../store/Verification.ts"
import { bytes, count, duration, harmless, number, wrapped } from "../text/Text.ts"
import { isAhead } from "../text/Time.ts"
import {
  type ArchiveStatus,
  type DatasetStatus,
  damagedArchives,
  type FolderStatus,
  flawedArchives,
  lostFolders,
  overdueLines,
  type Status
} from "./Status.ts"

/** How a line is meant: what needs somebody, what is worth a look, and what is over. */
export type Mood = "bad" | "watch" | "past" | "plain"

/** A line of the report, and how it is meant. */
export interface Line {
  readonly text: string
  readonly mood: Mood
}

/** How long ago something was, in words: `just now`, `5 min ago`, `3 h ago`, `12 d ago`, or `in the future`. What is no time is `unknown`. */
export const age = (now: number, utc: string): string => {
  const at = Date.parse(utc)
  if (isAhead(now, at)) return "in the future"
  const minutes = Math.floor((now - at) / 60_000)
  if (Number.isNaN(minutes)) return "unknown"
  if (minutes < 1) return "just now"
  if (minutes < 60) return `${minutes} min ago`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ago` : `${number(Math.floor(hours / 24))} d ago`
}

/** Whatever is in the text, it stays on its line. */
export const line = (text: string, mood: Mood = "plain"): Line => ({ text: harmless(text), mood })

/** Lines no wider than `width`, those after the first indented. */
export const paragraph = (text: string, width: number, mood: Mood = "plain"): ReadonlyArray<Line> =>
  wrapped(harmless(text), width, "  ").map((part) => ({ text: part, mood }))

/** Tables for a person: aligned, and no wider than the terminal as far as that can be. */

/** One column. */
export interface Column {
  readonly title: string
  readonly align: "left" | "right"
  /** It may be cut where there is no room, on this side. */
  readonly cut?: "start" | "end"
}

/** No column is cut to less. */
const narrowest = 12

/**
 * The lines of a table, title first, without spaces at their ends. Columns where every row is empty are left out. Where
 * `width` does not do for them, they move together, and then the widest that may be cut are.
 */
export const renderTable = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  options: { readonly width: number; readonly ellipsis: string }
): ReadonlyArray<string> => {
  const used = columns
    .map((column, index) => ({ column, cells: rows.map((row) => row[index] ?? "") }))
    .filter(({ cells }) => cells.some((cell) => cell !== ""))
    .map(({ cells, column }) => ({
      column,
      cells,
      width: Math.max(...[column.title, ...cells].map((cell) => cell.length))
    }))
  const roomy = total(used) + 2 * (used.length - 1) <= options.width
  const gap = roomy ? "  " : " "
  const widths = fitted(used, options.width - gap.length * (used.length - 1))
  const line = (cellOf: (column: (typeof used)[number]) => string) =>
    used
      .map((each, index) => {
        const width = widths[index] ?? 0
        const cell = shortened(cellOf(each), width, each.column.cut ?? "end", options.ellipsis)
        return each.column.align === "right" ? cell.padStart(width) : cell.padEnd(width)
      })
      .join(gap)
      .trimEnd()
  return [line(({ column }) => column.title), ...rows.map((_, row) => line(({ cells }) => cells[row] ?? ""))]
}

const total = (columns: ReadonlyArray<{ readonly width: number }>): number =>
  columns.reduce((sum, { width }) => sum + width, 0)

/** Widths whose sum is at most `room`, taken from the widest columns that may be cut. */
const fitted = (
  columns: ReadonlyArray<{ readonly column: Column; readonly width: number }>,
  room: number
): ReadonlyArray<number> => {
  const widths = columns.map(({ width }) => width)
  let over = total(columns) - room
  while (over > 0) {
    const widest = columns
      .map(({ column }, index) => ({ index, width: column.cut === undefined ? 0 : (widths[index] ?? 0) }))
      .reduce((a, b) => (b.width > a.width ? b : a), { index: -1, width: narrowest })
    if (widest.index < 0) break
    widths[widest.index] = widest.width - 1
    over -= 1
  }
  return widths
}

const shortened = (text: string, width: number, side: "start" | "end", ellipsis: string): string => {
  if (text.length <= width) return text
  const kept = Math.max(0, width - ellipsis.length)
  return side === "end" ? `${text.slice(0, kept)}${ellipsis}` : `${ellipsis}${text.slice(text.length - kept)}`
}

const folderColumns: ReadonlyArray<Column> = [
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
  return moody(renderTable(folderColumns, rows, options), folders, (folder) =>
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

const datasetColumns: ReadonlyArray<Column> = [
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
  return moody(renderTable(datasetColumns, rows, options), datasets, (dataset) =>
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

/**
 * `status` for a person: a line about each job with its table below, and what failed with its reason. `width` in
 * characters; `ellipsis` stands for what is cut off a long name.
 */
export const render = (
  status: Status,
  options: { readonly width: number; readonly ellipsis: string }
): ReadonlyArray<Line> => {
  const { archive, now, replications } = status
  const blocks = [
    ...(archive === undefined
      ? []
      : [
          [
            ...jobLines(now, "archive", { ...archive, sound: isSound(status) }, options.width),
            ...(archive.sourceProblem === undefined
              ? []
              : paragraph(`  ${archive.sourceProblem}`, options.width, "bad")),
            ...folderTable(now, archive.folders, options),
            ...reasons(
              archive.folders.map((item) => ({ name: item.folder, item })),
              options.width
            ),
            ...[...damaged(status), ...flawed(status)].flatMap((text) =>
              paragraph(text, options.width, "bad")
            )
          ]
        ]),
    ...replications.map((job) => [
      ...jobLines(now, `${job.job} (${job.direction}, ${job.host})`, job, options.width),
      ...datasetTable(now, job.datasets, options),
      ...reasons(
        job.datasets.map((item) => ({ name: item.dataset, item })),
        options.width
      )
    ])
  ]
  return blocks.flatMap((block, index) => (index === 0 ? block : [line(""), ...block]))
}

interface Sound {
  /** False when an archive is known to be lost, damaged or not what was published: a good run is then no reason to say that all is well. */
  readonly sound?: boolean
}

const isSound = (status: Status): boolean =>
  [lostFolders, damagedArchives, flawedArchives].every((found) => found(status).length === 0)

const jobLines = (
  now: number,
  name: string,
  job: Pick<ArchiveStatus, "lastRun" | "activity" | "lockedOut" | "undelivered"> & Sound,
  width: number
): ReadonlyArray<Line> => [...runLines(now, name, job, width), ...undeliveredLines(now, job, width)]

const undeliveredLines = (now: number, { undelivered }: Pick<ArchiveStatus, "undelivered">, width: number) =>
  undelivered.flatMap(({ at_utc, error, title }) =>
    paragraph(
      `  a message could not be delivered (${age(now, at_utc)}), and is tried again after the next run: "${title}": ${error}`,
      width,
      "bad"
    )
  )

const runLines = (
  now: number,
  name: string,
  job: Pick<ArchiveStatus, "lastRun" | "activity" | "lockedOut"> & Sound,
  width: number
): ReadonlyArray<Line> => {
  const { activity, lastRun } = job
  if (lastRun === undefined) {
    const ended = activity._tag === "Running" ? " that ended" : ""
    return [
      ...paragraph(`${name}: no run is known${ended} yet`, width, "watch"),
      ...locked(now, job.lockedOut, width),
      ...active(now, activity, width)
    ]
  }
  const mood = lastRun.outcome === "ok" ? "plain" : "bad"
  const took = `took ${duration(lastRun.seconds * 1000)}`
  return [
    ...paragraph(
      `${name}: last run ${age(now, lastRun.started_at_utc)}, ${took}: ${outcome(lastRun, job.sound ?? true)}`,
      width,
      mood
    ),
    ...(lastRun.error === undefined || lastRun.outcome === "interrupted"
      ? []
      : paragraph(`  ${lastRun.error}`, width, mood)),
    ...locked(now, job.lockedOut, width),
    ...active(now, activity, width)
  ]
}

const locked = (now: number, found: LockedOut | undefined, width: number): ReadonlyArray<Line> =>
  found === undefined
    ? []
    : paragraph(`  last attempt ${age(now, found.last_utc)}: ${describeLockedOut(found)}`, width, "bad")

const outcome = (run: LastRun, sound: boolean): string => {
  switch (run.outcome) {
    case "ok":
      return sound ? "all well" : "nothing failed in it"
    case "failed":
      return run.error === undefined ? `${number(run.failures)} failed` : "it broke off"
    case "not_started":
      return "it could not begin"
    case "interrupted":
      return "stopped by a signal"
  }
}

const active = (now: number, activity: Activity, width: number): ReadonlyArray<Line> => {
  switch (activity._tag) {
    case "Idle":
      return []
    case "Locked":
      return paragraph(
        `  its lock is held by pid ${activity.pid} since ${activity.since} (${age(now, activity.since)}): another command, or a run that left no mark`,
        width,
        "watch"
      )
    case "Running":
      return paragraph(
        `  a run is at work since ${activity.since} (${age(now, activity.since)}), pid ${activity.pid}`,
        width
      )
    case "Died":
      return paragraph(
        `  the run that began ${activity.since} (${age(now, activity.since)}) never ended: it was killed, or the machine went down; the next run puts right what it left`,
        width,
        "bad"
      )
  }
}

/** At most this many reasons are told; all of them are in the document of `--json`. */
const told = 20

const reasons = (
  items: ReadonlyArray<{ readonly name: string; readonly item: { readonly error: string | undefined } }>,
  width: number
): ReadonlyArray<Line> => {
  const failed = items.filter(({ item }) => item.error !== undefined)
  return [
    ...failed
      .slice(0, told)
      .flatMap(({ item, name }) => paragraph(`${name}: ${item.error ?? ""}`, width, "bad")),
    ...(failed.length > told ? [line(`and ${number(failed.length - told)} more`, "bad")] : [])
  ]
}

/** What is overdue, in one line: `2 are overdue, with no success in the last 26 h: ABCD, EFGH`. */
export const overdueSummary = (status: Status): string | undefined => {
  const lines = overdue(status)
  if (lines.length === 0) return undefined
  return `${count(lines.length, "is", "are")} overdue: no success in the last ${duration(status.maxAge ?? 0)}`
}

/** A line for each folder whose archive is lost. */
export const lost = (status: Status): ReadonlyArray<string> =>
  lostFolders(status).map(
    ({ folder, lastSuccess }) =>
      `${folder}: its archive is lost: ${folder}.zip is not there; ${lastSuccess === undefined ? "a run archived it" : `last success ${age(status.now, lastSuccess)}`}`
  )

/** A line for each archive of which verify found that it is damaged. */
export const damaged = (status: Status): ReadonlyArray<string> =>
  damagedArchives(status).map(
    ({ verified, zip }) =>
      `${zip} is damaged, as verify found ${age(status.now, verified.verified_at_utc)}: ${verified.problem ?? "no finding was recorded"}`
  )

/** A line for each archive that is not what was published, as a look at it shows. */
export const flawed = (status: Status): ReadonlyArray<string> =>
  flawedArchives(status).map(({ folder, problem, which }) => `${namesOf(folder, which).zip} ${problem}`)

/** Those of them that are current: a previous one may have been removed on purpose. */
export const flawedCurrent = (status: Status): ReadonlyArray<string> =>
  flawedArchives(status).flatMap(({ folder, problem, which }) =>
    which === "current" ? [`${namesOf(folder, which).zip} ${problem}`] : []
  )

/** How many archives are damaged, in one line; undefined when none is. */
export const damagedSummary = (status: Status): string | undefined => {
  const { length } = damagedArchives(status)
  return length === 0 ? undefined : `${count(length, "archive is", "archives are")} damaged, as verify found`
}

/** How many archives are lost, in one line; undefined when none is. */
export const lostSummary = (status: Status): string | undefined => {
  const { length } = lostFolders(status)
  return length === 0
    ? undefined
    : `${count(length, "archive is", "archives are")} lost: the zip is not there, though a run made it`
}

/** A line for each that is overdue. */
export const overdue = (status: Status): ReadonlyArray<string> =>
  overdueLines(status, (utc) => age(status.now, utc))
