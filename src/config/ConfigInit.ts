import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Disk } from "../system/Disk.ts"
import { tokenVariable } from "../system/Environment.ts"
import { poolOf } from "../zfs/DatasetName.ts"
import { Datasets } from "../zfs/Datasets.ts"
import { decode } from "./Config.ts"
import { type Answers, answered, commentedExample } from "./ConfigExample.ts"
import { ConfigFile } from "./ConfigFile.ts"

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
  if (!same) yield* writeNew(disk, example, explained)
  yield* writeNew(disk, path, content).pipe(
    Effect.onError(() => (same ? Effect.void : Effect.orDie(disk.remove(example))))
  )
  return { file: path, example } satisfies Written
}, Effect.uninterruptible)

// A part of it may be there when that fails.
const writeNew = (disk: typeof Disk.Service, path: string, content: string) =>
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

/** What was found where a path points. */
export interface Place {
  /** Without symlinks. */
  readonly path: string
  /** The dataset that holds it; undefined when none does. */
  readonly dataset: string | undefined
}

/** A folder that is there, and its dataset. Fails with what is wrong, in words. */
export const lookAt = Effect.fnUntraced(function* (path: string) {
  const datasets = yield* Datasets
  const resolved = yield* datasets.resolve(path).pipe(Effect.mapError(({ message }) => plainly(message)))
  const dataset = yield* datasets.holding(path).pipe(
    Effect.catchIf(
      ({ reason }) => reason === "NotZfs" || reason === "NotInstalled",
      () => Effect.succeed(undefined)
    ),
    Effect.mapError(({ message }) => plainly(message))
  )
  return { path: resolved, dataset } satisfies Place
})

// The advice is for somebody who has a configuration already.
const plainly = (message: string): string =>
  message.replace(/; check source_path$/, "").replace("the source folder ", "")

/** Why this cannot be the source; undefined when it can. `live`: it is read as it is. */
export const sourceProblem = ({ dataset, path }: Place, live: boolean): string | undefined =>
  dataset === undefined && !live
    ? `${path} is not on ZFS: give a folder that is, or --live to have it read as it is, without snapshots`
    : undefined

/** Why archives cannot go there; undefined when they can. */
export const targetProblem = Effect.fnUntraced(function* (target: Place, source: Place | undefined) {
  if (source !== undefined && (target.path === source.path || target.path.startsWith(`${source.path}/`))) {
    return `${target.path} lies inside the source ${source.path}: archives would be archived again`
  }
  return yield* Effect.match((yield* Disk).writable(target.path), {
    onSuccess: () => undefined,
    onFailure: ({ message }) => message
  })
})

/** What should be known of the two together, though it is no mistake. */
export const remarks = (source: Place, target: Place): ReadonlyArray<string> => {
  if (source.dataset === undefined || target.dataset === undefined) return []
  if (source.dataset === target.dataset) {
    return [
      `source and target are on one dataset, ${source.dataset}: its snapshots hold old archives too; a dataset of its own for the target is better`
    ]
  }
  return poolOf(source.dataset) === poolOf(target.dataset)
    ? [
        `source and target are on one pool, ${poolOf(source.dataset)}: whoever loses that pool loses both; zipper push can send the archives elsewhere`
      ]
    : []
}

/** What `config init` was given on the command line. */
export interface Given {
  readonly source: string | undefined
  readonly target: string | undefined
  readonly tmpDir: string | undefined
  readonly live: boolean
  readonly gotifyUrl: string | undefined
  readonly gotifyTokenFile: string | undefined
  readonly notifySuccess: boolean
}

/**
 * The answers that these options come to, by the same rules as for what is typed. Fails with all mistakes at once, a line each,
 * by the names of the options.
 */
export const answersFrom = Effect.fn("ConfigByOptions")(function* (given: Given, tokenGiven: boolean) {
  const { gotifyTokenFile, live, source, target, tmpDir } = given
  const answers = answersOf(given)
  const wrong = mistakesIn(answers, tokenGiven)
  const isWrong = (key: string) => wrong.some((line) => line.startsWith(`${key}:`))
  // What is no path at all is not looked at.
  const look = (key: string, path: string | undefined) =>
    path === undefined || isWrong(key) ? Effect.succeed(undefined) : Effect.either(lookAt(path))
  const from = yield* look("source_path", source)
  const to = yield* look("target_path", target)
  const tmp = yield* look("tmp_dir", tmpDir)
  const origin = from === undefined ? undefined : Either.getOrUndefined(from)
  const problems = [
    ...(source === undefined ? ["--source: is missing; give the folder to archive"] : []),
    ...(target === undefined ? ["--target: is missing; give the folder for the archives"] : []),
    ...wrong.map(inOptions),
    ...stray(given),
    ...told(
      "--source",
      from === undefined
        ? undefined
        : Either.match(from, {
            onLeft: (why) => why,
            onRight: (place) => sourceProblem(place, live)
          })
    ),
    ...told(
      "--target",
      to === undefined ? undefined : Either.isLeft(to) ? to.left : yield* targetProblem(to.right, origin)
    ),
    ...told("--tmp-dir", tmp !== undefined && Either.isLeft(tmp) ? tmp.left : undefined),
    ...told(
      "--gotify-token-file",
      gotifyTokenFile === undefined || isWrong("gotify.token_file")
        ? undefined
        : yield* tokenMistake(gotifyTokenFile)
    )
  ]
  if (problems.length > 0) return yield* Effect.fail(problems)
  if (origin !== undefined && to !== undefined && Either.isRight(to)) {
    yield* Effect.forEach(remarks(origin, to.right), (line) => Effect.logWarning(line))
  }
  return answers
})

const answersOf = (given: Given): Answers => {
  const { gotifyTokenFile, gotifyUrl, live, notifySuccess, source, target, tmpDir } = given
  return {
    ...(source === undefined ? {} : { source_path: source }),
    ...(target === undefined ? {} : { target_path: target }),
    ...(tmpDir === undefined ? {} : { tmp_dir: tmpDir }),
    ...(live ? { snapshots: "live" } : {}),
    ...(gotifyUrl === undefined
      ? {}
      : {
          gotify: {
            url: gotifyUrl,
            ...(gotifyTokenFile === undefined ? {} : { token_file: gotifyTokenFile })
          },
          notify_on: notifySuccess ? ["failure", "success", "recovery"] : ["failure", "recovery"]
        })
  }
}

const stray = ({ gotifyTokenFile, gotifyUrl, notifySuccess }: Given): ReadonlyArray<string> =>
  gotifyUrl === undefined && (gotifyTokenFile !== undefined || notifySuccess)
    ? ["--gotify-url: is missing; --gotify-token-file and --notify-success go with it"]
    : []

const tokenMistake = Effect.fnUntraced(function* (path: string) {
  const mistake = yield* (yield* ConfigFile).tokenMistake(path)
  return mistake === undefined ? undefined : `${path}: ${mistake}`
})

const told = (option: string, problem: string | undefined): ReadonlyArray<string> =>
  problem === undefined ? [] : [`${option}: ${problem}`]

const optionOf: Readonly<Record<string, string>> = {
  source_path: "--source",
  target_path: "--target",
  tmp_dir: "--tmp-dir",
  "gotify.url": "--gotify-url",
  "gotify.token_file": "--gotify-token-file"
}

const keys = new RegExp(Object.keys(optionOf).join("|").replaceAll(".", "\\."), "g")

/** A line of the configuration's rules, by the option that the value came from. */
const inOptions = (line: string): string => {
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
