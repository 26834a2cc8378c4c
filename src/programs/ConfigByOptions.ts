import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { tokenVariable } from "../domain/ConfigContradictions.ts"
import type { Answers } from "../domain/ConfigRender.ts"
import { ConfigFile } from "../services/ConfigFile.ts"
import { mistakesIn } from "./ConfigInit.ts"
import { lookAt, remarks, sourceProblem, targetProblem } from "./ConfigPlaces.ts"

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
  const answers = written(given)
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

const written = (given: Given): Answers => {
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
