import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as RawPath from "../../src/text/RawPath.ts"
import { AlreadyWritten, createFile, fileSetOf, makeFileSet, type Written } from "../../src/zip/ExtractFiles.ts"
import { type FileId, type Folder, openFolder } from "../../src/zip/ExtractFolders.ts"
import { foldName, makeTwins } from "../../src/zip/ExtractTwins.ts"
import { temporaryFolder } from "../support/program/log.ts"

const raw = RawPath.fromText

const folderOf = (path: string, parent?: Folder): Folder => ({
  path: raw(path),
  parent,
  mode: 0,
  seconds: 0,
  chosen: true,
  needed: true,
  state: "absent",
  id: undefined,
  closed: false
})

describe("names that a file system may take for one", () => {
  it("are found by case, composition, invisible characters and dots at the end", () => {
    for (const [one, other] of [
      ["README", "Readme"],
      ["\u00e9", "e\u0301"],
      ["\u00c9", "e\u0301"],
      ["stra\u00dfe", "STRASSE"],
      ["a", "a."],
      ["a", "A. "],
      ["a\u200bb", "ab"],
      ["\u03a3", "\u03c2"]
    ] as const) {
      assert.strictEqual(foldName(raw(one)), foldName(raw(other)), `${one} ${other}`)
    }
    for (const [one, other] of [
      ["a", "b"],
      ["a", "\u00e4"],
      ["...", ".."],
      ["a-b", "a_b"]
    ] as const) {
      assert.notStrictEqual(foldName(raw(one)), foldName(raw(other)), `${one} ${other}`)
    }
  })

  it("are twins only in one folder of the archive", () => {
    const root = folderOf("")
    const [upper, lower] = [folderOf("A", root), folderOf("a", root)]
    const twins = makeTwins()
    const entries = [
      [root, "A"],
      [upper, "A/x"],
      [root, "A.b"],
      [upper, "A/y"],
      [root, "a"],
      [lower, "a/X"],
      [lower, "a/x"],
      [root, "b"]
    ] as const
    for (const [parent, path] of entries) twins.add(parent, raw(path))
    assert.deepStrictEqual(
      twins.found().map(({ first, second }) => [first, second]),
      [
        ["A", "a"],
        ["a/X", "a/x"]
      ]
    )
  })
})

describe("a file that two entries are written to", () => {
  it.scoped("fails the later one, and keeps what was written", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      mkdirSync(`${root}/out`)
      writeFileSync(`${root}/out/there`, "the one before")
      const files = fileSetOf(makeFileSet(4))
      const names = new Map<bigint, string>()
      const writtenAs = (name: string): Written => ({
        ...files,
        nameOf: ({ ino }: FileId) => names.get(ino),
        wrote: (file) => {
          files.add(file)
          names.set(file.ino, name)
        }
      })
      const folder = openFolder(Buffer.from(`${root}/out`))
      const write = (entry: string, name: string, through: string | undefined) => {
        const head = { mode: 0o100644, seconds: 1 }
        const file = createFile(
          () => folder,
          raw(name),
          through === undefined ? undefined : raw(through),
          head,
          writtenAs(entry),
          () => undefined
        )
        try {
          file.write(Buffer.from(entry))
          file.finish()
        } catch (cause) {
          throw file.discard(cause)
        }
      }
      // What stands for a file system in which "First" and "first" are the name "there", and "New" and "new" the name "new".
      write("First", "there", "temporary-1")
      assert.throws(
        () => write("first", "there", "temporary-2"),
        AlreadyWritten,
        'one file there with "First" of the archive'
      )
      write("New", "new", undefined)
      assert.throws(() => write("new", "new", undefined), AlreadyWritten, 'one file there with "New" of the archive')
      folder.close()
      assert.deepStrictEqual(readdirSync(`${root}/out`).sort(), ["new", "there"])
      assert.strictEqual(readFileSync(`${root}/out/there`, "utf8"), "First")
      assert.strictEqual(readFileSync(`${root}/out/new`, "utf8"), "New")
    })
  )

  it.scoped("is kept as well where no two were expected to meet", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const folder = openFolder(Buffer.from(root))
      const write = (content: string, through?: string) => {
        const place = through === undefined ? undefined : raw(through)
        const file = createFile(
          () => folder,
          raw("one"),
          place,
          { mode: 0o100644, seconds: 1 },
          undefined,
          () => {}
        )
        file.write(Buffer.from(content))
        file.finish()
      }
      write("first")
      assert.throws(() => write("second"), "a file of that name has appeared, and is left as it is")
      assert.strictEqual(readFileSync(`${root}/one`, "utf8"), "first")
      write("in its place", "temporary")
      folder.close()
      assert.deepStrictEqual(readdirSync(root), ["one"])
      assert.strictEqual(readFileSync(`${root}/one`, "utf8"), "in its place")
    })
  )

  it("is known by its inode, for as many as there are", () => {
    const files = fileSetOf(makeFileSet(1000))
    for (let ino = 1n; ino <= 2000n; ino += 1n) assert.isTrue(files.add({ dev: 7n, ino }))
    for (let ino = 1n; ino <= 2000n; ino += 1n) assert.isFalse(files.add({ dev: 7n, ino }))
    assert.isTrue(files.has({ dev: 7n, ino: 1n }))
    assert.isFalse(files.has({ dev: 8n, ino: 1n }))
  })
})
