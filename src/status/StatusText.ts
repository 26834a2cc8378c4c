import type { DueReason } from "../runs/ArchiveResult.ts"
import { describeLockedOut } from "../runs/JobState.ts"
import type { Flaw } from "../runs/PublishedFolders.ts"
import { findingOf } from "../store/FolderState.ts"
import { namesOf } from "../store/PublishedArchive.ts"
import { bytes, count, cutTo, duration, number, padded, widthOf, withoutControls, wrapped } from "../text/Text.ts"
import { isAhead } from "../text/Time.ts"
import {
  type ArchiveStatus,
  badReplicas,
  type DatasetStatus,
  damagedArchives,
  type FolderStatus,
  flawedArchives,
  isKnownBad,
  type JobStatus,
  lostFolders,
  overdueItems,
  type ReplicationStatus,
  type Status
} from "./StatusDocument.ts"

/** `bad`: it needs an action; `watch`: it deserves a look; `past`: it is over. */
export type LineKind = "bad" | "watch" | "past" | "plain"

interface Line {
  readonly text: string
  readonly kind: LineKind
}

/** `width` in characters; `ellipsis` stands for what is cut off a long name. */
interface Space {
  readonly width: number
  readonly ellipsis: string
}

/** A line about each job with its table below, and what failed with its reason. */
export const render = (status: Status, space: Space): ReadonlyArray<Line> => {
  const { archive, now, replications } = status
  const blocks = [
    ...(archive === undefined ? [] : [archiveBlock(status, archive, space)]),
    ...replications.map((job) => replicationBlock(now, job, space))
  ]
  return blocks.flatMap((block, index) => (index === 0 ? block : [line(""), ...block]))
}

const archiveBlock = (status: Status, archive: ArchiveStatus, space: Space): ReadonlyArray<Line> => {
  const { width } = space
  const { folders, source_problem: problem, unread } = archive
  // After a good run, an archive that is lost, damaged or not what was published still forbids "all well".
  const sound =
    unread.length === 0 && [lostFolders, damagedArchives, flawedArchives].every((found) => found(status).length === 0)
  return [
    ...jobLines(status.now, "archive", archive, width, sound),
    ...targetLines(status.now, archive.target_snapshots, width),
    ...(problem === null ? [] : paragraph(`  ${problem}`, width, "bad")),
    ...(folders.length === 0
      ? [line("  no folder is archived, and none is there to be")]
      : table(folderColumns(status.now, archive), folders, space, (folder) => folderKind(folder, archive))),
    ...reasons(folders, ({ folder }) => folder, width),
    ...[...damaged(status), ...flawedArchives(status).map(flawLine), ...unread].flatMap((text) =>
      paragraph(text, width, "bad")
    )
  ]
}

const targetLines = (now: number, history: ArchiveStatus["target_snapshots"], width: number): ReadonlyArray<Line> => {
  if (history === null) return []
  const { count: found, error, newest_utc: newest, oldest_utc: oldest } = history
  const there =
    oldest === null || newest === null
      ? "none yet"
      : `${number(found)}, back to ${oldest} (${age(now, oldest)}), the newest ${age(now, newest)}`
  return [
    ...paragraph(`  snapshots of the target: ${there}`, width),
    ...(error === undefined ? [] : paragraph(`  snapshots of the target: ${error}`, width, "bad"))
  ]
}

const replicationBlock = (now: number, job: ReplicationStatus, space: Space): ReadonlyArray<Line> => [
  ...jobLines(now, `${job.job} (${job.direction}, ${job.host})`, job, space.width, job.verify_failures.length === 0),
  ...table(datasetColumns(now), job.datasets, space, (dataset) =>
    dataset.overdue || hasFailed(dataset) || (dataset.verified?.problem ?? null) !== null
      ? "bad"
      : dataset.result === "nothing_to_send"
        ? "watch"
        : "plain"
  ),
  ...reasons(job.datasets, ({ dataset }) => dataset, space.width),
  ...job.verify_failures.slice(0, mostReasons).flatMap((each) => paragraph(badReplica(each), space.width, "bad"))
]

/** A line for each item that is overdue. */
export const overdue = (status: Status): ReadonlyArray<string> =>
  overdueItems(status).map(({ item, lastRun, name }) => {
    if (item === undefined) {
      const last = lastRun && `last run ${age(status.now, lastRun.started_at_utc)}, and it has no folder or dataset`
      return `${name}: ${last ?? "no run did anything yet"}`
    }
    const { error, last_success_utc: success } = item
    return `${name}: ${success === null ? "never succeeded" : `last success ${age(status.now, success)}`}${error === null ? "" : `; the last attempt failed: ${error}`}`
  })

/** How many items are overdue: `2 are overdue: no success in the last 26 h`. */
export const overdueSummary = (status: Status): string | undefined =>
  summary(
    overdueItems(status).filter((each) => !succeedsLater(status, each)),
    "is",
    "are",
    `overdue: no success in the last ${duration(status.maxAge ?? 0)}`
  )

/** The same of those whose last success lies in the future. */
export const aheadSummary = (status: Status): string | undefined =>
  summary(
    overdueItems(status).filter((each) => succeedsLater(status, each)),
    "has its",
    "have their",
    "last success in the future: the clock of this machine is wrong, or was"
  )

const succeedsLater = ({ now }: Status, { item }: ReturnType<typeof overdueItems>[number]): boolean =>
  isAhead(now, Date.parse(item?.last_success_utc ?? ""))

export const lost = (status: Status): ReadonlyArray<string> =>
  lostFolders(status).map(
    ({ folder, last_success_utc: success }) =>
      `${folder}: its archive is lost: ${folder}.zip is not there; ${success === null ? "a run archived it" : `last success ${age(status.now, success)}`}`
  )

export const lostSummary = (status: Status): string | undefined =>
  summary(lostFolders(status), "archive is", "archives are", "lost: the zip is not there, though a run made it")

export const damaged = (status: Status): ReadonlyArray<string> =>
  damagedArchives(status).map(
    ({ verified, zip }) =>
      `${zip} is damaged, as verify found ${age(status.now, verified.at_utc)}: ${findingOf(zip, verified.problem)}`
  )

export const damagedSummary = (status: Status): string | undefined =>
  summary(damagedArchives(status), "archive is", "archives are", "damaged, as verify found")

const badReplica = ({ name, problem }: ReplicationStatus["verify_failures"][number]): string =>
  `${name}: verify found: ${problem}`

export const replicas = (status: Status): ReadonlyArray<string> => badReplicas(status).map(badReplica)

export const replicasSummary = (status: Status): string | undefined =>
  summary(badReplicas(status), "replica or pool is", "replicas or pools are", "not good, as verify found")

const summary = (found: ReadonlyArray<unknown>, one: string, many: string, rest: string): string | undefined =>
  found.length === 0 ? undefined : `${count(found.length, one, many)} ${rest}`

const flawLine = ({ folder, problem, which }: Flaw): string => `${namesOf(folder, which).zip} ${problem}`

/** A line for each current archive that is not what was published (a previous one may have been removed on purpose), or not known. */
export const flawedCurrent = (status: Status): ReadonlyArray<string> => [
  ...flawedArchives(status)
    .filter(({ which }) => which === "current")
    .map(flawLine),
  ...(status.archive?.unread ?? [])
]

/** An age in words: `just now`, `5 min ago`, `3 h ago`, `12 d ago`, or `in the future`. What is no time is `unknown`. */
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

/** One line; what is not printable in the text is escaped. */
const line = (text: string, kind: LineKind = "plain"): Line => ({ text: withoutControls(text), kind })

/** Lines no wider than `width`, those after the first indented. */
const paragraph = (text: string, width: number, kind: LineKind = "plain"): ReadonlyArray<Line> =>
  wrapped(withoutControls(text), width, "  ").map((part) => ({ text: part, kind }))

const jobLines = (now: number, name: string, job: JobStatus, width: number, sound: boolean): ReadonlyArray<Line> => {
  const { died, last_run: run, locked, locked_out: lockedOut, running, undelivered } = job
  const kind = run === null ? "watch" : run.outcome === "ok" ? "plain" : "bad"
  const since = (utc: string) => `${utc} (${age(now, utc)})`
  const last =
    run === null
      ? `no run is known${running === null ? "" : " that ended"} yet`
      : `last run ${age(now, run.started_at_utc)}, took ${duration(run.seconds * 1000)}: ${outcome(run, sound)}`
  const parts: ReadonlyArray<readonly [text: string, kind: LineKind] | null> = [
    [`${name}: ${last}`, kind],
    run === null || run.error === null || run.outcome === "interrupted" ? null : [`  ${run.error}`, kind],
    lockedOut && [
      `  last attempt ${age(now, lockedOut.last_utc)}: ${describeLockedOut({ version: 1, ...lockedOut })}`,
      "bad"
    ],
    locked && [
      `  its lock is held by pid ${locked.pid} since ${since(locked.since_utc)}: another command, or a run that left no mark`,
      "watch"
    ],
    running && [`  a run is at work since ${since(running.since_utc)}, pid ${running.pid}`, "plain"],
    died && [
      `  the run that began ${since(died.since_utc)} never ended: it was killed, or the machine went down; the next run puts right what it left`,
      "bad"
    ],
    ...undelivered.map(
      ({ at_utc, error, title }) =>
        [
          `  a message could not be delivered (${age(now, at_utc)}), and is tried again after the next run: "${title}": ${error}`,
          "bad"
        ] as const
    )
  ]
  return parts.flatMap((part) => (part === null ? [] : paragraph(part[0], width, part[1])))
}

const outcome = ({ error, failures, outcome }: NonNullable<JobStatus["last_run"]>, sound: boolean): string =>
  ({
    ok: sound ? "all well" : "nothing failed in it",
    failed: error === null ? `${number(failures)} failed` : "it failed",
    not_started: "it could not begin",
    interrupted: error ?? "stopped by a signal"
  })[outcome]

/** At most so many reasons are shown; all of them are in the document of `--json`. */
const mostReasons = 20

const reasons = <A extends { readonly error: string | null }>(
  items: ReadonlyArray<A>,
  nameOf: (item: A) => string,
  width: number
): ReadonlyArray<Line> => {
  const failed = items.filter(({ error }) => error !== null)
  return [
    ...failed.slice(0, mostReasons).flatMap((item) => paragraph(`${nameOf(item)}: ${item.error ?? ""}`, width, "bad")),
    ...(failed.length > mostReasons ? [line(`and ${number(failed.length - mostReasons)} more`, "bad")] : [])
  ]
}

/** A figure that has no key yet begins in StatusDocument (its schema) and Status.archiveStatus (where it comes from). */
const folderColumns = (now: number, archive: ArchiveStatus): ReadonlyArray<Column<FolderStatus>> => [
  { title: "FOLDER", align: "left", cell: ({ folder }) => folder },
  ...attemptColumns<FolderStatus>(now),
  { title: "SIZE", cell: ({ zip_bytes: zip }) => (zip === null ? "-" : bytes(zip)) },
  { title: "RATIO", cell: ({ bytes: from, zip_bytes: zip }) => (!from || zip === null ? "-" : percent(zip / from)) },
  { title: "FILES", cell: ({ files }) => (files === null ? "-" : number(files)) },
  { title: "PREV", cell: ({ previous }) => shortAge(now, previous?.archived_at_utc) },
  { title: "VERIFIED", cell: ({ verified }) => shortAge(now, verified?.at_utc) },
  { title: "STATE", align: "left", cut: "end", cell: (folder) => folderState(folder, archive) }
]

// Of a folder that holds next to nothing, the archive is mostly names.
const percent = (part: number): string => (part > 9.99 ? ">999%" : `${Math.round(part * 100)}%`)

const shortAge = (now: number, utc: string | undefined): string =>
  utc === undefined ? "-" : age(now, utc).replace(/ ago$/, "")

const folderKind = (folder: FolderStatus, archive: ArchiveStatus): LineKind => {
  if (folder.overdue || folder.lost || hasFailed(folder) || isDamaged(folder, archive)) return "bad"
  if (folder.gone) return "past"
  return folder.due === null ? "plain" : "watch"
}

const isDamaged = ({ folder, previous, verified }: FolderStatus, { flaws }: ArchiveStatus): boolean =>
  flaws.some((flaw) => flaw.folder === folder) || isKnownBad(verified) || isKnownBad(previous?.verified)

const folderState = (
  { due, folder, gone, lost, overdue, previous, verified }: FolderStatus,
  { flaws }: ArchiveStatus
): string => {
  const isFlawed = (which: "current" | "previous") =>
    flaws.some((flaw) => flaw.folder === folder && flaw.which === which)
  const word = lost ? "ARCHIVE LOST" : isFlawed("current") || isKnownBad(verified) ? "ARCHIVE DAMAGED" : ""
  return [
    overdue && "OVERDUE",
    word,
    isFlawed("previous") && "PREV LOST",
    isKnownBad(previous?.verified) && "PREV DAMAGED",
    verified?.result === "unsettled" && "verify unsettled",
    gone ? "gone from source" : due !== null && !implied[word].has(due) && (dueWords[due] ?? due)
  ]
    .filter(Boolean)
    .join(", ")
}

/** Reasons that a word in capitals already gives. */
const implied: Readonly<Record<"ARCHIVE LOST" | "ARCHIVE DAMAGED" | "", ReadonlySet<string>>> = {
  "ARCHIVE LOST": new Set<DueReason>(["never archived", "its archive is missing"]),
  "ARCHIVE DAMAGED": new Set<DueReason>([
    "its archive has another size than when it was published",
    "verify found its archive damaged"
  ]),
  "": new Set()
}

const dueWords: Readonly<Record<string, string>> = {
  forced: "forced",
  "never archived": "no archive",
  "its .state.json is missing or damaged": "state lost",
  "its folder in the target cannot be looked at": "not looked at",
  "its archive is missing": "zip missing",
  "its archive has another size than when it was published": "zip damaged",
  "a file beside its archive is missing": "file missing",
  "verify found its archive damaged": "archive damaged",
  "its last attempt failed": "failed",
  "exclude or exclude_caches was changed": "exclude changed",
  "it was written to shortly before it was last listed": "written to at listing",
  changed: "changed"
} satisfies Record<DueReason, string>

const datasetColumns = (now: number): ReadonlyArray<Column<DatasetStatus>> => [
  { title: "DATASET", align: "left", cut: "start", cell: ({ dataset }) => dataset },
  { title: "TARGET", align: "left", cut: "start", cell: ({ target }) => target ?? "-" },
  ...attemptColumns<DatasetStatus>(now),
  { title: "VERIFIED", cell: ({ verified }) => (verified === null ? "" : shortAge(now, verified.at_utc)) },
  { title: "SENT", cell: ({ bytes: sent }) => (sent === null ? "-" : bytes(sent)) },
  {
    title: "RESULT",
    align: "left",
    cell: ({ overdue, result, verified }) =>
      [overdue && "OVERDUE", verified?.problem && "NOT GOOD", result && resultWords[result]].filter(Boolean).join(", ")
  }
]

const resultWords: Readonly<Record<NonNullable<DatasetStatus["result"]>, string>> = {
  sent: "sent",
  up_to_date: "up to date",
  nothing_to_send: "no snapshot",
  refused: "refused",
  failed: "failed"
}

const attemptColumns = <A extends FolderStatus | DatasetStatus>(now: number): ReadonlyArray<Column<A>> => [
  { title: "SUCCESS", cell: ({ last_success_utc: utc }) => (utc === null ? "never" : age(now, utc)) },
  {
    title: "ATTEMPT",
    cell: (item) => (hasFailed(item) && item.last_attempt_utc !== null ? age(now, item.last_attempt_utc) : "")
  }
]

const hasFailed = ({ result }: FolderStatus | DatasetStatus): boolean => result === "failed" || result === "refused"

interface Column<A> {
  readonly title: string
  /** Default: right. */
  readonly align?: "left"
  /** It may be cut where there is no room, on this side. */
  readonly cut?: "start" | "end"
  readonly cell: (item: A) => string
}

const narrowest = 12

/** A table without the columns that are empty. Where `width` does not suffice they move together, then the widest are cut. */
const table = <A>(
  columns: ReadonlyArray<Column<A>>,
  items: ReadonlyArray<A>,
  { ellipsis, width }: Space,
  moodOf: (item: A) => LineKind
): ReadonlyArray<Line> => {
  const used = columns
    .map((column) => ({ ...column, cells: [column.title, ...items.map((item) => column.cell(item))] }))
    .filter(({ cells }) => cells.slice(1).some((cell) => cell !== ""))
    .map((column) => ({ ...column, width: Math.max(...column.cells.map(widthOf)) }))
  const gap = total(used) + 2 * (used.length - 1) <= width ? "  " : " "
  const widths = fitWidths(used, width - gap.length * (used.length - 1))
  const rowAt = (row: number) =>
    used
      .map(({ align, cells, cut = "end" }, index) => {
        const room = widths[index] ?? 0
        return padded(cutTo(cells[row] ?? "", room, cut, ellipsis), room, align ?? "right")
      })
      .join(gap)
      .trimEnd()
  return [line(rowAt(0)), ...items.map((item, index) => line(rowAt(index + 1), moodOf(item)))]
}

interface Measured {
  readonly cut?: "start" | "end"
  readonly width: number
}

const total = (columns: ReadonlyArray<Measured>): number => columns.reduce((sum, { width }) => sum + width, 0)

/** Widths whose sum is at most `room`, taken from the widest columns that may be cut. */
const fitWidths = (columns: ReadonlyArray<Measured>, room: number): ReadonlyArray<number> => {
  const widths = columns.map(({ width }) => width)
  let over = total(columns) - room
  while (over > 0) {
    const widest = columns
      .map(({ cut }, index) => ({ index, width: cut === undefined ? 0 : (widths[index] ?? 0) }))
      .reduce((a, b) => (b.width > a.width ? b : a), { index: -1, width: narrowest })
    if (widest.index < 0) break
    widths[widest.index] = widest.width - 1
    over -= 1
  }
  return widths
}
