import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Manifest, ManifestEntry } from "../../src/source/Manifest.ts"
import { installed } from "../support/programs.ts"
import { archiveAndVerify, layers, manifestOf, noise, put, run, viewOf } from "../support/zip/archive.ts"

/** Names that are legal on Unix and that some program or other has trouble with. */
const names = [
  "-rf",
  "--help",
  "a\\b",
  "C:x",
  "C:\\x",
  "new\nline",
  "tab\there",
  "\"double\" and 'single' `quotes` $HOME",
  " spaces ",
  "*?[a-z]",
  "%FF",
  "e\u0301 decomposed",
  "é composed",
  "🦊 日本語",
  "\ufeffbyte order mark",
  "...",
  "x".repeat(255),
  "é".repeat(127),
  "-dir/-file",
  "deep/er/and/deeper/file"
]

const bytes = (...parts: ReadonlyArray<string | number>) =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.from([part]) : Buffer.from(part))))

/** Names that are not UTF-8, and what they are called in the archive. */
const notUtf8: ReadonlyArray<readonly [Buffer, string]> = [
  [bytes("latin1 caf", 0xe9), "latin1 caf%E9"],
  [bytes(0xff), "%FF~1"],
  [bytes("dir", 0xfe, "/plain"), "dir%FE/plain"]
]

const latest = 2_147_483_647

/** Seconds given to a file, and what they become in the archive. */
const times: ReadonlyArray<readonly [number, number]> = [
  [-86_400 * 365, 0],
  [-1.5, 0],
  [0, 0],
  [1.75, 1],
  [315_532_799, 315_532_799],
  [1_720_000_001, 1_720_000_001],
  [latest, latest],
  [latest + 1, latest],
  [9_000_000_000, latest]
]

const modes = [0o644, 0o600, 0o755, 0o4755, 0o444, 0o777]

let folder = ""
let zip = ""
let manifest: Manifest = manifestOf([])

const source = () => `${folder}/ABCD`

beforeAll(async () => {
  folder = mkdtempSync(`${tmpdir()}/zipper-test-`)
  zip = `${folder}/a.zip`
  for (const [index, name] of names.entries()) put(`${source()}/${name}`, `content ${index} of ${name}\n`.repeat(index))
  for (const [name] of notUtf8) put(Buffer.concat([Buffer.from(`${source()}/`), name]), "bytes")
  for (const [seconds] of times) put(`${source()}/times/${seconds}`, "time", { seconds })
  for (const mode of modes) put(`${source()}/modes/${mode.toString(8)}`, "mode", { mode })
  put(`${source()}/empty file`, "")
  put(`${source()}/large text`, "all work and no play makes a dull boy\n".repeat(40_000))
  put(`${source()}/large noise`, noise(1_500_000))
  put(`${source()}/small noise`, noise(5_000))
  mkdirSync(`${source()}/empty folder`, { mode: 0o700 })
  const done = await Effect.runPromise(archiveAndVerify(viewOf(folder), zip).pipe(Effect.provide(layers())))
  manifest = done.manifest
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const files = () => [...manifest.entries].filter(({ kind }) => kind === "file")

const original = (entry: ManifestEntry) =>
  readFileSync(Buffer.concat([Buffer.from(`${source()}/`), Buffer.from(entry.path, "latin1")]))

/** Seconds that the entry should have when it is unpacked. */
const seconds = (entry: ManifestEntry) => Math.min(Math.max(Number(entry.mtimeNs / 1_000_000_000n), 0), latest)

/** Everything that was unpacked equals what was archived. */
const same = (unpacked: string, options: { readonly modes: boolean; readonly named?: (name: string) => string }) => {
  for (const entry of manifest.entries) {
    const path = `${unpacked}/${options.named?.(entry.name) ?? entry.name}`
    const stat = statSync(path)
    assert.strictEqual(stat.isDirectory(), entry.kind === "directory", entry.name)
    if (entry.kind === "directory") continue
    assert.isTrue(readFileSync(path).equals(original(entry)), `content of ${JSON.stringify(entry.name)}`)
    assert.strictEqual(Math.floor(stat.mtimeMs / 1000), seconds(entry), `time of ${JSON.stringify(entry.name)}`)
    // Readers drop setuid unless told to keep it.
    if (options.modes)
      assert.strictEqual(stat.mode & 0o777, entry.mode & 0o777, `mode of ${JSON.stringify(entry.name)}`)
  }
}

// bsdtar takes `C:` off a name, as it does with a leading slash, unless told -P; and it composes accents.
const named = (name: string) => name.normalize("NFC")

const zones = ["UTC", "America/New_York", "Asia/Kolkata"]

describe("an archive", () => {
  it("holds every name, odd ones too", () => {
    const archived = new Set(Array.from(manifest.entries, ({ name }) => name))
    for (const name of [...names, ...notUtf8.map(([, name]) => name)]) assert.isTrue(archived.has(name), name)
  })

  it.runIf(installed("unzip"))("passes Info-ZIP's test", () => {
    const { output, status } = run("unzip", ["-tq", zip])
    assert.strictEqual(status, 0, output)
    assert.include(output, "No errors detected")
  })

  for (const TZ of zones) {
    it.runIf(installed("unzip"))(`comes out of Info-ZIP's unzip as it went in (TZ=${TZ})`, () => {
      const { output, status } = run("unzip", ["-q", "-^", "-d", `${folder}/unzip ${TZ.replace("/", "-")}`, zip], {
        env: { TZ }
      })
      assert.strictEqual(status, 0, output)
      same(`${folder}/unzip ${TZ.replace("/", "-")}`, { modes: true })
    })

    it.runIf(installed("bsdtar"))(`comes out of bsdtar as it went in (TZ=${TZ})`, () => {
      const into = `${folder}/bsdtar ${TZ.replace("/", "-")}`
      mkdirSync(into)
      const { output, status } = run("bsdtar", ["-xPf", zip, "-C", into], { env: { TZ } })
      assert.strictEqual(status, 0, output)
      assert.strictEqual(output, "")
      same(into, { modes: true, named })
    })
  }

  it.runIf(installed("bsdtar"))("comes out of bsdtar from a pipe as it went in", () => {
    const into = `${folder}/pipe`
    mkdirSync(into)
    const { output, status } = run("bsdtar", ["-xPf", "-", "-C", into], { input: readFileSync(zip) })
    assert.strictEqual(status, 0, output)
    same(into, { modes: false, named })
  })

  for (const program of ["7zz", "7z"] as const) {
    it.runIf(installed(program))(`passes the test of ${program} without a warning`, () => {
      const { output, status } = run(program, ["t", zip])
      assert.strictEqual(status, 0, output)
      assert.include(output, "Everything is Ok")
      assert.notMatch(output, /warning|error/i)
    })

    it.runIf(installed(program))(`comes out of ${program} as it went in`, () => {
      const into = `${folder}/${program}`
      const { output, status } = run(program, ["x", "-y", `-o${into}`, zip], {
        env: { TZ: "America/New_York" }
      })
      assert.strictEqual(status, 0, output)
      same(into, { modes: false })
    })
  }

  it.runIf(installed("python3"))("comes out of Python's zipfile as it went in", () => {
    const script = `
import json, sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
print(json.dumps([[i.filename, i.file_size, z.read(i).hex() if i.file_size < 5000 else "", i.external_attr >> 16, i.is_dir(), list(i.date_time)] for i in z.infolist()]))`
    const { output, status } = run("python3", ["-c", script, zip])
    assert.strictEqual(status, 0, output)
    const expected = Array.from(manifest.entries, (entry) => [
      entry.kind === "directory" ? `${entry.name}/` : entry.name,
      entry.size,
      entry.kind === "file" && entry.size < 5000 ? original(entry).toString("hex") : "",
      entry.mode,
      entry.kind === "directory",
      dosParts(seconds(entry))
    ])
    assert.deepStrictEqual(JSON.parse(output), expected)
  })

  it("has each time clamped to what the format holds, to the second", () => {
    for (const [given, expected] of times) {
      const entry = files().find(({ name }) => name === `times/${given}`)
      assert.isDefined(entry)
      assert.strictEqual(seconds(entry), expected)
    }
  })
})

/** What the DOS time shows: UTC, even seconds, from 1980. */
const dosParts = (at: number) => {
  const date = new Date(at * 1000)
  if (date.getUTCFullYear() < 1980) return [1980, 1, 1, 0, 0, 0]
  return [
    date.getUTCFullYear(),
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds() & ~1
  ]
}
