import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { decode } from "../domain/Config.ts"
import { commentedExample } from "../domain/ConfigExample.ts"
import { type Answers, answered } from "../domain/ConfigRender.ts"
import { Disk } from "../services/Disk.ts"

/** No configuration was written; nothing that was there was touched. */
class ConfigInitError extends Data.TaggedError("ConfigInitError")<{ readonly message: string }> {}

/** What was written. */
interface Written {
  readonly file: string
  readonly example: string
}

/** Where the example beside a configuration goes: `zipper.json` has `zipper.example.jsonc`. */
const exampleOf = (path: string): string => `${path.replace(/\.jsonc?$/, "")}.example.jsonc`

/** There is room for the configuration: its folder is there, and no file of that name. */
export const mustBeNew = Effect.fn("ConfigInit.mustBeNew")(function* (path: string) {
  const disk = yield* Disk
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) || "/" : "."
  if ((yield* disk.stat(folder)) === undefined) {
    return yield* new ConfigInitError({ message: `the folder ${folder} does not exist: create it first` })
  }
  if ((yield* disk.stat(path)) !== undefined) {
    return yield* new ConfigInitError({
      message: `${path} exists already and was left as it is; give another name`
    })
  }
})

/**
 * Writes a configuration, and beside it the example that explains every key; both are for their owner alone, and never go
 * over a file, but for an example that is the same. Both or none are there in the end.
 */
export const writeConfig = Effect.fn("ConfigInit.writeConfig")(function* (path: string, content: string) {
  const disk = yield* Disk
  const example = exampleOf(path)
  const explained = commentedExample()
  yield* mustBeNew(path)
  const there = yield* disk.stat(example)
  const same = there?.kind === "file" && (yield* disk.read(example)) === explained
  if (there !== undefined && !same) {
    return yield* new ConfigInitError({
      message: `${example} exists already and was left as it is: it would explain every key; move it away, or give another name`
    })
  }
  if (!same) yield* written(disk, example, explained)
  yield* written(disk, path, content).pipe(
    Effect.onError(() => (same ? Effect.void : Effect.orDie(disk.remove(example))))
  )
  return { file: path, example } satisfies Written
}, Effect.uninterruptible)

// A part of it may be there when that fails.
const written = (disk: typeof Disk.Service, path: string, content: string) =>
  disk
    .write(path, content, 0o600)
    .pipe(
      Effect.tapError(({ code }) =>
        code === "EEXIST" ? Effect.void : disk.remove(path).pipe(Effect.ignoreLogged)
      )
    )

/** The text of a configuration file with these answers. */
export const fileOf = (answers: Answers): string => `${JSON.stringify(answered(answers), undefined, 2)}\n`

// Paths that no answer has, for those that are not given yet.
const stillOpen = { source_path: "/\u2026source", target_path: "/\u2026target" }

/**
 * What is wrong with answers, by the rules of the configuration, a line each; only of these keys when they are named. What
 * is not given yet is no mistake.
 */
export const mistakesIn = (
  answers: Answers,
  tokenGiven: boolean,
  keys?: ReadonlyArray<keyof Answers>
): ReadonlyArray<string> => {
  const decoded = decode({ ...stillOpen, ...answered(answers) }, { tokenGiven })
  if (decoded._tag === "Right") return []
  return keys === undefined
    ? decoded.left
    : decoded.left.filter((line) => keys.some((key) => new RegExp(`^${key}\\b`).test(line)))
}
