import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { activityOf } from "../domain/Activity.ts"
import type { JobKey } from "../domain/JobKey.ts"
import { names } from "../domain/PublishPlan.ts"
import type { KnownJob } from "../domain/report/Jobs.ts"
import { type PageParts, page } from "../domain/report/Page.ts"
import { type Report, reportOf, type Settings } from "../domain/report/Report.ts"
import { quoted } from "../domain/Text.ts"
import { Disk } from "../services/Disk.ts"
import { History } from "../services/History.ts"
import { Lock } from "../services/Lock.ts"
import { Standing } from "../services/Standing.ts"
import { targetFolders } from "./TargetFolders.ts"

/** No page was written; a page that was there is still there. */
export class ReportError extends Data.TaggedError("ReportError")<{ readonly message: string }> {}

/** The page, and what it was made from. */
export interface Made {
  readonly report: Report
  readonly html: string
}

/**
 * Makes the page of what the history knows, and of how the jobs of the configuration stand. Fails when `target` (target_path) is
 * configured and not there: the history is in it.
 */
export const makeReport = Effect.fn("Report.make")(function* (
  settings: Pick<Settings, "host" | "days"> & { readonly target: string | undefined },
  jobs: ReadonlyArray<JobKey>,
  parts: PageParts
) {
  const { days, host, target } = settings
  const archives = target === undefined ? 0 : yield* archivesIn(target)
  const { runs } = yield* History
  const history = yield* runs
  const known = yield* Effect.forEach(jobs, knownJob)
  const now = yield* Clock.currentTimeMillis
  const report = reportOf(history, { host, days, archives, jobs: known, now })
  return { report, html: page(report, parts) } satisfies Made
})

/** How many folders have an archive there. */
const archivesIn = Effect.fnUntraced(function* (target: string) {
  const disk = yield* Disk
  const found = yield* Effect.filter(
    yield* targetFolders(target),
    (folder) =>
      Effect.map(disk.stat(`${target}/${folder}/${names(folder).zip}`), (stat) => stat?.kind === "file"),
    { concurrency: 16 }
  )
  return found.length
})

const knownJob = Effect.fnUntraced(function* (key: JobKey) {
  const standings = yield* Standing
  const standing = yield* standings.load(key)
  const marker = yield* standings.marker(key)
  if (marker === undefined) return { key, standing, begun: undefined } satisfies KnownJob
  const { lockfile, pid, started_at_utc: since } = marker
  const activity = activityOf(marker, yield* (yield* Lock).holder(lockfile, { pid, since }))
  const begun = { at: Date.parse(since), atWork: activity._tag === "Running" }
  return { key, standing, begun } satisfies KnownJob
})

/**
 * Puts the page at `path`, where it replaces a page that is there at once and whole: whoever reads it meanwhile sees the one or the
 * other. A file that is replaced hands its mode on (for a web server, say); a new one has 0666 less umask.
 */
export const writeReport = Effect.fn("Report.write")(function* (path: string, html: string) {
  const disk = yield* Disk
  const there = yield* disk.stat(path)
  if (there !== undefined && there.kind !== "file") {
    return yield* new ReportError({
      message: `${quoted(path)} is ${kinds[there.kind]}, and was left as it is: give --out the name of a file`
    })
  }
  const { folder, name } = split(path)
  if (name === "" || (yield* disk.stat(folder)) === undefined) {
    return yield* new ReportError({
      message:
        name === ""
          ? `${quoted(path)} is the name of a folder: give --out the name of a file in it`
          : `there is no folder ${quoted(folder)} to write the report to: create it, or give --out another name`
    })
  }
  const draft = `${folder === "/" ? "" : folder}/.${name}.zipper-draft`
  // Left by one that was killed.
  yield* disk.remove(draft)
  yield* disk.write(draft, html).pipe(
    Effect.zipRight(there === undefined ? Effect.void : disk.setMode(draft, there.mode & 0o777)),
    Effect.zipRight(disk.rename(draft, path)),
    Effect.onError(() => disk.remove(draft).pipe(Effect.ignoreLogged))
  )
})

const kinds = {
  directory: "a folder",
  symlink: "a symbolic link",
  other: "no regular file"
}

const split = (path: string): { readonly folder: string; readonly name: string } => {
  const slash = path.lastIndexOf("/")
  return { folder: slash < 0 ? "." : path.slice(0, slash) || "/", name: path.slice(slash + 1) }
}
