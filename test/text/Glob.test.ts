import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Glob from "../../src/text/Glob.ts"

const table: ReadonlyArray<readonly [string, ReadonlyArray<string>, ReadonlyArray<string>]> = [
  ["a", ["a", "b/a", "b/c/a"], ["ab", "a/b", "A"]],
  ["*.jpg", ["x.jpg", ".jpg", "a/b.jpg", "new\nline.jpg"], ["x.jpgx", "xjpg", "a.jpg/b"]],
  ["a/*", ["a/b", "a/"], ["a", "a/b/c", "x/a/b"]],
  ["a/**", ["a/b", "a/b/c", "a/b\nc"], ["a", "b/a/c"]],
  ["**/x", ["a/x", "a/b/x"], ["x", "a/xy"]],
  ["a?c", ["abc", "a😀c", "x/a\nc"], ["ac", "a/c", "abbc"]],
  ["[a]+(b){c}.^$|", ["[a]+(b){c}.^$|"], ["a", "aab"]],
  ["a\\b", ["ab"], ["a\\b", "a/b"]],
  ["a\\\\b", ["a\\b"], ["ab", "a\\\\b"]],
  ["a\\", ["a\\"], ["a", "a\\\\"]],
  ["what\\?", ["what?", "x/what?"], ["whats", "what\\?"]],
  ["\\*\\*.txt", ["**.txt"], ["x.txt", "*x.txt", "*.txt"]],
  ["*\\**", ["a*b", "*"], ["ab", "a\\b"]],
  ["\\\\*", ["\\", "\\a"], ["*", "a"]],
  ["a/\\😀?", ["a/😀b"], ["a/😀"]],
  ["-rf", ["-rf", "x/-rf"], ["rf"]]
]

describe("a pattern", () => {
  for (const [pattern, matching, others] of table) {
    it(`${pattern} means what it says`, () => {
      for (const matches of [Glob.matcher(pattern), Glob.pathMatcher(pattern)]) {
        for (const name of matching) assert.isTrue(matches(name), name)
        for (const name of others) assert.isFalse(matches(name), name)
      }
    })
  }

  it("of a person may begin at the top, end with a slash, and be composed in another way", () => {
    for (const pattern of ["/a", "./a", "//a/", "/a//"]) {
      assert.isTrue(Glob.pathMatcher(pattern)("a"), pattern)
      assert.isFalse(Glob.pathMatcher(pattern)("b/a"), pattern)
    }
    assert.isTrue(Glob.pathMatcher("a/")("b/a"))
    assert.isTrue(Glob.pathMatcher("./a/b")("a/b"))
    assert.isTrue(Glob.pathMatcher("caf\u00e9")("cafe\u0301"))
    assert.isTrue(Glob.pathMatcher("cafe\u0301")("caf\u00e9"))
    assert.isFalse(Glob.pathMatcher("/")("a"))
    // A slash needs no backslash, and one before it changes nothing.
    assert.isTrue(Glob.pathMatcher("a\\/")("b/a"))
    assert.isTrue(Glob.pathMatcher("a\\/b")("a/b"))
    assert.isTrue(Glob.pathMatcher("a\\\\/")("b/a\\"))
    assert.isTrue(Glob.pathMatcher("caf\\e\u0301")("caf\u00e9"))
  })
})

/** What a pattern means, said in another way: tries one way after the other. */
const naive = (pattern: string, name: string): boolean => {
  const expression = pattern.replace(
    /\\([\s\S])|\*{2,}|[*?]|[\\^$.|+()[\]{}/]/gu,
    (found, escaped: string | undefined) => {
      if (escaped !== undefined) return escaped.replace(/[*?\\^$.|+()[\]{}/]/, "\\$&")
      return found === "*" ? "[^/]*" : found === "?" ? "[^/]" : found.startsWith("**") ? ".*" : `\\${found}`
    }
  )
  const part = pattern.includes("/") ? name : name.slice(name.lastIndexOf("/") + 1)
  return new RegExp(`^${expression}$`, "su").test(part)
}

const text = (...chars: ReadonlyArray<string>) =>
  FastCheck.string({ unit: FastCheck.constantFrom(...chars), maxLength: 9 })

describe("any pattern", () => {
  it.prop(
    "with a backslash before each of its characters means itself alone",
    { meant: text("a", "*", "?", "😀", "\\", "."), name: text("a", "*", "?", "😀", "\\", ".") },
    ({ meant, name }) => {
      const matches = Glob.pathMatcher(meant.replace(/[\s\S]/gu, "\\$&"))
      assert.isTrue(matches(meant))
      assert.strictEqual(matches(name), name === meant)
    }
  )

  it.prop(
    "means the same as a regular expression",
    {
      pattern: text("a", "b", "/", "*", "**", "?", "😀", "\\"),
      name: text("a", "b", "/", "*", "?", "😀", "\n", "\\")
    },
    ({ name, pattern }) => assert.strictEqual(Glob.matcher(pattern)(name), naive(pattern, name)),
    { fastCheck: { numRuns: 3000 } }
  )

  it("takes no longer than its length times that of the name", () => {
    const name = "a".repeat(240)
    // A regular expression would not come to an end here.
    for (const many of ["*", "**", "/**", "*\\a"]) {
      const matches = Glob.pathMatcher(`${`${many}a`.repeat(100)}${many}b`)
      assert.isFalse(matches(name))
      assert.isFalse(matches(`/${name}`.repeat(10)))
    }
    assert.isTrue(Glob.pathMatcher(`a${"/".repeat(100_000)}`)("a"))
  })
})
