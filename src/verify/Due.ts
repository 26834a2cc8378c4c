import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { sumAll } from "effect/Number"
import { JobStates } from "../runs/JobState.ts"
import type { FolderName } from "../source/FolderName.ts"
import { type FolderVerification, isBad, ofCurrent, ofPrevious } from "../store/FolderState.ts"
import { identityOf, PublishedArchives, type Which } from "../store/PublishedArchive.ts"
import { orWarn } from "../system/Log.ts"
import { count, duration } from "../text/Text.ts"
import { dayMillis, hourMillis, isAhead } from "../text/Time.ts"

/** Which archives one call of `verify --max-age AGE --limit SIZE` reads: a large target is checked bit by bit. */

export interface DueOptions {
  /** In milliseconds; undefined: every archive is due. */
  readonly maxAge: number | undefined
  /** Most bytes of archives that are read within an hour, by this call and those before it. */
  readonly limit: number | undefined
}

export interface Candidate {
  readonly folder: FolderName
  /** Size of its zip; 0 where there is none to read. */
  readonly bytes: number
  /** When an archive of this folder was last checked, in milliseconds; undefined: never. */
  readonly checked: number | undefined
  /** That check was of this very archive, and found it good. */
  readonly isGood: boolean
  /** That check found it damaged or missing. */
  readonly isBad?: boolean
}

/** `read`: in the order in which they are read. `waiting`: due, and over the limit. `fresh`: not due. */
export interface Chosen {
  readonly read: ReadonlyArray<Candidate>
  readonly waiting: ReadonlyArray<Candidate>
  readonly fresh: ReadonlyArray<Candidate>
}

/**
 * Takes what is due, folders that were never checked first, then by the oldest check: a folder that changes every hour keeps no other
 * one waiting. The first archive that does not fit ends the choice, so that smaller ones do not keep it waiting; one above the limit
 * is taken when nothing else was read within the hour. What is missing costs nothing and is always taken. `spent`: bytes read before.
 */
export const chooseDue = (
  all: ReadonlyArray<Candidate>,
  { limit, maxAge, now, spent }: DueOptions & { readonly now: number; readonly spent: number }
): Chosen => {
  const timeOf = ({ checked }: Candidate) => (checked === undefined || isAhead(now, checked) ? undefined : checked)
  const isFresh = (each: Candidate): boolean =>
    maxAge !== undefined && each.isGood && now - (timeOf(each) ?? Number.NEGATIVE_INFINITY) <= maxAge
  const [missing, there] = [all.filter(({ bytes }) => bytes === 0), all.filter(({ bytes }) => bytes > 0)]
  const due = there
    .filter((each) => !isFresh(each))
    .sort((a, b) => (timeOf(a) ?? 0) - (timeOf(b) ?? 0) || (a.folder < b.folder ? -1 : 1))
  let used = spent
  const end = due.findIndex(({ bytes }) => {
    if (limit !== undefined && used > 0 && used + bytes > limit) return true
    used += bytes
    return false
  })
  const read = end === -1 ? due.length : end
  return { read: [...missing, ...due.slice(0, read)], waiting: due.slice(read), fresh: there.filter(isFresh) }
}

/** The same for archives of the target, by what is known of their checks. */
export const selectDue = Effect.fnUntraced(function* (
  folders: ReadonlyArray<FolderName>,
  which: Which,
  options: DueOptions
) {
  const now = yield* Clock.currentTimeMillis
  const known = yield* (yield* JobStates).verified.pipe(
    orWarn("every archive counts as never checked", new Map<FolderName, FolderVerification>())
  )
  const all = yield* Effect.forEach(folders, (folder) => candidate(folder, which, known.get(folder)), {
    concurrency: 4
  })
  const spent = options.limit === undefined ? 0 : yield* readWithinHour([...known.values()], now)
  return { ...chooseDue(all, { ...options, now, spent }), now }
})

const candidate = Effect.fnUntraced(function* (
  folder: FolderName,
  which: Which,
  known: FolderVerification | undefined
) {
  const set = yield* (yield* PublishedArchives).open(folder, which).pipe(
    // The reading that follows says why.
    Effect.catchAll(() => Effect.succeed(undefined))
  )
  const identity = identityOf(set)
  const found = which === "current" ? ofCurrent(known, identity) : ofPrevious(known, identity.zip_sha256)
  const last = found ?? known?.[which]
  return {
    folder,
    bytes: set?.file?.size ?? 0,
    checked: last === undefined ? undefined : Date.parse(last.verified_at_utc),
    isGood: found !== undefined && !isBad(found) && found.result !== "unsettled",
    isBad: found !== undefined && isBad(found)
  } satisfies Candidate
})

/** The size of all archives that were checked within the last hour. */
const readWithinHour = (known: ReadonlyArray<FolderVerification>, now: number) =>
  Effect.flatMap(PublishedArchives, ({ size }) =>
    Effect.forEach(known, (folder) =>
      Effect.forEach(["current", "previous"] as const, (which) => {
        const at = Date.parse(folder[which]?.verified_at_utc ?? "")
        return now - at < hourMillis && !isAhead(now, at) ? size(folder.folder, which) : Effect.succeed(0)
      })
    )
  ).pipe(Effect.map((sizes) => sumAll(sizes.flat())))

/** `12 archives wait, the oldest check is 41 days old`. */
export const waitingText = ({ now, waiting }: { now: number; waiting: ReadonlyArray<Candidate> }): string => {
  const checks = waiting.flatMap(({ checked }) => checked ?? [])
  const times = checks.filter((at) => !isAhead(now, at))
  const [never, ahead] = [waiting.length - checks.length, checks.length - times.length]
  const age = now - Math.min(...times)
  const days = Math.floor(age / dayMillis)
  const parts = [
    ...(never > 0 ? [`${never} never checked`] : []),
    ...(ahead > 0 ? [`${ahead} checked in the future, by the clock of this machine`] : []),
    ...(times.length > 0 ? [`the oldest check is ${days < 2 ? duration(age) : count(days, "day")} old`] : [])
  ]
  return `${count(waiting.length, "archive waits", "archives wait")}, ${parts.join(", ")}`
}
