import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type JobKey, jobLabel } from "../config/ReplicationJob.ts"
import { History } from "../runs/History.ts"
import { readJob } from "../runs/JobOverview.ts"
import { JobStates } from "../runs/JobState.ts"
import { findFlaws, lostArchives } from "../runs/PublishedFolders.ts"
import type { FolderName } from "../source/FolderName.ts"
import { ofCurrent, ofPrevious } from "../store/FolderState.ts"
import { publishedFileNames } from "../store/Layout.ts"
import { identityOf, ownFolders, PublishedArchives } from "../store/PublishedArchive.ts"
import { replaceByRename } from "../store/Records.ts"
import { firstAbove, isSameInode } from "../store/SafeFolder.ts"
import { Disk, type DiskError, type DiskStat } from "../system/Disk.ts"
import { adviceOnWriting } from "../system/Errno.ts"
import { countField, document, flag, instant, text } from "../text/Document.ts"
import { quoted } from "../text/Text.ts"
import { isPage, type PageParts, page } from "./Page.ts"
import { reportOf, type Settings } from "./Report.ts"

/** What `report --json` prints. */
export const ReportDocument = document({
  file: text("the page that was written"),
  bytes: countField("its size"),
  made_at_utc: instant("when it was made"),
  days: countField("how many days its lists and charts go back"),
  runs: countField("runs in that time"),
  ok: flag("nothing needs a look; the exit status is 0 either way"),
  problems: Schema.Array(
    Schema.Struct({
      subject: text("a job, a folder, a dataset"),
      problem: text("what is wrong with it, or what it said of itself")
    })
  ),
  unreadable_lines: countField("lines of the history that could not be understood, and are left out")
})
export type ReportDocument = typeof ReportDocument.Type

/** No page was written; a page that was there is still there. */
class ReportError extends Data.TaggedError("ReportError")<{ readonly message: string }> {}

/** Makes the page from the history and the states of the jobs. Fails when `target` is configured and not there: the history is in it. */
export const makeReport = Effect.fn("Report.make")(function* (
  settings: Pick<Settings, "host" | "days"> & {
    readonly target: string | undefined
    readonly wanted: RegExp
    /** Files with what the target lay on at the last run. */
    readonly places?: ReadonlyArray<string>
    /** Whether the target has snapshots that keep what is replaced. */
    readonly snapshots?: boolean
  },
  keys: ReadonlyArray<JobKey>,
  parts: PageParts
) {
  const { days, host, places, snapshots = false, target, wanted } = settings
  const archives = target === undefined ? 0 : yield* archivesIn(target, wanted, places)
  const history = yield* (yield* History).runs
  const overviews = yield* Effect.forEach(keys, (key) => Effect.map(readJob(key), (job) => ({ key, ...job })))
  const now = yield* Clock.currentTimeMillis
  const ofArchives =
    target === undefined
      ? { lost: [], flaws: [], verified: new Map() }
      : {
          ...(yield* findingsIn.pipe(Effect.provide(PublishedArchives.layer(target, wanted)))),
          free: yield* ifPossible((disk) => disk.free(target))
        }
  const undelivered = overviews.flatMap(({ key, undelivered }) =>
    undelivered.map((message) => ({ job: jobLabel(key), message }))
  )
  const replicas = yield* Effect.forEach(keys, (yield* JobStates).verifiedReplicas)
  const jobs = overviews.map(({ activity, key, lockedOut, marker, state }) => {
    const at = marker === undefined ? undefined : Date.parse(marker.started_at_utc)
    return { key, state, lockedOut, begun: at === undefined ? at : { at, atWork: activity._tag === "Running" } }
  })
  const report = reportOf(history, {
    host,
    days,
    archives,
    found: { ...ofArchives, undelivered, snapshots, replicas: replicas.filter((each) => each !== undefined) },
    jobs,
    now
  })
  return { report, html: page(report, parts) }
})

/** What is lost by a look at the target, and what verify found of the archives that are there now. */
const findingsIn = Effect.gen(function* () {
  const archives = yield* PublishedArchives
  const results = yield* (yield* JobStates).verified
  const verified = yield* Effect.forEach(
    results,
    ([folder, known]) =>
      Effect.gen(function* () {
        const current = yield* archives.open(folder, "current")
        const previous = yield* archives.open(folder, "previous")
        const now = {
          current: ofCurrent(known, identityOf(current)),
          previous: previous?.file === undefined ? undefined : ofPrevious(known, identityOf(previous).zip_sha256)
        }
        return [[folder, now] as const]
      }).pipe(Effect.catchAll((error) => Effect.as(Effect.logWarning(error.message), []))),
    { concurrency: 4 }
  )
  const { lost, unread } = yield* lostArchives
  const found = yield* findFlaws()
  return {
    lost,
    unread: [...new Set([...unread, ...found.unread])],
    flaws: found.flaws,
    verified: new Map(verified.flat())
  }
})

/** Undefined where the file system cannot be asked, or this process may not look: it cannot write there either. */
const ifPossible = <A>(ask: (disk: typeof Disk.Service) => Effect.Effect<A, DiskError>) =>
  Effect.flatMap(Disk, ask).pipe(Effect.catchAll(({ message }) => Effect.as(Effect.logDebug(message), undefined)))

const archivesIn = Effect.fnUntraced(function* (
  target: string,
  wanted: RegExp,
  places: ReadonlyArray<string> | undefined
) {
  const disk = yield* Disk
  const hasArchive = (folder: FolderName) =>
    Effect.map(disk.stat(`${target}/${folder}/${publishedFileNames(folder).zip}`), (stat) => stat?.kind === "file")
  return (yield* Effect.filter(yield* ownFolders(target, wanted, places), hasArchive, { concurrency: 16 })).length
})

/** Where no page may be, each place with the key of the configuration that has it. */
export interface Reserved {
  /** No page in these, at any depth and by any path. */
  readonly folders: ReadonlyArray<readonly [key: string, path: string]>
  readonly files: ReadonlyArray<readonly [key: string, path: string]>
}

const notWritten = ({ code, message }: DiskError) =>
  new ReportError({ message: `no report was written: ${message}${adviceOnWriting(code)}` })

/**
 * Puts the page at `path`, where it replaces a page that is there at once and whole: a reader sees the one or the
 * other. A file that is replaced hands its mode on (for a web server, say); a new one has 0666 less umask. Only a page of before or
 * an empty file is replaced, and nothing is written to a place that is `reserved`.
 */
export const writeReport = Effect.fn("Report.write")(
  function* (path: string, html: string, reserved: Reserved) {
    const disk = yield* Disk
    const there = yield* disk.stat(path)
    const refuse = (why: string) => new ReportError({ message: `${quoted(path)} ${why}` })
    if (there !== undefined && there.kind !== "file") {
      return yield* refuse(`is ${kinds[there.kind]}, and was left as it is: give --out the name of a file`)
    }
    const { folder, name } = split(path)
    if (name === "") return yield* refuse("is the name of a folder: give --out the name of a file in it")
    // With the slash, a symlink is followed.
    const place = yield* disk.stat(`${folder}/.`)
    if (place === undefined) {
      const message = `there is no folder ${quoted(folder)} to write the report to: create it, or give --out another name`
      return yield* new ReportError({ message })
    }
    const why = yield* reservedBy(folder, place, name, reserved)
    if (why !== undefined) return yield* refuse(`${why}, where no report is written: give --out a name elsewhere`)
    if (there !== undefined && !(yield* mayReplace(path, there))) {
      return yield* refuse("is no report that zipper wrote, and was left as it is: give --out another name")
    }
    const draft = `${folder === "/" ? "" : folder}/.${name}.zipper-draft`
    const write = (to: string) =>
      // The mode of the page before from the first byte on, less umask: it may be one that others must not read.
      Effect.zipRight(
        disk.write(to, html, there && there.mode & 0o777),
        there === undefined ? Effect.void : disk.setMode(to, there.mode & 0o777)
      )
    yield* replaceByRename(path, write, draft)
  },
  Effect.catchTag("DiskError", notWritten)
)

const reservedBy = Effect.fnUntraced(function* (folder: string, place: DiskStat, name: string, reserved: Reserved) {
  for (const [key, file] of reserved.files) {
    const kept = split(file)
    if (kept.name === name && isSameInode(yield* statIfPossible(`${kept.folder}/.`), place))
      return `is the place of ${key}`
  }
  const folders: Array<readonly [key: string, stat: DiskStat | undefined]> = []
  for (const [key, each] of reserved.folders) folders.push([key, yield* statIfPossible(`${each}/.`)])
  const above = yield* firstAbove(folder, (here) => folders.find(([, found]) => isSameInode(found, here)))
  return above === undefined ? undefined : `lies in ${above[0]}`
})

const statIfPossible = (path: string) => ifPossible((disk) => disk.stat(path))

/** Far more than a page has, and little enough to be read whole. */
const largest = 64 * 1024 * 1024

const mayReplace = Effect.fnUntraced(function* (path: string, { size }: DiskStat) {
  if (size === 0) return true
  return size <= largest && isPage((yield* (yield* Disk).read(path)) ?? "")
})

const kinds = { directory: "a folder", symlink: "a symbolic link", other: "no regular file" }

const split = (path: string): { readonly folder: string; readonly name: string } => {
  const slash = path.lastIndexOf("/")
  return { folder: slash < 0 ? "." : path.slice(0, slash) || "/", name: path.slice(slash + 1) }
}
