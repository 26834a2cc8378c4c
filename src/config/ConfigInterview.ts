import { readdirSync } from "node:fs"
import { createInterface, type Interface } from "node:readline"
import { Writable } from "node:stream"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { valueOr } from "../system/Errno.ts"
import { bytes, withoutControls } from "../text/Text.ts"
import { Datasets, type MountedDataset } from "../zfs/Datasets.ts"
import { defaultFolders, everyFolder } from "./Config.ts"
import type { Answers } from "./ConfigExample.ts"
import {
  choiceAt,
  type FolderPlace,
  mistakesIn,
  remarks,
  resolveFolder,
  sourceProblem,
  targetProblem
} from "./ConfigInit.ts"

/** The user ended the input (Ctrl-D), or the terminal is gone. */
export class QuestionsError extends Data.TaggedError("QuestionsError")<{ readonly message: string }> {}

/** Asks the user at the terminal, a line each: it works on a serial console, with TERM=dumb and without UTF-8. */
export class Questions extends Context.Tag("zipper/Questions")<
  Questions,
  {
    /** Shows text above the next question. */
    readonly say: (text: string) => Effect.Effect<void>
    /** The answer without the space around it; `otherwise` when it is empty. */
    readonly ask: (question: string, otherwise?: string) => Effect.Effect<string, QuestionsError>
    /** The same, but what is typed is not shown. */
    readonly secret: (question: string) => Effect.Effect<Redacted.Redacted, QuestionsError>
  }
>() {
  /** Standard input, and standard error for what is shown. */
  static readonly layer: Layer.Layer<Questions> = Layer.sync(Questions, () => {
    // Further lines of a paste.
    const early: Array<string> = []
    return {
      say: (text) => Effect.sync(() => process.stderr.write(`${withoutControls(text)}\n`)),
      ask: (question, otherwise = "") =>
        Effect.map(
          readLine(`${question}${otherwise === "" ? "" : ` [${otherwise}]`}: `, false, early),
          (line) => line.trim() || otherwise
        ),
      secret: (question) => Effect.map(readLine(`${question}: `, true, early), (line) => Redacted.make(line))
    }
  })
}

const trimmed = (secret: Redacted.Redacted) => Redacted.make(Redacted.value(secret).trim())

/** The message of a {@link QuestionsError}. */
export const noAnswer = "the questions were not answered to their end"

const readLine = (prompt: string, hidden: boolean, early: Array<string>): Effect.Effect<string, QuestionsError> =>
  Effect.async((resume) => {
    const show = (end = "") => process.stderr.write(`${withoutControls(prompt)}${end}`)
    const waiting = early.shift()
    if (waiting !== undefined) {
      show("\n")
      resume(Effect.succeed(waiting))
      return
    }
    if (!hidden) show()
    const reader = open(prompt, hidden)
    // Not before: until the reader has taken it over, the terminal shows what is typed.
    if (hidden) show()
    let answered = false
    reader.on("line", (line) => {
      if (answered) early.push(line)
      else {
        answered = true
        if (hidden) process.stderr.write("\n")
        resume(
          Effect.as(
            Effect.sync(() => reader.close()),
            hidden ? erased(line) : line
          )
        )
      }
    })
    reader.on("close", () => {
      if (answered) return
      process.stderr.write("\n")
      resume(new QuestionsError({ message: noAnswer }))
    })
    reader.on("SIGINT", () => process.kill(process.pid, "SIGINT"))
    return Effect.sync(() => {
      answered = true
      reader.close()
      process.stderr.write("\n")
    })
  })

/** A dumb terminal edits its lines itself, unless they are hidden: then readline reads the keys. */
const open = (prompt: string, hidden: boolean): Interface => {
  const reader = createInterface({
    input: process.stdin,
    output: hidden ? new Writable({ write: (_chunk, _encoding, done) => done() }) : process.stderr,
    terminal: hidden || process.env["TERM"] !== "dumb",
    ...(hidden ? {} : { completer: completePath }),
    historySize: 0
  })
  // The prompt is on the screen; readline has to know its width.
  if (!hidden && reader.terminal) {
    reader.setPrompt(withoutControls(prompt))
    process.stderr.write("\r")
    reader.prompt()
  }
  return reader
}

/** The Tab key completes folders. */
const completePath = (line: string): [Array<string>, string] => {
  if (!line.startsWith("/")) return [[], line]
  const folder = line.slice(0, line.lastIndexOf("/") + 1)
  const found = valueOr(() => readdirSync(folder, { withFileTypes: true }), [])
    .filter((each) => each.isDirectory() && `${folder}${each.name}`.startsWith(line))
    .map(({ name }) => `${folder}${name}/`)
  return [found, line]
}

/** Applies the erase keys that a dumb terminal leaves in the line. */
const erased = (line: string): string => {
  const characters: Array<string> = []
  for (const character of line) {
    if (character === "\x7f" || character === "\b") characters.pop()
    else characters.push(character)
  }
  return characters.join("")
}

/** Asks for source, target and Gotify, each again until the rules of the configuration accept it. Writes nothing. */
export const interview = Effect.fn("ConfigInit.interview")(function* (given: {
  readonly tokenGiven: boolean
  /** Places of lock and log, where the usual ones cannot be used. */
  readonly own: Pick<Answers, "lockfile_path" | "log_file">
}) {
  const { say } = yield* Questions
  const datasets = yield* Datasets
  const listed = yield* datasets.mounted.pipe(
    Effect.tapError(({ message }) => Effect.logDebug(`no list of datasets: ${message}`)),
    Effect.orElseSucceed((): ReadonlyArray<MountedDataset> => [])
  )
  yield* say("Nothing is written before the last question is answered; Ctrl-C ends it.")
  const source = yield* askSource(listed)
  const folders = yield* askFolders(source.place.path)
  const target = yield* askTarget(listed, source)
  const gotify = yield* askGotify(given.tokenGiven)
  return { ...given.own, ...source.answers, ...folders, ...target, ...gotify } satisfies Answers
})

const askSource = Effect.fnUntraced(function* (listed: ReadonlyArray<MountedDataset>) {
  const { ask, say } = yield* Questions
  yield* say("\nSource: each folder in it becomes a zip, if its name is four capital letters or digits")
  yield* say("(ABCD, PH01) or as you say next. The mount point of a dataset, or a folder inside one.")
  yield* showList(listed)
  for (;;) {
    const path = pathOf(yield* ask(questionFor("Source", listed)), listed)
    const wrong = mistakesIn({ source_path: path }, true, ["source_path"])
    const place = yield* Effect.either(wrong.length > 0 ? Effect.fail(wrong.join("\n")) : resolveFolder(path))
    if (place._tag === "Left") {
      yield* say(place.left)
      continue
    }
    if (sourceProblem(place.right, false) === undefined) {
      return { answers: { source_path: path }, place: place.right }
    }
    yield* say(`${path} is not on ZFS. It can be read live, without snapshots: a file that changes`)
    yield* say("meanwhile fails its folder, which is tried again.")
    if (yield* confirm("Read it live?")) {
      return { answers: { source_path: path, snapshots: "live" as const }, place: place.right }
    }
  }
})

/** Asks only where the usual rule takes none of the folders that are there. */
const askFolders = Effect.fnUntraced(function* (path: string) {
  const { ask, say } = yield* Questions
  let folders = defaultFolders
  for (;;) {
    const { lines, none, others } = yield* choiceAt(path, folders)
    yield* Effect.forEach(lines, (line) => say(`Note: ${line}.`))
    if (!none || others.length === 0) return folders === defaultFolders ? {} : { folders }
    for (;;) {
      folders = yield* ask("Which of them, a regular expression for the whole name", everyFolder)
      const wrong = mistakesIn({ folders }, true, ["folders"])
      if (wrong.length === 0) break
      yield* say(wrong.join("\n"))
    }
  }
})

const askTarget = Effect.fnUntraced(function* (
  all: ReadonlyArray<MountedDataset>,
  source: { readonly answers: Pick<Answers, "source_path">; readonly place: FolderPlace }
) {
  const { ask, say } = yield* Questions
  const inside = `${source.place.path}/`
  const listed = all.filter(({ mountpoint }) => !`${mountpoint}/`.startsWith(inside))
  yield* say("\nTarget: a folder for the zips. It has to exist, and not inside the source.")
  yield* showList(listed)
  for (;;) {
    const path = pathOf(yield* ask(questionFor("Target", listed)), listed)
    const wrong = mistakesIn({ ...source.answers, target_path: path }, true, ["target_path"])
    const place = yield* Effect.either(wrong.length > 0 ? Effect.fail(wrong.join("\n")) : resolveFolder(path))
    const problem = place._tag === "Left" ? place.left : yield* targetProblem(place.right, source.place)
    if (problem !== undefined) yield* say(problem)
    if (place._tag === "Left" || problem !== undefined) continue
    yield* Effect.forEach(remarks(source.place, place.right), (line) => say(`Note: ${line}.`))
    return { target_path: path }
  }
})

const askGotify = Effect.fnUntraced(function* (tokenGiven: boolean) {
  const { ask, say, secret } = yield* Questions
  yield* say("\nGotify: who tells you of a failure. The address ends in /message; Enter for none.")
  for (;;) {
    const url = yield* ask("Gotify")
    if (url === "") return {}
    const wrong = mistakesIn({ gotify: { url } }, true, ["gotify"])
    if (wrong.length > 0) {
      yield* say(wrong.join("\n"))
      continue
    }
    if (tokenGiven) yield* say("The token comes from ZIPPER_GOTIFY_TOKEN, which cron has to set too.")
    for (;;) {
      const token = tokenGiven ? undefined : trimmed(yield* secret("Token of the application (is not shown)"))
      const gotify = token === undefined ? { url } : { url, token }
      const mistakes =
        token !== undefined && Redacted.value(token) === ""
          ? ["a token is needed: Gotify shows it under Apps"]
          : mistakesIn({ gotify }, tokenGiven, ["gotify"])
      if (mistakes.length > 0) {
        yield* say(mistakes.join("\n"))
        continue
      }
      const notify_on = (yield* confirm("A message after every run that went well, too?"))
        ? (["failure", "success", "recovery"] as const)
        : (["failure", "recovery"] as const)
      return { gotify, notify_on }
    }
  }
})

const confirm = Effect.fnUntraced(function* (question: string) {
  const { ask, say } = yield* Questions
  for (;;) {
    const answer = (yield* ask(`${question} y/n`, "n")).toLowerCase()
    if (answer === "y" || answer === "yes") return true
    if (answer === "n" || answer === "no") return false
    yield* say("y or n, please")
  }
})

const questionFor = (what: string, listed: ReadonlyArray<MountedDataset>): string =>
  listed.length === 0 ? `${what}, a path` : `${what}, a number or a path`

const pathOf = (answer: string, listed: ReadonlyArray<MountedDataset>): string =>
  (/^[1-9][0-9]*$/.test(answer) ? listed[Number(answer) - 1]?.mountpoint : undefined) ?? answer

const most = 40

const showList = Effect.fnUntraced(function* (listed: ReadonlyArray<MountedDataset>) {
  const { say } = yield* Questions
  const shown = listed.slice(0, most)
  const width = Math.max(0, ...shown.map(({ name }) => name.length))
  for (const [index, { mountpoint, name, used }] of shown.entries()) {
    yield* say(`  ${String(index + 1).padStart(2)}  ${name.padEnd(width)}  ${bytes(used).padStart(10)}  ${mountpoint}`)
  }
  if (listed.length > most) yield* say(`  and ${listed.length - most} more, by their path`)
})
