import * as Either from "effect/Either"

/**
 * JSON as JSON.parse reads it, but a mistake has line and column and never shows the text, which may hold a secret. Also
 * mistakes: a key that is twice in one object, and an invisible character in a key or at either end of a text.
 */
export interface JsonMistake {
  /** From 1. */
  readonly line: number
  /** In characters, from 1. */
  readonly column: number
  readonly message: string
}

class Stop extends Error {
  readonly at: number
  constructor(at: number, message: string) {
    super(message)
    this.at = at
  }
}

/** The value in `text`, or its first mistake. */
export const parse = (text: string): Either.Either<unknown, JsonMistake> =>
  Either.try({
    try: () => new Reader(text).document(),
    catch: (cause) => {
      const at = cause instanceof Stop ? cause.at : 0
      const before = text.slice(0, at).split("\n")
      return {
        line: before.length,
        column: Array.from(before.at(-1) ?? "").length + 1,
        message: cause instanceof Error ? cause.message : String(cause)
      }
    }
  })

/** Keeps a hostile file from exhausting the stack. */
const maxDepth = 64

/** A text without its closing quote, up to the first character that cannot be in it. */
const stringStart = /"(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y

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
const named = (key: string): string => (/^[a-z][a-z_]*$/.test(key) ? ` "${key}"` : "")

class Reader {
  private at = 0
  private readonly text: string

  constructor(text: string) {
    this.text = text
  }

  document(): unknown {
    const value = this.value(0)
    this.space()
    if (this.at < this.text.length) this.stop("the document should end here, but there is more text")
    return value
  }

  private stop(message: string, at: number = this.at): never {
    throw new Stop(at, message)
  }

  private peek(): string {
    return this.text.charAt(this.at)
  }

  private space(): void {
    while (/^[ \t\r\n]$/.test(this.peek())) this.at += 1
    const next = this.peek()
    if (next === "#" || (next === "/" && /^\/[/*]/.test(this.text.slice(this.at, this.at + 2)))) {
      this.stop("comments are not allowed in JSON")
    }
    if (invisible.test(next)) this.stop(`${nameOf(next)} is here; put an ordinary space in its place`)
    if (quotes.test(next)) this.stop(`${nameOf(next)} is here; text must stand in " "`)
  }

  private value(depth: number): unknown {
    if (depth > maxDepth) this.stop("nested too deeply")
    this.space()
    const next = this.peek()
    if (next === "") this.stop("the text ends where a value should be")
    if (next === "{") return this.object(depth)
    if (next === "[") return this.list(depth)
    if (next === '"') return this.string()
    if (next === "'") this.stop("text must stand in double quotes")
    return this.word()
  }

  private object(depth: number): unknown {
    const value = {}
    if (this.isEmpty("}")) return value
    for (;;) {
      this.space()
      const start = this.at
      if (this.peek() === "}") this.stop("a comma before the closing } is not allowed")
      if (this.peek() !== '"') this.stop('a key in double quotes, such as "retries", should be here')
      const key = this.string()
      const hidden = invisible.exec(this.text.slice(start, this.at))
      if (hidden !== null) this.stop(`${nameOf(hidden[0])} is in the key; take it out`, start + hidden.index)
      if (Object.hasOwn(value, key)) this.stop(`the key${named(key)} is here a second time`, start)
      this.space()
      if (this.peek() !== ":") this.stop(`a colon should follow the key${named(key)}`)
      this.at += 1
      // Not an assignment: a key called __proto__ is a key like any other.
      Object.defineProperty(value, key, {
        value: this.value(depth + 1),
        enumerable: true,
        configurable: true,
        writable: true
      })
      if (this.endOr("}")) return value
    }
  }

  private list(depth: number): unknown {
    const values: Array<unknown> = []
    if (this.isEmpty("]")) return values
    for (;;) {
      this.space()
      if (this.peek() === "]") this.stop("a comma before the closing ] is not allowed")
      values.push(this.value(depth + 1))
      if (this.endOr("]")) return values
    }
  }

  /** After the opening bracket: true if the closing one follows. */
  private isEmpty(close: "}" | "]"): boolean {
    this.at += 1
    this.space()
    const empty = this.peek() === close
    if (empty) this.at += 1
    return empty
  }

  /** After a member: true at the closing bracket, false after a comma. */
  private endOr(close: "}" | "]"): boolean {
    this.space()
    const next = this.peek()
    if (next !== "," && next !== close) {
      this.stop(next === "" ? `the text ends before the closing ${close}` : `a comma or ${close} should be here`)
    }
    this.at += 1
    return next === close
  }

  private string(): string {
    const start = this.at
    stringStart.lastIndex = start
    const literal = stringStart.exec(this.text)?.[0] ?? ""
    this.at += literal.length
    const next = this.peek()
    if (next === "" || next === "\n") this.stop("this text has no closing double quote", start)
    if (next === "\\") this.stop("not an escape that JSON knows (a backslash itself is written \\\\)")
    if (next !== '"') this.stop("a control character must be written as an escape, such as \\t")
    for (const edge of [start + 1, this.at - 1]) {
      const character = this.text.charAt(edge)
      if (!invisible.test(character)) continue
      const code = character.charCodeAt(0).toString(16).padStart(4, "0")
      const place = edge === start + 1 ? "begins" : "ends"
      this.stop(`${nameOf(character)} ${place} this text; take it out, or write it as \\u${code}`, edge)
    }
    this.at += 1
    return String(JSON.parse(`${literal}"`))
  }

  private word(): unknown {
    const rest = this.text.slice(this.at, this.at + 400)
    const word = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.+-])/.exec(rest)?.[0]
    if (word !== undefined) {
      this.at += word.length
      return Number(word)
    }
    const name = /^(?:true|false|null)(?!\w)/.exec(rest)?.[0]
    if (name !== undefined) {
      this.at += name.length
      return name === "null" ? null : name === "true"
    }
    return this.stop(
      /^[-+.\d]/.test(rest)
        ? "not a number as JSON writes it"
        : "a value should be here: a number, text in double quotes, true, false, null, { or ["
    )
  }
}
