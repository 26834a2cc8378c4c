import { existsSync, readdirSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Extractor } from "../../src/zip/Archiver.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { type HandMade, handMade } from "../support/zip/handMade.ts"
import { requestFor } from "../support/zip/restore.ts"

const totals = (entries: ReadonlyArray<HandMade>) => ({
  files: entries.filter(({ name }) => !String(name).endsWith("/")).length,
  bytes: entries.reduce((sum, { content, size }) => sum + (size ?? Buffer.from(content ?? "").length), 0)
})

/** Each is what somebody might make, and what has to be said of it. */
const hostile: ReadonlyArray<readonly [string, ReadonlyArray<HandMade>, string]> = [
  ["leads out of the folder", [{ name: "../evil" }], 'at "../evil": its name is no UTF-8 text that names a place'],
  ["leads out in the middle", [{ name: "a/" }, { name: "a/../../evil" }], '"a/../../evil": its name'],
  ["is absolute", [{ name: "/etc/evil" }], '"/etc/evil": its name'],
  ["holds a NUL", [{ name: "a\0b" }], '"a\\x00b": its name'],
  ["has an empty part", [{ name: "a/" }, { name: "a//b" }], '"a//b": its name'],
  ["is a dot", [{ name: "." }], '".": its name'],
  ["is nothing", [{ name: "/" }], '"/": its name'],
  ["is no UTF-8", [{ name: Buffer.from([0x61, 0xff]) }], "its name is no UTF-8 text"],
  ["is there twice", [{ name: "a" }, { name: "a" }], '"a": it is there twice'],
  ["is there as a file and a folder", [{ name: "a" }, { name: "a/" }], '"a/": it is there twice'],
  [
    "is there twice, not side by side",
    [{ name: "a" }, { name: "b" }, { name: "a" }],
    '"a": it is there twice, or not in its place'
  ],
  [
    "has a file for its folder",
    [{ name: "a", content: "x" }, { name: "a/b" }],
    '"a/b": it lies in something that is no folder of the archive'
  ],
  ["has no folder", [{ name: "a/b" }], '"a/b": it lies in something that is no folder'],
  ["is a symlink", [{ name: "a", content: "/etc/passwd", mode: 0o120777 }], '"a": it is a symlink'],
  ["is a device", [{ name: "a", mode: 0o060644 }], '"a": it is no regular file and no folder'],
  ["is a fifo", [{ name: "a", mode: 0o010644 }], '"a": it is no regular file and no folder'],
  ["says it is a folder, and is none", [{ name: "a", mode: 0o040755 }], '"a": it is no regular file'],
  ["is a folder with the mode of a file", [{ name: "a/", mode: 0o100644 }], '"a/": it is no regular file'],
  ["is a folder with the mode of a symlink", [{ name: "a/", mode: 0o120777 }], '"a/": it is a symlink'],
  [
    "is a bomb",
    [{ name: "a", content: "tiny", deflated: true, size: 1_000_000 }],
    '"a": its 6 bytes can never become 1000000'
  ],
  ["stores more than there is", [{ name: "a", content: "x", size: 9 }], '"a"'],
  [
    "lies over another one",
    [
      { name: "a", content: "12345678" },
      { name: "b", content: "12345678", start: 0 }
    ],
    '"b": it does not begin where the entry before it ends'
  ],
  ["lies behind a gap", [{ name: "a", start: 7 }], '"a": it does not begin where'],
  [
    "has an original name that leads out of the folder",
    [{ name: "a%FF", raw: "../a\xff" }],
    '"a%FF": its original name is not one that names a place'
  ],
  ["has an absolute original name", [{ name: "a%FF", raw: "/a\xff" }], '"a%FF": its original name'],
  ["has an original name with a NUL", [{ name: "a%FF", raw: "a\0\xff" }], '"a%FF": its original name'],
  ["has an original name with an empty part", [{ name: "a%FF", raw: "a//\xff" }], '"a%FF": its original name'],
  ["has an original name that ends with a slash", [{ name: "a%FF", raw: "a\xff/" }], '"a%FF": its original name'],
  ["has an original name that is text", [{ name: "a", raw: "b" }], '"a": it has an original name, and needs none'],
  [
    "has the original name of another one",
    [
      { name: "a%FF", raw: "a\xff" },
      { name: "a%FF~1", raw: "a\xff" }
    ],
    '"a%FF~1": it is there twice'
  ],
  [
    "has an original name that it does not stand for",
    [{ name: "b%FF", raw: "a\xff" }],
    '"b%FF" is not what stands for "a\\xff"'
  ],
  [
    "is called like an escaped one",
    [{ name: "a%FF" }, { name: "a%FF", raw: "a\xff" }],
    '"a%FF" is not what stands for "a\\xff"'
  ],
  [
    "has an original name in a folder that is a file",
    [
      { name: "a", content: "x" },
      { name: "a/%FF", raw: "a/\xff" }
    ],
    '"a/%FF": it lies in something that is no folder'
  ]
]

const refused = Effect.fnUntraced(function* (
  entries: ReadonlyArray<HandMade>,
  promised: { readonly files: number; readonly bytes: number }
) {
  const root = yield* temporaryFolder
  const zip = `${root}/a.zip`
  writeFileSync(zip, handMade(entries))
  const extractor = yield* Extractor
  const found = yield* Effect.flip(extractor.prepare(requestFor(zip, `${root}/out`, promised)))
  assert.strictEqual(found._tag, "ArchiveError")
  assert.isFalse(existsSync(`${root}/out`))
  assert.deepStrictEqual(readdirSync(root), ["a.zip"])
  return found.message
})

describe("a hostile zip is refused by name, before anything is written, when an entry", () => {
  for (const [what, entries, message] of hostile) {
    it.scoped(what, () =>
      Effect.gen(function* () {
        assert.include(yield* refused(entries, totals(entries)), message)
      }).pipe(Effect.provide(Extractor.layer))
    )
  }

  it.scoped("goes beyond what the metadata promises", () =>
    Effect.gen(function* () {
      const entries = [
        { name: "a", content: "12345" },
        { name: "b", content: "12345" }
      ]
      const files = yield* refused(entries, { files: 1, bytes: 100 })
      assert.include(files, '"b": the archive should have 1 files, and this is one more')
      const bytes = yield* refused(entries, { files: 2, bytes: 9 })
      assert.include(bytes, '"b": the archive should have 9 bytes, and with this it has 10')
      assert.include(yield* refused(entries, { files: 3, bytes: 10 }), "it has 2 files and 10 bytes")
      assert.include(yield* refused(entries, { files: 2, bytes: 11 }), "it has 2 files and 10 bytes")
    }).pipe(Effect.provide(Extractor.layer))
  )

  it.scoped("is not hostile at all, it is taken", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const entries: ReadonlyArray<HandMade> = [
        { name: "a\\..\\b", content: "backslashes" },
        { name: "d%FE/", raw: "d\xfe" },
        { name: "d%FE/x", raw: "d\xfe/x", content: "deflated", deflated: true },
        { name: "d/" },
        { name: "d/...", content: "dots" }
      ].sort((a, b) => ((a.raw ?? a.name) < (b.raw ?? b.name) ? -1 : 1))
      writeFileSync(`${root}/a.zip`, handMade(entries))
      const extractor = yield* Extractor
      const { carryOut } = yield* extractor.prepare(requestFor(`${root}/a.zip`, `${root}/out`, totals(entries)))
      const { failures, files } = yield* carryOut
      assert.deepStrictEqual([failures.first, files], [[], 3])
    }).pipe(Effect.provide(Extractor.layer))
  )
})
