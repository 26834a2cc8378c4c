import * as Effect from "effect/Effect"
import { Disk } from "../system/Disk.ts"
import { firstNames, oneLine } from "../text/Text.ts"
import { type FolderName, isAskedFor, nameProblem, parseFolderName } from "./FolderName.ts"

/** The folders at the top of a source as it is now, by what a pattern makes of their names; each list sorted. */
interface FolderChoice {
  readonly matching: ReadonlyArray<FolderName>
  /** Asked for, and with a name that no archive can have. */
  readonly unsafe: ReadonlyArray<string>
  readonly others: ReadonlyArray<string>
}

export const chooseFolders = Effect.fnUntraced(function* (path: string, wanted: RegExp) {
  const disk = yield* Disk
  const folders = yield* Effect.filter(
    yield* disk.list(path),
    // One whose name is not UTF-8 cannot be looked at by this name.
    (name) => Effect.map(disk.stat(`${path}/${name}`), (stat) => stat?.kind === "directory" || name.includes("\ufffd")),
    { concurrency: 16 }
  )
  const asked = folders.filter((name) => isAskedFor(wanted, name))
  return {
    matching: asked.flatMap((name) => parseFolderName(name) ?? []),
    unsafe: asked.filter((name) => nameProblem(name) !== undefined),
    others: folders.filter((name) => !isAskedFor(wanted, name))
  } satisfies FolderChoice
})

/** Names for a line: the first ten, those that no archive can have with the reason, and how many more there are. */
export const someNames = (names: ReadonlyArray<string>): string =>
  firstNames(
    names.map((name) => {
      const problem = nameProblem(name)
      return problem === undefined || name.startsWith(".") ? oneLine(name) : `${oneLine(name)} (its name ${problem})`
    })
  )
