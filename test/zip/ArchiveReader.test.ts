import { writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ArchiveReader } from "../../src/zip/Archiver.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { foreignZip, type HandMade, handMade } from "../support/zip/handMade.ts"

/** What is wrong with a zip of these entries, `ENTRY: PROBLEM`. */
const flaws = (entries: ReadonlyArray<HandMade>) =>
  Effect.gen(function* () {
    const zip = `${yield* temporaryFolder}/a.zip`
    writeFileSync(zip, handMade(entries))
    const options = { onFiles: () => {}, onRead: () => {} }
    const whole = yield* (yield* ArchiveReader).audit(zip, { ...options, content: true })
    const heads = yield* (yield* ArchiveReader).audit(zip, { ...options, content: false })
    const text = ({ flaws: found }: typeof whole) =>
      found.map(({ entry, problem }) => (entry === undefined ? problem : `${entry}: ${problem}`))
    assert.deepStrictEqual(text(whole), text(heads))
    return text(whole)
  }).pipe(Effect.scoped, Effect.provide(ArchiveReader.layer))

const order = "it is there twice, or not in its place in the order of names"
const parent = "it lies in something that is no folder of the archive"

/** Headers, sizes and CRC-32 are all right; but nobody could put it into a folder. */
const unfit: ReadonlyArray<readonly [string, ReadonlyArray<HandMade>, ReadonlyArray<string>]> = [
  ["a symlink", [{ name: "a", content: "/etc/passwd", mode: 0o120777 }], ['"a": it is a symlink']],
  ["a device", [{ name: "a", mode: 0o060644 }], ['"a": it is no regular file and no folder']],
  ["a folder twice", [{ name: "a/" }, { name: "a/" }], ['"a/": it is there twice']],
  ["a file as a folder", [{ name: "a" }, { name: "a/" }], ['"a/": it is there twice']],
  ["another order", [{ name: "b" }, { name: "a" }], [`"a": ${order}`]],
  ["no parent folder", [{ name: "a/b" }], [`"a/b": ${parent}`]],
  ["a file for its folder", [{ name: "a" }, { name: "a/b" }], [`"a/b": ${parent}`]],
  ["another folder of that beginning", [{ name: "a/" }, { name: "ab" }, { name: "ab/c" }], [`"ab/c": ${parent}`]],
  [
    "a name that does not stand for it",
    [{ name: "b%FF", raw: "a\xff" }],
    ['is damaged: "b%FF" is not what stands for "a\\xff"']
  ]
]

const numbered = (from: number, count: number, prefix = ""): ReadonlyArray<HandMade> =>
  Array.from({ length: count }, (_, index) => ({ name: `${prefix}${String(from + index).padStart(6, "0")}` }))

describe("audit", () => {
  for (const [what, entries, expected] of unfit) {
    it.effect(`finds what restore would refuse: ${what}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* flaws(entries), expected)
      })
    )
  }

  it.effect("finds a size that can never be", () =>
    Effect.gen(function* () {
      const zip = `${yield* temporaryFolder}/a.zip`
      writeFileSync(zip, handMade([{ name: "a", content: "tiny", deflated: true, size: 1_000_000 }]))
      const { flaws: found } = yield* (yield* ArchiveReader).audit(zip, {
        content: false,
        onFiles: () => {},
        onRead: () => {}
      })
      assert.deepStrictEqual(found, [{ entry: '"a"', problem: "its 6 bytes can never become 1000000" }])
    }).pipe(Effect.scoped, Effect.provide(ArchiveReader.layer))
  )

  // More than 1,024 entries are read in several pieces.
  it.effect("finds it across the pieces that are read at a time as well", () =>
    Effect.gen(function* () {
      const deep = [{ name: "d/" }, { name: "d/e/" }]
      const inside = numbered(0, 2500, "d/e/")
      assert.deepStrictEqual(yield* flaws([...deep, { name: "d/a" }, ...inside].sort(byName)), [])
      assert.deepStrictEqual(yield* flaws([...deep, ...inside, { name: "d!" }, { name: "d/e/x" }].sort(byName)), [])
      // The 1,025th entry begins the second piece.
      assert.deepStrictEqual(yield* flaws([...numbered(0, 1024), { name: "001023" }, ...numbered(1024, 9)]), [
        '"001023": it is there twice'
      ])
      assert.deepStrictEqual(yield* flaws([...numbered(0, 1024), { name: "000000/x" }]), [
        `"000000/x": ${order}`,
        `"000000/x": ${parent}`
      ])
      const orphans = yield* flaws([...numbered(0, 1500), ...numbered(0, 30, "none/")])
      assert.deepStrictEqual(orphans[0], `"none/000000": ${parent}`)
    })
  )
})

describe("a zip that cannot be listed", () => {
  const good = handMade([{ name: "a", content: "good" }])
  const cutOff = "is damaged: its end is missing: it is cut off, or is no zip"
  const added = "is damaged: its end record is not at its end: it is cut off, or something was added to it"
  for (const [what, bytes, problem] of [
    ["that is cut off in its end", good.subarray(0, -9), cutOff],
    ["that is cut off in its content", good.subarray(0, 40), cutOff],
    ["that is no zip", Buffer.alloc(70_000, "x"), cutOff],
    ["that goes on behind its end", Buffer.concat([good, Buffer.alloc(880)]), added],
    ["of another program", foreignZip({ a: "x" }), "was made by another program, whose names are not read here"]
  ] as const) {
    it.effect(`${what} is called that`, () =>
      Effect.gen(function* () {
        const zip = `${yield* temporaryFolder}/a.zip`
        writeFileSync(zip, bytes)
        const { message } = yield* Effect.flip(Stream.runDrain((yield* ArchiveReader).entries(zip)))
        assert.strictEqual(message, `${zip} ${problem}`)
      }).pipe(Effect.scoped, Effect.provide(ArchiveReader.layer))
    )
  }
})

const byName = (a: HandMade, b: HandMade): number => {
  const [x, y] = [a, b].map(({ name }) => String(name).replace(/\/$/, ""))
  return Buffer.compare(Buffer.from(x ?? ""), Buffer.from(y ?? ""))
}
