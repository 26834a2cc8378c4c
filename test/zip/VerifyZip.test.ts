import { closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { crc32 } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type { Manifest, ManifestEntry } from "../../src/source/Manifest.ts"
import { waitingCalls } from "../../src/system/FileCalls.ts"
import { inProcess } from "../../src/system/WorkerJob.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { Archiver } from "../../src/zip/Archiver.ts"
import { type EntryHead, headOf, makeDigest, type ZipEntry } from "../../src/zip/Headers.ts"
import { readEntries } from "../../src/zip/ReadZip.ts"
import { verifySlice, verifyZip } from "../../src/zip/VerifyZip.ts"
import { type CopiedRange, isArchiveError } from "../../src/zip/ZipError.ts"
import { noMemoryForZlib } from "../support/program/fileHandles.ts"
import { temporaryFolder } from "../support/program/log.ts"
import { readZip } from "../support/readZip.ts"
import { archiveAndVerify, entryOf, layers, manifestOf, noise, put, viewOf } from "../support/zip/archive.ts"

const signal = new AbortController().signal

/** What verification says of the zip; undefined when it is good. Anything but an ArchiveError is thrown. */
const failure = (zip: string, manifest: Manifest, copied: ReadonlyArray<CopiedRange> = []) =>
  Effect.promise(() =>
    verifyZip(zip, manifest, signal, inProcess, { copied }).then(
      () => undefined,
      (cause: unknown) => {
        if (isArchiveError(cause)) return cause
        throw cause
      }
    )
  )

const entriesOf = (zip: string) =>
  Effect.promise(async () => {
    const entries: Array<ZipEntry> = []
    for await (const batch of readEntries(zip, signal)) entries.push(...batch)
    return entries
  })

const flip = (zip: Buffer, bit: number): Buffer => {
  const damaged = Buffer.from(zip)
  damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return damaged
}

/** The range of these entries, as if they had been copied. */
const rangeOf = (zip: Buffer, entries: ReadonlyArray<ZipEntry>, from: number, to: number): CopiedRange => {
  const start = entries[from]?.start ?? 0
  const end = entries[to - 1]?.end ?? 0
  return { start, end, entries: to - from, crc32: crc32(zip.subarray(start, end)) }
}

/** An archive of so many empty directories, which need no files on disk. */
const directories = Effect.fnUntraced(function* (root: string, count: number) {
  const manifest = manifestOf(Array.from({ length: count }, (_, index) => entryOf(`${10_000 + index}`)))
  const archiver = yield* Archiver
  yield* archiver.archive(viewOf(root), manifest, `${root}/a.zip`)
  return manifest
})

describe("memory that is missing", () => {
  it.scoped("says nothing of the zip, and may be there for the next attempt", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/1`, "ab".repeat(2000))
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      put(`${root}/big/ABCD/1`, Buffer.alloc(3_000_000, "ab"))
      const big = viewOf(`${root}/big`)
      const large = yield* archiveAndVerify(big, `${root}/big.zip`)
      const archiver = yield* Archiver
      yield* Effect.gen(function* () {
        yield* noMemoryForZlib
        const verified = yield* failure(`${root}/a.zip`, manifest)
        assert.deepInclude(verified, { reason: "Worker", transient: true })
        const made = yield* Effect.flip(archiver.archive(viewOf(root), manifest, `${root}/b.zip`))
        assert.deepInclude(made, { reason: "Worker", transient: true })
        assert.include(made.message, "no memory left")
        const block = yield* Effect.flip(archiver.archive(big, large.manifest, `${root}/b.zip`))
        assert.deepInclude(block, { reason: "Worker", transient: true })
      }).pipe(Effect.scoped)
      assert.isUndefined(yield* failure(`${root}/a.zip`, manifest))
    }).pipe(Effect.provide(layers()))
  )
})

describe("a range that was copied", () => {
  it.scoped("is compared with what was copied, bit by bit, also what nobody reads", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const name of ["1", "2", "3", "4"]) put(`${root}/ABCD/${name}`, "ab".repeat(20))
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const range = rangeOf(zip, yield* entriesOf(`${root}/a.zip`), 1, 3)
      assert.isUndefined(yield* failure(`${root}/a.zip`, manifest, [range]))
      // A bit of each byte, and all of the last one, where DEFLATE leaves some unused.
      const bits = Array.from({ length: range.end - range.start + 7 }, (_, index) =>
        Math.min((range.start + index) * 8 + (index % 8), range.end * 8 - 1 - (index % 8))
      )
      for (const bit of bits) {
        writeFileSync(`${root}/b.zip`, flip(zip, bit))
        const found = yield* failure(`${root}/b.zip`, manifest, [range])
        assert.strictEqual(found?.reason, "Corrupt", `bit ${bit}`)
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("names the entry in it that is damaged, and counts as damaged when it is only different", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const name of ["1", "2", "3", "4"]) put(`${root}/ABCD/${name}`, noise(3000, Number(name)))
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const entries = yield* entriesOf(`${root}/a.zip`)
      const range = rangeOf(zip, entries, 1, 3)
      writeFileSync(`${root}/b.zip`, flip(zip, (entries[2]?.dataStart ?? 0) * 8 + 8000))
      const named = yield* failure(`${root}/b.zip`, manifest, [range])
      assert.include(named?.message, 'damaged at "3": its CRC-32 is wrong')

      const other = { ...range, crc32: range.crc32 ^ 1 }
      const cut = { ...range, start: range.start + 1, crc32: crc32(zip.subarray(range.start + 1, range.end)) }
      const beyond = { ...range, start: zip.length, end: zip.length + 10 }
      for (const wrong of [other, cut, { ...range, end: range.end - 1 }, beyond]) {
        const found = yield* failure(`${root}/a.zip`, manifest, [wrong])
        assert.strictEqual(found?.reason, "Corrupt")
        assert.include(
          found?.message,
          `bytes ${wrong.start} to ${wrong.end} are not those that were copied from the archive before`
        )
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("may reach over several slices, and several may lie in one", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const manifest = yield* directories(root, 3500)
      const zip = readFileSync(`${root}/a.zip`)
      const entries = yield* entriesOf(`${root}/a.zip`)
      const pairs = [
        [0, 1],
        [1, 7],
        [10, 2900],
        [2901, 2902],
        [3400, 3500]
      ] as const
      const ranges = pairs.map(([from, to]) => rangeOf(zip, entries, from, to))
      assert.isUndefined(yield* failure(`${root}/a.zip`, manifest, ranges))
      for (const at of [0, 2, 4]) {
        const wrong = ranges.map((range, index) => (index === at ? { ...range, crc32: range.crc32 ^ 1 } : range))
        const found = yield* failure(`${root}/a.zip`, manifest, wrong)
        assert.include(found?.message, `bytes ${ranges[at]?.start} to ${ranges[at]?.end} are not those`)
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("may hold entries of any size, which are not inflated", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/1`, noise(3_000_000))
      put(`${root}/ABCD/2`, noise(700_000).toString("hex").repeat(3))
      put(`${root}/ABCD/3`, "small")
      const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const entries = yield* entriesOf(`${root}/a.zip`)
      const range = rangeOf(zip, entries, 0, 3)
      assert.isUndefined(yield* failure(`${root}/a.zip`, manifest, [range]))
      // What the copy is said to have been is what counts: a CRC-32 that only inflating finds wrong is not looked at.
      const damaged = flip(zip, ((entries[1]?.dataStart ?? 0) + 1000) * 8)
      writeFileSync(`${root}/b.zip`, damaged)
      assert.isUndefined(yield* failure(`${root}/b.zip`, manifest, [rangeOf(damaged, entries, 0, 3)]))
      assert.include((yield* failure(`${root}/b.zip`, manifest, [range]))?.message, 'damaged at "2"')
      // Headers are compared all the same.
      const header = flip(zip, ((entries[2]?.start ?? 0) + 10) * 8)
      writeFileSync(`${root}/b.zip`, header)
      const found = yield* failure(`${root}/b.zip`, manifest, [rangeOf(header, entries, 0, 3)])
      assert.include(found?.message, 'damaged at "3": its local header and the central directory differ')
    }).pipe(Effect.provide(layers()))
  )
})

describe("an archive that could not be restored", () => {
  for (const [what, paths, message] of [
    ["a name twice", ["10000", "10000"], '"10000/": it is there twice'],
    ["names out of order", ["10001", "10000"], '"10000/": it is there twice, or not in its place'],
    ["a folder that is not there", ["10000", "10001/a"], '"10001/a/": it lies in something that is no folder']
  ] as const) {
    it.scoped(`does not pass the verification of its own run: ${what}`, () =>
      Effect.gen(function* () {
        const root = yield* temporaryFolder
        const manifest = manifestOf(paths.map((path) => entryOf(path)))
        yield* (yield* Archiver).archive(viewOf(root), manifest, `${root}/a.zip`)
        const error = yield* failure(`${root}/a.zip`, manifest)
        assert.strictEqual(error?.reason, "Corrupt")
        assert.include(error?.message, `${root}/a.zip could not be restored: ${message}`)
      }).pipe(Effect.provide(layers()))
    )
  }
})

describe("verification in slices", () => {
  it.scoped("says what differs in whichever slice it lies", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const manifest = yield* directories(root, 2500)
      assert.isUndefined(yield* failure(`${root}/a.zip`, manifest))
      const changed = (at: number, change: Partial<ManifestEntry>) =>
        manifestOf(Array.from(manifest.entries, (entry, index) => (index === at ? { ...entry, ...change } : entry)))
      const cases: ReadonlyArray<readonly [Manifest, string]> = [
        [changed(1023, { mode: 0o40700 }), '"11023/" has mode 40755 instead of 40700'],
        [changed(1024, { mode: 0o40700 }), '"11024/" has mode 40755 instead of 40700'],
        [changed(2499, { name: "x" }), '"12499/" stands where "x/" belongs'],
        [manifestOf(manifest.entries.slice(0, 2048)), '"12048/" is no entry of the snapshot'],
        [manifestOf([...manifest.entries, entryOf("x")]), '"x/" is missing']
      ]
      for (const [wanted, message] of cases) {
        const found = yield* failure(`${root}/a.zip`, wanted)
        assert.strictEqual(found?.reason, "Mismatch")
        assert.include(found?.message, message)
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("finds a bit that is flipped in any field of any record, and says in which", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const manifest = yield* directories(root, 2100)
      const zip = readFileSync(`${root}/a.zip`)
      const directory = (yield* entriesOf(`${root}/a.zip`)).at(-1)?.end ?? 0
      const length = 46 + 6 + 9
      // The last of a slice, the first of the next and the very last.
      for (const index of [1023, 1024, 2099]) {
        for (let at = 0; at < length; at += 1) {
          writeFileSync(`${root}/b.zip`, flip(zip, (directory + index * length + at) * 8 + (at % 8)))
          const found = yield* failure(`${root}/b.zip`, manifest)
          const isMode = at === 40 || at === 41
          assert.strictEqual(found?.reason, isMode ? "Mismatch" : "Corrupt")
          // Lengths decide what the name is.
          if ((at >= 28 && at < 34) || (at >= 46 && at < 52)) continue
          const name = `"${10_000 + index}/"`
          const message = at < 4 ? `entry ${index + 1} of its central directory is no` : `damaged at ${name}: `
          assert.include(found?.message, isMode ? `${name} has mode` : message, `byte ${at}`)
        }
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("finds a size that is wrong in both headers and in the manifest", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      for (const repeats of [500, 600_000]) {
        put(`${root}/ABCD/a`, "ab".repeat(repeats))
        const { manifest } = yield* archiveAndVerify(viewOf(root), `${root}/${repeats}.zip`)
        const zip = readFileSync(`${root}/${repeats}.zip`)
        const directory = (yield* entriesOf(`${root}/${repeats}.zip`))[0]?.end ?? 0
        for (const size of [repeats * 2 - 1, repeats * 2 + 1]) {
          zip.writeUInt32LE(size, 22)
          zip.writeUInt32LE(size, directory + 24)
          writeFileSync(`${root}/b.zip`, zip)
          const wanted = manifestOf(Array.from(manifest.entries, (entry) => ({ ...entry, size })))
          const found = yield* failure(`${root}/b.zip`, wanted)
          assert.include(found?.message, 'damaged at "a": its data has another size than it says')
        }
      }
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("reads no further once the signal is aborted, in the middle of an entry", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/1`, noise(1_000_000).toString("hex").repeat(2))
      yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const directory = (yield* entriesOf(`${root}/a.zip`))[0]?.end ?? 0
      const fd = yield* Effect.acquireRelease(
        Effect.sync(() => openSync(`${root}/a.zip`, "r")),
        (opened) => Effect.sync(() => closeSync(opened))
      )
      const input = {
        path: `${root}/a.zip`,
        fd,
        count: 1,
        records: { start: directory, end: statSync(`${root}/a.zip`).size - 22 },
        content: { start: 0, end: directory },
        copied: []
      }
      const readsUntil = async (last: number) => {
        const controller = new AbortController()
        let count = 0
        const read: typeof waitingCalls.read = (...args) => {
          count += 1
          if (count === last) controller.abort(new Error("enough"))
          return waitingCalls.read(...args)
        }
        const ended = verifySlice.work(input, { ...waitingCalls, read }, controller.signal)
        const why = await ended.then(() => "good", String)
        return [why, count] as const
      }
      const [good, all] = yield* Effect.promise(() => readsUntil(Number.POSITIVE_INFINITY))
      assert.strictEqual(good, "good")
      for (const last of [1, 2, 3, all - 1]) {
        assert.deepStrictEqual(yield* Effect.promise(() => readsUntil(last)), ["Error: enough", last])
      }
    }).pipe(Effect.provide(layers()))
  )
})

describe("the digest of heads", () => {
  const entry = FastCheck.record({
    name: FastCheck.constantFrom("a", "ab", "b", "é", "a/b", "😀"),
    raw: FastCheck.option(FastCheck.constantFrom("a\xff", "b\xff", "\xff"), { nil: undefined }),
    kind: FastCheck.constantFrom("file" as const, "directory" as const),
    size: FastCheck.constantFrom(0, 1, 2 ** 32, 2 ** 40),
    seconds: FastCheck.constantFrom(0, 1, 2 ** 31 - 1),
    mode: FastCheck.constantFrom(0o100644, 0o100600)
  }).map(({ name, raw, seconds, ...rest }) =>
    entryOf(name, {
      ...rest,
      path: raw === undefined ? RawPath.fromText(name) : RawPath.fromLatin1(raw),
      mtimeNs: BigInt(seconds) * 1_000_000_000n + 5n
    })
  )
  const entries = FastCheck.array(entry, { maxLength: 4 })

  const ofManifest = (list: ReadonlyArray<ManifestEntry>): string => {
    const digest = makeDigest()
    for (const wanted of list) digest.wanted(wanted)
    return digest.end()
  }
  const ofZip = (list: ReadonlyArray<EntryHead>): string => {
    const digest = makeDigest()
    for (const head of list) digest.head(head)
    return digest.end()
  }
  const text = (head: EntryHead): string => JSON.stringify({ ...head, name: head.name.toString("hex") })

  it.prop("is the same for a zip and a manifest exactly when all heads are", [entries, entries], ([a, b]) => {
    assert.strictEqual(ofManifest(a), ofZip(a.map(headOf)))
    const same = a.map((one) => text(headOf(one))).join() === b.map((one) => text(headOf(one))).join()
    assert.strictEqual(ofManifest(a) === ofZip(b.map(headOf)), same)
  })

  it("takes names of any length", () => {
    const list = [entryOf("é".repeat(70_000)), entryOf("b"), entryOf("c".repeat(65_000)), entryOf("d")]
    assert.strictEqual(ofManifest(list), ofZip(list.map(headOf)))
    assert.notStrictEqual(ofManifest(list), ofManifest(list.slice(0, 3)))
  })
})

describe("reading entries", () => {
  it.scoped("says of each what its headers say and where it lies", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      mkdirSync(`${root}/ABCD/d`, { recursive: true })
      put(`${root}/ABCD/deflated`, "ab".repeat(500))
      put(Buffer.concat([Buffer.from(`${root}/ABCD/raw`), Buffer.from([0xff])]), noise(100))
      yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const entries = yield* entriesOf(`${root}/a.zip`)
      assert.deepStrictEqual(
        entries.map(({ kind, method, name, rawPath, size }) => [String(name), rawPath, kind, method, size]),
        [
          ["d/", undefined, "directory", "store", 0],
          ["deflated", undefined, "file", "deflate", 1000],
          ["raw%FF", "raw\xff", "file", "store", 100]
        ]
      )
      let position = 0
      for (const { dataStart, end, start } of entries) {
        assert.strictEqual(start, position)
        assert.strictEqual(zip.readUInt32LE(start), 0x04034b50)
        assert.strictEqual(dataStart, start + 30 + zip.readUInt16LE(start + 26) + zip.readUInt16LE(start + 28))
        position = end
      }
      assert.strictEqual(zip.readUInt32LE(position), 0x02014b50)
      const contents = yield* Effect.promise(async () => {
        const found: Array<string> = []
        for await (const entry of readZip(`${root}/a.zip`, signal)) {
          const chunks: Array<Buffer> = []
          for await (const chunk of entry.content()) chunks.push(Buffer.from(chunk))
          found.push(Buffer.concat(chunks).toString("latin1"))
        }
        return found
      })
      assert.deepStrictEqual(contents, ["", "ab".repeat(500), noise(100).toString("latin1")])
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("takes a name that looks like the locator of zip64 end records for a name", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const locator = Buffer.concat([Buffer.from("a"), Buffer.from([0x50, 0x4b, 6, 7]), Buffer.alloc(16, 0xff)])
      put(Buffer.concat([Buffer.from(`${root}/ABCD/`), locator]), "content")
      // Alone in its slice.
      put(`${root}/ABCD/b`, noise(5_000_000))
      yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      assert.strictEqual((yield* entriesOf(`${root}/a.zip`))[0]?.rawPath, locator.toString("latin1"))
    }).pipe(Effect.provide(layers()))
  )

  it.scoped("fails on what this program does not write", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      put(`${root}/ABCD/a`, "content")
      put(`${root}/ABCD/b`, "content")
      yield* archiveAndVerify(viewOf(root), `${root}/a.zip`)
      const zip = readFileSync(`${root}/a.zip`)
      const entries = yield* entriesOf(`${root}/a.zip`)
      const directory = entries.at(-1)?.end ?? 0
      // Version made by, flags, disk, attributes, offset; the end record.
      for (const at of [4, 8, 34, 36, 38, 42]) {
        writeFileSync(`${root}/b.zip`, flip(zip, (directory + at) * 8))
        const error = yield* Effect.flip(
          Effect.tryPromise({
            try: async () => {
              for await (const _ of readEntries(`${root}/b.zip`, signal));
            },
            catch: (cause) => (isArchiveError(cause) ? cause.message : `no ArchiveError: ${cause}`)
          })
        )
        assert.include(error, `${root}/b.zip is damaged at "a": `)
      }
    }).pipe(Effect.provide(layers()))
  )
})
