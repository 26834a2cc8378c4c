import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as JsonText from "../../src/config/JsonText.ts"

const mistakes = (text: string): ReadonlyArray<string> => {
  const parsed = JsonText.parse(text)
  const found = Either.isLeft(parsed) ? [parsed.left] : parsed.right.mistakes
  return found.map(({ column, line, message }) => `${line}:${column} ${message}`)
}

const mistake = (text: string): string => mistakes(text)[0] ?? "no mistake"

const valueOf = (text: string): unknown => Either.getOrThrow(JsonText.parse(text)).value

const byLibrary = (text: string) => Either.try(() => JSON.parse(text) as unknown)

describe("JsonText", () => {
  it("reads what JSON.parse reads", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.jsonValue(), FastCheck.constantFrom(undefined, 2, "\t"), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent)
        assert.deepStrictEqual(valueOf(text), JSON.parse(text))
      })
    )
    const odd = '{"__proto__": {"a": [1, -0.5e3]}, "\\u00e9\\n\\"": null}'
    assert.deepStrictEqual(valueOf(odd), JSON.parse(odd))
  })

  it("reads comments and trailing commas", () => {
    const text = '// first\n{ "a": [1, 2,], /* between */ "b": "// no comment", } // last'
    assert.deepStrictEqual(valueOf(text), { a: [1, 2], b: "// no comment" })
    assert.deepStrictEqual(mistakes(text), [])
  })

  it("refuses what JSON.parse refuses, but for trailing commas", () => {
    const piece = FastCheck.constantFrom(
      ..."{}[]:,",
      ' "a"',
      '"b"',
      "1",
      "-",
      "0",
      "01",
      ".5",
      "1e",
      "true",
      "nul",
      "'",
      '"',
      "\\",
      "\n",
      "#",
      "\u00a0"
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.array(piece, { maxLength: 8 }), (pieces) => {
        const text = pieces.join("")
        const without = text.replace(/(?<=[^\s[{,:]\s*),(\s*[}\]])/g, "$1")
        assert.strictEqual(
          Either.isRight(JsonText.parse(text)),
          Either.isRight(byLibrary(without)),
          JSON.stringify(text)
        )
      }),
      { numRuns: 3000 }
    )
  })

  it("says where and what, in plain words", () => {
    assert.deepStrictEqual(
      [
        '{\n  "a": 1\n  "b": 2\n}',
        '{"a": 1} 2',
        '{"a": tru}',
        "{'a': 1}",
        '{"a": 1, "a": 2}',
        '{"a": 1 /* x',
        '{"a": "x\n"}',
        '{"a": 01}',
        '{"a": "C:\\x"}',
        '{"é": [1, 2',
        "",
        '{"token" "hush"}',
        '{"token": "a", "A.hush9"}'
      ].map(mistake),
      [
        "3:3 a comma or } should be here",
        "1:10 the document should end here, but there is more text",
        "1:7 a value should be here: a number, text in double quotes, true, false, null, { or [",
        '1:2 a key in double quotes, such as "retries", should be here',
        '1:10 the key "a" is here a second time',
        "1:9 this comment has no end",
        "1:7 this text has no closing double quote",
        "1:8 not a number as JSON writes it",
        "1:7 not an escape that JSON knows (a backslash itself is written \\\\)",
        "1:12 the text ends before the closing ]",
        "1:1 the text ends where a value should be",
        '1:10 a colon should follow the key "token"',
        // What stands there may be the token itself.
        "1:25 a colon should follow the key"
      ]
    )
  })

  it("names characters that cannot be seen, and quotes that are none", () => {
    assert.deepStrictEqual(
      [
        '{\n  "a": 1,\n\u00a0 "b": 2\n}',
        '{"a":\u202f1}',
        '{"a": 1}\u200b',
        '\ufeff{"a": 1}',
        '{\u3000"a": 1}',
        '{"a": true\u2028}',
        "{\u201ca\u201d: 1}",
        '{"a\u00a0b": 1}',
        '{"a": "/tank\u00a0"}',
        '{"a": "\ufeff/tank"}'
      ].map(mistake),
      [
        "3:1 a no-break space (U+00A0) is here; put an ordinary space in its place",
        "1:6 a narrow no-break space (U+202F) is here; put an ordinary space in its place",
        "1:9 a zero-width space (U+200B) is here; put an ordinary space in its place",
        "1:1 a byte order mark (U+FEFF) is here; put an ordinary space in its place",
        "1:2 an ideographic space (U+3000) is here; put an ordinary space in its place",
        "1:11 an invisible character (U+2028) is here; put an ordinary space in its place",
        '1:2 a typographic quote (U+201C) is here; text must stand in " "',
        "1:4 a no-break space (U+00A0) is in the key; take it out",
        "1:13 a no-break space (U+00A0) ends this text; take it out, or write it as \\u00a0",
        "1:8 a byte order mark (U+FEFF) begins this text; take it out, or write it as \\ufeff"
      ]
    )
    for (const text of ['"/tank\\u00a0"', '"/tank/a\u00a0b"', '"\u201ca\u201d"', '""']) {
      assert.deepStrictEqual(valueOf(text), JSON.parse(text))
    }
  })

  it("does not run out of stack on a hostile file", () => {
    assert.match(mistake("[".repeat(100_000)), /nested too deeply/)
  })
})
