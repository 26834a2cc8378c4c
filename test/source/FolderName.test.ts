import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { someNames } from "../../src/source/FolderChoice.ts"
import { FolderName, isAskedFor, nameProblem, parseFolderName, topFolder } from "../../src/source/FolderName.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { foldedName } from "../../src/text/Text.ts"

const good = [
  "ABCD",
  "Documents",
  "photos 2024",
  "Ärger",
  "日本",
  "it's $HOME",
  "-rf",
  'a"b',
  "a\\b",
  "x.json",
  "x.zip"
]

describe("the name of an archived folder", () => {
  it("is any text that a file system and a line can hold", () => {
    for (const name of [...good, "a".repeat(100), "index", "__proto__", "x.new", "a.prev.b", " ", "C:x"]) {
      assert.strictEqual(parseFolderName(name), name)
    }
  })

  it("is no other, and the reason is given", () => {
    const problems = {
      "": "is empty",
      "a/b": "holds a slash",
      "a\nb": "holds a control character",
      "a\u0085": "holds a control character",
      ".": "begins with a dot",
      "..": "begins with a dot",
      ".zipper": "begins with a dot",
      "a.prev": "ends in .prev, as the archives before do",
      "lost+found": "belongs to the file system",
      [`${"é".repeat(50)}x`]: "has more than 100 bytes",
      "a\ufffd": "is not UTF-8",
      "a\ud800": "is not UTF-8"
    }
    for (const [name, problem] of Object.entries(problems)) {
      assert.strictEqual(nameProblem(name), problem, JSON.stringify(name))
      assert.isUndefined(parseFolderName(name))
      assert.isFalse(Schema.is(FolderName)(name))
    }
  })

  it.prop("is judged alike as text and as bytes", [FastCheck.string({ unit: "binary" })], ([name]) => {
    const found = topFolder(RawPath.fromText(`${name}/file`))
    const [top = ""] = name.split("/")
    assert.strictEqual(found, parseFolderName(top))
    if (found !== undefined) {
      assert.isAtMost(Buffer.byteLength(found), 100)
      assert.notMatch(found, /^\.|[/\p{Cc}]|\.prev$/u)
    }
  })

  it.prop("is none where the bytes are no text", [FastCheck.uint8Array({ minLength: 1 })], ([bytes]) => {
    const path = RawPath.fromBuffer(bytes)
    const found = topFolder(path)
    if (found !== undefined) assert.isTrue(path.startsWith(RawPath.fromText(found)))
    if (!path.includes("/") && RawPath.toText(path) === undefined) assert.isUndefined(found)
  })

  it("is asked for by a pattern as it is, and where it is no text, by any character", () => {
    assert.isTrue(isAskedFor(/^[^.].*$/u, "photos 2024"))
    assert.isTrue(isAskedFor(/^[^.].*$/u, "new\nline"))
    assert.isFalse(isAskedFor(/^[A-Z0-9]{4}$/u, "AB\n"))
    assert.isFalse(isAskedFor(/^[A-Z0-9]{4}$/u, "Documents"))
  })

  it("is listed on one line: ten of them, the reason where there is one, and how many more there are", () => {
    assert.strictEqual(
      someNames(["a", ".b", "new\nline", "x\x1b", "y.prev"]),
      "a, .b, new\\x0aline (its name holds a control character), x\\x1b (its name holds a control character), y.prev (its name ends in .prev, as the archives before do)"
    )
    const many = Array.from({ length: 12 }, (_, index) => `n${index}`)
    assert.strictEqual(someNames(many), `${many.slice(0, 10).join(", ")} and 2 more`)
  })

  it("is like another one that some file system takes for it", () => {
    for (const [a, b] of [
      ["Photos", "photos"],
      ["Ä", "A\u0308"],
      ["ä", "A\u0308"],
      ["Straße", "STRASSE"],
      ["a.", "a"],
      ["a ", "A"]
    ]) {
      assert.strictEqual(foldedName(a ?? ""), foldedName(b ?? ""))
    }
    assert.notStrictEqual(foldedName("photos 2024"), foldedName("photos 2025"))
  })
})
