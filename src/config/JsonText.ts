import * as Either from "effect/Either"
import * as jsonc from "jsonc-parser"

/** A mistake in the text of a configuration: it has line and column, and never shows the text, which may hold a secret. */
export interface JsonMistake {
  /** From 1. */
  readonly line: number
  /** In characters, from 1. */
  readonly column: number
  readonly message: string
}

/** What a text holds. */
interface JsonDocument {
  readonly value: unknown
  /**
   * What JSON allows and a configuration must not have: a key that is twice in one object, an invisible character in a key or at
   * either end of a text.
   */
  readonly mistakes: ReadonlyArray<JsonMistake>
}

/** The value of JSON with comments and trailing commas, as jsonc-parser reads it. Left: where it is no such text. */
export const parse = (text: string): Either.Either<JsonDocument, JsonMistake> => {
  const errors: Array<jsonc.ParseError> = []
  const mistakes: Array<JsonMistake> = []
  const add = (offset: number, message: string) => mistakes.push(mistakeAt(text, offset, message))
  try {
    const root = jsonc.parseTree(text, errors, { allowTrailingComma: true })
    const [error] = errors
    if (error !== undefined) return Either.left(syntaxMistake(text, error))
    return Either.right({ value: valueOf(text, root, add), mistakes })
  } catch (cause) {
    // The parser follows nested values by recursion.
    if (cause instanceof RangeError) return Either.left(mistakeAt(text, 0, "nested too deeply"))
    throw cause
  }
}

const mistakeAt = (text: string, offset: number, message: string): JsonMistake => {
  const before = text.slice(0, offset).split("\n")
  return { line: before.length, column: Array.from(before.at(-1) ?? "").length + 1, message }
}

/** Spaces that look like the usual one, and characters that show nothing at all: they come with what is pasted. */
const invisible = /[\u0085\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u2069\u3000\ufeff]/
const quotes = /[\u00ab\u00bb\u2018-\u201f\u2039\u203a]/

const names: Readonly<Record<string, string>> = {
  "\u00a0": "a no-break space",
  "\u202f": "a narrow no-break space",
  "\u200b": "a zero-width space",
  "\u3000": "an ideographic space",
  "\ufeff": "a byte order mark"
}

const nameOf = (character: string): string => {
  const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")
  return `${names[character] ?? (quotes.test(character) ? "a typographic quote" : "an invisible character")} (U+${code})`
}

/** A key by its name if it looks like one; otherwise it may be a secret. */
const named = (key: string | undefined): string => (/^[a-z][a-z_]*$/.test(key ?? "") ? ` "${key}"` : "")

const keyExpected = 'a key in double quotes, such as "retries", should be here'
const valueExpected = "a value should be here: a number, text in double quotes, true, false, null, { or ["
const notANumber = "not a number as JSON writes it"

const syntaxMistake = (text: string, error: jsonc.ParseError): JsonMistake => {
  // What the parser takes for a word may end in a character that cannot be seen.
  const word =
    jsonc.printParseErrorCode(error.error) === "InvalidSymbol"
      ? text.slice(error.offset, error.offset + error.length)
      : text.charAt(error.offset)
  const odd = /[^\x00-\x7f]/.exec(word)
  if (odd !== null && (invisible.test(odd[0]) || quotes.test(odd[0]))) {
    const advice = quotes.test(odd[0]) ? 'text must stand in " "' : "put an ordinary space in its place"
    return mistakeAt(text, error.offset + odd.index, `${nameOf(odd[0])} is here; ${advice}`)
  }
  return mistakeAt(text, error.offset, syntaxMessage(text, error))
}

const syntaxMessage = (text: string, { error, length, offset }: jsonc.ParseError): string => {
  const next = text.charAt(offset)
  const atEnd = text.slice(offset).trim() === ""
  const close = typeof jsonc.getLocation(text, offset).path.at(-1) === "number" ? "]" : "}"
  switch (jsonc.printParseErrorCode(error)) {
    case "InvalidSymbol":
      if (/^\s*:/.test(text.slice(offset + length))) return keyExpected
      if (next === "'") return "text must stand in double quotes"
      return /[-+.\d]/.test(next) ? notANumber : valueExpected
    case "InvalidNumberFormat":
    case "UnexpectedEndOfNumber":
      return notANumber
    case "PropertyNameExpected":
      return keyExpected
    case "ValueExpected":
      return atEnd ? "the text ends where a value should be" : valueExpected
    case "ColonExpected":
      return `a colon should follow the key${named(/"([^"]*)"\s*$/.exec(text.slice(0, offset))?.[1])}`
    case "CommaExpected":
    case "CloseBraceExpected":
    case "CloseBracketExpected":
      if (/\d[-+.\w]/.test(text.slice(Math.max(0, offset - 1), offset + 1))) return notANumber
      return atEnd ? `the text ends before the closing ${close}` : `a comma or ${close} should be here`
    case "EndOfFileExpected":
      return "the document should end here, but there is more text"
    case "UnexpectedEndOfComment":
      return "this comment has no end"
    case "UnexpectedEndOfString":
      return "this text has no closing double quote"
    case "InvalidUnicode":
    case "InvalidEscapeCharacter":
      return "not an escape that JSON knows (a backslash itself is written \\\\)"
    case "InvalidCharacter":
      return "a control character must be written as an escape, such as \\t"
    default:
      return "not JSON"
  }
}

const valueOf = (
  text: string,
  node: jsonc.Node | undefined,
  add: (offset: number, message: string) => void
): unknown => {
  switch (node?.type) {
    case "object": {
      const value = {}
      for (const { children: [key, content] = [] } of node.children ?? []) {
        if (key === undefined) continue
        const name = String(key.value)
        const hidden = invisible.exec(text.slice(key.offset, key.offset + key.length))
        if (hidden !== null) add(key.offset + hidden.index, `${nameOf(hidden[0])} is in the key; take it out`)
        if (Object.hasOwn(value, name)) add(key.offset, `the key${named(name)} is here a second time`)
        // Not an assignment: a key called __proto__ is a key like any other.
        Object.defineProperty(value, name, {
          value: valueOf(text, content, add),
          enumerable: true,
          configurable: true,
          writable: true
        })
      }
      return value
    }
    case "array":
      return (node.children ?? []).map((child) => valueOf(text, child, add))
    case "string":
      checkEnds(text, node, add)
      return node.value
    default:
      return node?.value
  }
}

/** An invisible character at either end of a text is part of a path or a token that was pasted. */
const checkEnds = (text: string, { length, offset }: jsonc.Node, add: (offset: number, message: string) => void) => {
  for (const [edge, verb] of [
    [offset + 1, "begins"],
    [offset + length - 2, "ends"]
  ] as const) {
    const character = text.charAt(edge)
    if (!invisible.test(character)) continue
    const code = character.charCodeAt(0).toString(16).padStart(4, "0")
    add(edge, `${nameOf(character)} ${verb} this text; take it out, or write it as \\u${code}`)
  }
}
