import type { Activity } from "./Activity.ts"
import { namesOf } from "./ArchiveSet.ts"
import { describeLockedOut, type LockedOut } from "./LockedOut.ts"
import type { LastRun } from "./Standing.ts"
import {
  type ArchiveStatus,
  damagedArchives,
  flawedArchives,
  lostFolders,
  overdueLines,
  type Status
} from "./Status.ts"
import { age, type Line, line, paragraph } from "./StatusLine.ts"
import { datasetTable, folderTable } from "./StatusTables.ts"
import { count, duration, number } from "./Units.ts"

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
