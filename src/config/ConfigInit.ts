import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { chooseFolders, someNames } from "../source/FolderChoice.ts"
import { Disk } from "../system/Disk.ts"
import { tokenVariable } from "../system/Process.ts"
import { poolOf } from "../zfs/DatasetName.ts"
import { Datasets } from "../zfs/Datasets.ts"
import { decode, defaultFolders, everyFolder, nameRule, wholeName } from "./Config.ts"
import { type Answers, commentedExample, configFrom } from "./ConfigExample.ts"
import { ConfigFile } from "./ConfigFile.ts"

/** No configuration was written; nothing that was there was touched. */
export class ConfigInitError extends Data.TaggedError("ConfigInitError")<{ readonly message: string }> {}

/** Where the example beside a configuration goes: `zipper.json` has `zipper.example.jsonc`. */
const exampleOf = (path: string): string => `${path.replace(/\.jsonc?$/, "")}.example.jsonc`

/** Fails unless a file of that name can be made: its folder is there and may be written to, and holds none. */
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
  yield* disk.writable(folder)
})

/**
 * Writes a configuration, and beside it the example that explains every key: both or none, readable by their owner alone. Replaces
 * no file; an example that is the same stays.
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
  if (!same) yield* writeNew(disk, example, explained)
  yield* writeNew(disk, path, content).pipe(
    Effect.onError(() => (same ? Effect.void : Effect.orDie(disk.remove(example))))
  )
  return { file: path, example }
}, Effect.uninterruptible)

// A part of it may be there when that fails.
const writeNew = (disk: typeof Disk.Service, path: string, content: string) =>
  disk
    .write(path, content, 0o600)
    .pipe(
      Effect.tapError(({ code }) => (code === "EEXIST" ? Effect.void : disk.remove(path).pipe(Effect.ignoreLogged)))
    )

/** The text of a configuration file with these answers. */
export const fileOf = (answers: Answers): string => `${JSON.stringify(configFrom(answers), undefined, 2)}\n`

// Paths that no answer has, for those that are not given yet.
const placeholders = { source_path: "/\u2026source", target_path: "/\u2026target" }

/** Mistakes in answers by the rules of the configuration, a line each, only of `keys` if given. A missing answer is none. */
export const mistakesIn = (
  answers: Answers,
  tokenGiven: boolean,
  keys?: ReadonlyArray<keyof Answers>
): ReadonlyArray<string> => {
  const decoded = decode({ ...placeholders, ...configFrom(answers) }, { tokenGiven })
  if (decoded._tag === "Right") return []
  return keys === undefined
    ? decoded.left
    : decoded.left.filter((line) => keys.some((key) => new RegExp(`^${key}\\b`).test(line)))
}

/** A folder that a path leads to. */
export interface FolderPlace {
  /** Without symlinks. */
  readonly path: string
  /** The dataset that holds it; undefined when none does. */
  readonly dataset: string | undefined
}

/** The folder that a path leads to, and its dataset. Fails with what is wrong, in words. */
export const resolveFolder = Effect.fnUntraced(function* (path: string) {
  const datasets = yield* Datasets
  const resolved = yield* datasets.resolve(path).pipe(Effect.mapError(({ message }) => withoutAdvice(message)))
  const dataset = yield* datasets.holding(path).pipe(
    Effect.catchIf(
      ({ reason }) => reason === "NotZfs" || reason === "NotInstalled",
      () => Effect.succeed(undefined)
    ),
    Effect.mapError(({ message }) => withoutAdvice(message))
  )
  return { path: resolved, dataset } satisfies FolderPlace
})

// Without the advice that needs a configuration.
const withoutAdvice = (message: string): string =>
  message.replace(/; check source_path$/, "").replace("the source folder ", "")

/** Why this cannot be the source, if anything. `live`: it is read as it is. */
export const sourceProblem = ({ dataset, path }: FolderPlace, live: boolean): string | undefined =>
  dataset === undefined && !live
    ? `${path} is not on ZFS: give a folder that is, or --live to have it read as it is, without snapshots`
    : undefined

/** Why archives cannot go there, if anything. */
export const targetProblem = Effect.fnUntraced(function* (target: FolderPlace, source: FolderPlace | undefined) {
  if (source !== undefined && (target.path === source.path || target.path.startsWith(`${source.path}/`))) {
    return `${target.path} lies inside the source ${source.path}: archives would be archived again`
  }
  return yield* Effect.match((yield* Disk).writable(target.path), {
    onSuccess: () => undefined,
    onFailure: ({ message }) => message
  })
})

/** Warnings about the two together. */
export const remarks = (source: FolderPlace, target: FolderPlace): ReadonlyArray<string> => {
  if (source.dataset === undefined || target.dataset === undefined) return []
  if (source.dataset === target.dataset) {
    return [
      `source and target are on one dataset, ${source.dataset}: its snapshots hold old archives too; a dataset of its own for the target is better`
    ]
  }
  return poolOf(source.dataset) === poolOf(target.dataset)
    ? [
        `source and target are on one pool, ${poolOf(source.dataset)}: when that pool is lost, both are; zipper push can send the archives elsewhere`
      ]
    : []
}

/** Which folders of the source are archived, a line each; the first says that there are none where `none`, or why none is known. */
export const choiceAt = Effect.fnUntraced(
  function* (path: string, pattern: string) {
    const { matching, others, unsafe } = yield* chooseFolders(path, wholeName(pattern))
    const none = `no folder in ${path} has a name that ${nameRule(pattern)}`
    return {
      none: matching.length === 0,
      others,
      lines: [
        matching.length === 0 ? none : `folders to archive: ${someNames(matching)}`,
        ...(others.length === 0 ? [] : [`not to archive, by "folders": ${someNames(others)}`]),
        ...(unsafe.length === 0 ? [] : [`not to archive before they are renamed: ${someNames(unsafe)}`])
      ]
    }
  },
  Effect.catchAll(({ message }) => Effect.succeed({ lines: [message], none: true, others: [] }))
)

/** The options of `config init`. */
export interface InitFlags {
  readonly source: string | undefined
  readonly target: string | undefined
  readonly folders: string | undefined
  readonly tmpDir: string | undefined
  readonly live: boolean
  readonly gotifyUrl: string | undefined
  readonly gotifyTokenFile: string | undefined
  readonly notifySuccess: boolean
}

/** The answers that these options give, by the rules for typed ones. Fails with all mistakes at once, a line each, by option. */
export const answersFrom = Effect.fn("ConfigByOptions")(function* (flags: InitFlags, tokenGiven: boolean) {
  const { folders, gotifyTokenFile, gotifyUrl, live, notifySuccess, source, target, tmpDir } = flags
  const answers: Answers = {
    source_path: source,
    target_path: target,
    folders,
    tmp_dir: tmpDir,
    snapshots: live ? "live" : undefined,
    ...(gotifyUrl === undefined
      ? {}
      : {
          gotify: { url: gotifyUrl, token_file: gotifyTokenFile },
          notify_on: notifySuccess ? ["failure", "success", "recovery"] : ["failure", "recovery"]
        })
  }
  const wrong = mistakesIn(answers, tokenGiven)
  const isWrong = (key: string) => wrong.some((line) => line.startsWith(`${key}:`))
  // What is no path at all is not looked at.
  const look = (key: string, path: string | undefined) =>
    Effect.either(path === undefined || isWrong(key) ? Effect.succeed(undefined) : resolveFolder(path))
  const from = yield* look("source_path", source)
  const to = yield* look("target_path", target)
  const tmp = yield* look("tmp_dir", tmpDir)
  const sourcePlace = Either.getOrUndefined(from)
  const targetPlace = Either.getOrUndefined(to)
  const problemOf = (place: typeof from) => Option.getOrUndefined(Either.getLeft(place))
  const tokenMistake =
    gotifyTokenFile === undefined || isWrong("gotify.token_file")
      ? undefined
      : yield* (yield* ConfigFile).tokenMistake(gotifyTokenFile)
  const found = {
    "--source": problemOf(from) ?? (sourcePlace && sourceProblem(sourcePlace, live)),
    "--target": problemOf(to) ?? (targetPlace && (yield* targetProblem(targetPlace, sourcePlace))),
    "--tmp-dir": problemOf(tmp),
    "--gotify-token-file": tokenMistake && `${gotifyTokenFile}: ${tokenMistake}`
  }
  const problems = [
    ...(source === undefined ? ["--source: is missing; give the folder to archive"] : []),
    ...(target === undefined ? ["--target: is missing; give the folder for the archives"] : []),
    ...wrong.map(byOption),
    ...(gotifyUrl === undefined && (gotifyTokenFile !== undefined || notifySuccess)
      ? ["--gotify-url: is missing; --gotify-token-file and --notify-success go with it"]
      : []),
    ...Object.entries(found).flatMap(([option, problem]) => (problem === undefined ? [] : [`${option}: ${problem}`]))
  ]
  if (problems.length > 0) return yield* Effect.fail(problems)
  if (sourcePlace !== undefined && targetPlace !== undefined) {
    yield* Effect.forEach(remarks(sourcePlace, targetPlace), (line) => Effect.logWarning(line))
    const { lines, none, others } = yield* choiceAt(sourcePlace.path, folders ?? defaultFolders)
    yield* Effect.forEach(lines, (line) => (none ? Effect.logWarning(line) : Effect.logInfo(line)))
    if (none && others.length > 0) {
      yield* Effect.logWarning(`set "folders" in the configuration: "${everyFolder}" takes every folder`)
    }
  }
  return answers
})

const optionOf: Readonly<Record<string, string>> = {
  source_path: "--source",
  target_path: "--target",
  folders: "--folders",
  tmp_dir: "--tmp-dir",
  "gotify.url": "--gotify-url",
  "gotify.token_file": "--gotify-token-file"
}

const keys = new RegExp(Object.keys(optionOf).join("|").replaceAll(".", "\\."), "g")

/** A line of the configuration's rules, with the options in place of the keys. */
const byOption = (line: string): string => {
  const key = line.slice(0, line.indexOf(":"))
  if (key === "gotify.token") {
    return `--gotify-token-file: is missing; give the file that holds the token, or set ${tokenVariable}`
  }
  // Not in the values, which are quoted.
  return line
    .split(/("(?:[^"\\]|\\.)*")/)
    .map((part, index) => (index % 2 === 1 ? part : part.replace(keys, (name) => optionOf[name] ?? name)))
    .join("")
}
