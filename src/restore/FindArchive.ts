import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { publishedFolders } from "../runs/PublishedFolders.ts"
import { absent, describeFinding } from "../runs/VerifyResult.ts"
import type { FolderName } from "../source/FolderName.ts"
import { PublishedArchives, type Which } from "../store/PublishedArchive.ts"
import { lostText, noArchiveText, otherOf, type WantedArchive } from "./RestoreResult.ts"

/** `Lost`: nothing is left of the published archives. `Changed`: runs keep publishing while the archive is read. */
export class FindError extends Data.TaggedError("FindError")<{
  readonly reason: "UnknownFolder" | "NoArchive" | "Lost" | "Changed"
  readonly message: string
}> {}

/** The folders that are named, sorted; without names all that have archives or had some. Fails with UnknownFolder for others. */
export const findFolders = Effect.fnUntraced(function* (names: ReadonlyArray<FolderName>, which: Which) {
  const archives = yield* PublishedArchives
  const unseen = yield* Effect.filter(names, (name) => Effect.map(archives.size(name, which), (size) => size === 0))
  if (names.length > 0 && unseen.length === 0) return [...new Set(names)].sort()
  const there = yield* archives.folders
  const published = yield* publishedFolders
  const known = [...new Set([...there, ...published.folders])].sort()
  const unknown = unseen.filter((name) => !known.includes(name))
  if (names.length > 0 && unknown.length === 0) return [...new Set(names)].sort()
  yield* Effect.forEach(published.unread, (problem) => Effect.logWarning(problem), { discard: true })
  if (names.length === 0 && known.length > 0) return known
  const what = names.length === 0 ? "no archives" : `no archives of ${unknown.join(", ")}`
  const all = there.length === 0 ? "there are none at all" : `there are ${there.join(", ")}`
  const message = `${archives.target} has ${names.length === 0 ? what : `${what}: ${all}`}`
  return yield* new FindError({ reason: names.length === 0 ? "NoArchive" : "UnknownFolder", message })
})

/** The archive as it lies there; fails where there is none. */
export const openArchive = Effect.fnUntraced(function* (wanted: WantedArchive) {
  const { folder, which } = wanted
  const archives = yield* PublishedArchives
  const set = yield* archives.open(folder, which)
  if (set !== undefined) return set
  if ((yield* archives.folders).includes(folder)) {
    const message = noArchiveText(wanted, yield* hasOther(wanted))
    return yield* new FindError({ reason: "NoArchive", message })
  }
  const message = lostText(wanted, describeFinding(absent(folder, which, true)))
  return yield* new FindError({ reason: "Lost", message })
})

/** Whether the folder's other archive is there to be offered: what cannot be looked at is not. */
export const hasOther = ({ folder, which }: Pick<WantedArchive, "folder" | "which">) =>
  Effect.flatMap(PublishedArchives, (archives) => archives.open(folder, otherOf(which))).pipe(
    Effect.map((other) => other?.file !== undefined),
    Effect.orElseSucceed(() => false)
  )
