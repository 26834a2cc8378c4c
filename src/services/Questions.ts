import { readdirSync } from "node:fs"
import { createInterface, type Interface } from "node:readline"
import { Writable } from "node:stream"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { harmless } from "../domain/Text.ts"

/** There will be no answer: the person ended the input (Ctrl-D), or went away. */
export class QuestionsError extends Data.TaggedError("QuestionsError")<{ readonly message: string }> {}

/**
 * Asks the person at the terminal, a line each, so that it works on any of them: a serial console, TERM=dumb, a locale
 * without UTF-8. An interruption gives the terminal back as it was; Ctrl-C is the signal that it is anywhere.
 */
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
    // Lines that came with the one before, as when several are pasted.
    const early: Array<string> = []
    return {
      say: (text) => Effect.sync(() => process.stderr.write(`${harmless(text)}\n`)),
      ask: (question, otherwise = "") =>
        Effect.map(
          readLine(`${question}${otherwise === "" ? "" : ` [${otherwise}]`}: `, false, early),
          (line) => line.trim() || otherwise
        ),
      secret: (question) =>
        Effect.map(readLine(`${question}: `, true, early), (line) => Redacted.make(line.trim()))
    }
  })
}

/** The message of a {@link QuestionsError}. */
export const noAnswer = "the questions were not answered to their end"

const readLine = (
  prompt: string,
  hidden: boolean,
  early: Array<string>
): Effect.Effect<string, QuestionsError> =>
  Effect.async((resume) => {
    process.stderr.write(harmless(prompt))
    const waiting = early.shift()
    if (waiting !== undefined) {
      process.stderr.write("\n")
      resume(Effect.succeed(waiting))
      return
    }
    const reader = open(prompt, hidden)
    let answered = false
    reader.on("line", (line) => {
      if (answered) early.push(line)
      else {
        answered = true
        if (hidden) process.stderr.write("\n")
        resume(Effect.as(closed(reader), hidden ? erased(line) : line))
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

const closed = (reader: Interface) => Effect.sync(() => reader.close())

/** A dumb terminal edits its lines by itself, unless they are hidden: then readline takes the keys as they are. */
const open = (prompt: string, hidden: boolean): Interface => {
  const reader = createInterface({
    input: process.stdin,
    output: hidden ? nowhere() : process.stderr,
    terminal: hidden || process.env["TERM"] !== "dumb",
    ...(hidden ? {} : { completer: completePath }),
    historySize: 0
  })
  // It is shown already; this tells readline where the line begins.
  if (!hidden && reader.terminal) {
    reader.setPrompt(harmless(prompt))
    process.stderr.write("\r")
    reader.prompt()
  }
  return reader
}

/** For the Tab key: the folders that a path may go on with. */
const completePath = (line: string): [Array<string>, string] => {
  if (!line.startsWith("/")) return [[], line]
  const folder = line.slice(0, line.lastIndexOf("/") + 1)
  try {
    const found = readdirSync(folder, { withFileTypes: true })
      .filter((each) => each.isDirectory() && `${folder}${each.name}`.startsWith(line))
      .map(({ name }) => `${folder}${name}/`)
    return [found, line]
  } catch {
    // No such folder, or not for us: nothing to offer.
    return [[], line]
  }
}

const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() })

/** What a dumb terminal's keys for erasing leave in the line. */
const erased = (line: string): string => {
  const characters: Array<string> = []
  for (const character of line) {
    if (character === "\x7f" || character === "\b") characters.pop()
    else characters.push(character)
  }
  return characters.join("")
}
