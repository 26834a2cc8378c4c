import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as EntryName from "../../src/source/EntryName.ts"
import * as RawPath from "../../src/text/RawPath.ts"

const raw = (latin1: string) => RawPath.fromLatin1(latin1)

const assignAll = (paths: ReadonlyArray<RawPath.RawPath>) => {
  const { escaped, nameOf } = EntryName.assign(paths)
  return { names: paths.map(nameOf), escaped }
}
const assign = (...paths: ReadonlyArray<string>) => assignAll(paths.map(raw))

/** Parts of few letters, so that escaped and given names meet. */
const part = FastCheck.stringOf(FastCheck.constantFrom("a", "%", "F", "E", "\xff", "\xfe", "~", "1", "\xc3", "\xa9"), {
  minLength: 1,
  maxLength: 5
})

/** Trees as Tree lists them: every directory on the way is an entry, in byte order. */
const tree = FastCheck.array(FastCheck.array(part, { minLength: 1, maxLength: 3 }), { maxLength: 12 }).map((paths) => {
  const all = new Set<string>()
  for (const parts of paths) for (const [index] of parts.entries()) all.add(parts.slice(0, index + 1).join("/"))
  return [...all].sort().map(raw)
})

describe("EntryName", () => {
  it("keeps every name that is UTF-8, byte for byte", () => {
    const names = ["-rf", "C:x", "a\\b", "a\nb\tc", "\"quoted' name", "%FF", "e\u0301", "é", "🦊/日本", "\ufeffbom"]
    const { names: assigned, escaped } = assignAll(names.map(RawPath.fromText))
    assert.deepStrictEqual(assigned, names)
    assert.deepStrictEqual(escaped, [])
  })

  it("escapes only the bytes that are no part of a character", () => {
    assert.deepStrictEqual(assign("caf\xe9", "na\xc3\xafve \xff").names, ["caf%E9", "naïve %FF"])
  })

  it("takes overlong forms, surrogates and what lies beyond U+10FFFF for no characters", () => {
    assert.strictEqual(EntryName.escape(raw("\xc0\xaf")), "%C0%AF")
    assert.strictEqual(EntryName.escape(raw("\xe0\x80\xaf")), "%E0%80%AF")
    assert.strictEqual(EntryName.escape(raw("\xed\xa0\x80")), "%ED%A0%80")
    assert.strictEqual(EntryName.escape(raw("\xf4\x90\x80\x80")), "%F4%90%80%80")
    assert.strictEqual(EntryName.escape(raw("\xf0\x9f\xa6\x8a\xf0\x9f")), "🦊%F0%9F")
  })

  it("gives way to a name that another entry really has", () => {
    assert.deepStrictEqual(assign("%FF", "%FF~1", "\xff"), {
      names: ["%FF", "%FF~1", "%FF~2"],
      escaped: [{ path: raw("\xff"), name: "%FF~2" }]
    })
  })

  it("puts what an escaped directory holds below the escaped name", () => {
    const { names, escaped } = assign("%FF", "%FF/a", "\xff", "\xff/a", "\xff/b\xfe")
    assert.deepStrictEqual(names, ["%FF", "%FF/a", "%FF~1", "%FF~1/a", "%FF~1/b%FE"])
    assert.deepStrictEqual(
      escaped.map(({ name }) => name),
      ["%FF~1", "%FF~1/b%FE"]
    )
  })

  it.prop("gives each entry a name of its own, and UTF-8 its bytes", [tree], ([paths]) => {
    const { names, escaped } = assignAll(paths)
    assert.strictEqual(new Set(names).size, paths.length)
    for (const [index, path] of paths.entries()) {
      const text = RawPath.toText(path)
      const name = names[index]
      if (text !== undefined) assert.strictEqual(name, text)
      assert.strictEqual(EntryName.isEscaped({ path, name: name ?? "" }), text === undefined)
      assert.strictEqual(name?.split("/").length, path.split("/").length)
      const slash = path.lastIndexOf("/")
      const parent = names[paths.indexOf(raw(path.slice(0, Math.max(slash, 0))))]
      if (slash !== -1) assert.isTrue(name?.startsWith(`${parent}/`))
    }
    for (const { path } of escaped) assert.isUndefined(RawPath.toText(path))
  })

  it.prop("escapes any bytes to UTF-8 and leaves UTF-8 alone", [FastCheck.uint8Array()], ([bytes]) => {
    const path = RawPath.fromBuffer(bytes)
    const text = EntryName.escape(path)
    assert.strictEqual(text, RawPath.toText(RawPath.fromText(text)))
    assert.strictEqual(text === RawPath.toText(path), RawPath.toText(path) !== undefined)
  })

  it("names a million entries while one waits", () => {
    const paths = Array.from({ length: 1_000_000 }, (_, index) => raw(`folder/file ${index}.txt`))
    assert.strictEqual(assignAll(paths).names.length, 1_000_000)
  })
})
