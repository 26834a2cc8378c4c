import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type Ended, makePlace, type Place, picture, run } from "../support/program/built.ts"
import { publishZip } from "../support/program/publish.ts"

let place: Place
beforeAll(async () => {
  place = makePlace()
  place.put("ABCD/photos/a.jpg", "one")
  place.put("ABCD/notes.txt", "two")
  assert.strictEqual((await run(["run", "--config", place.config])).status, 0)
  place.put("ABCD/notes.txt", "three")
  assert.strictEqual((await run(["run", "--config", place.config])).status, 0)
  publishZip(place, "HAND", [
    { name: "a%FF", raw: "a\xff", content: "x", mode: 0o640 },
    { name: "b\u001b[31m\nc", content: "xx" },
    { name: "d\u202ee", content: "" }
  ])
}, 60_000)
afterAll(() => place.remove())

const ls = (...args: ReadonlyArray<string>): Promise<Ended> => run(["ls", ...args, "--config", place.config])

describe("zipper ls", () => {
  it("shows modes, sizes, times in UTC and names, of either archive, and changes nothing", async () => {
    const before = picture(place.root)
    const [now, prev] = await Promise.all([ls("ABCD"), ls("ABCD", "--prev", "-q")])
    assert.strictEqual(now.status, 0, now.stderr)
    const [header, ...lines] = now.stdout.trimEnd().split("\n")
    assert.strictEqual(header, "MODE              SIZE  MODIFIED (UTC)       NAME")
    const time = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d"
    assert.match(lines[0] ?? "", new RegExp(`^-rw-r--r-- {9}5 B {2}${time} {2}notes.txt$`))
    assert.match(lines[1] ?? "", new RegExp(`^drwxr-xr-x {11}- {2}${time} {2}photos/$`))
    assert.match(lines[2] ?? "", new RegExp(`^-rw-r--r-- {9}3 B {2}${time} {2}photos/a.jpg$`))
    assert.match(lines[3] ?? "", /^\* 2 files, 8 B in \S+ABCD.zip, archived \d{4}-\d\d-\d\dT/)
    assert.match(prev.stdout, /^-rw-r--r-- {9}3 B .* notes.txt$/m)
    assert.notInclude(prev.stdout, "archived")
    assert.strictEqual(picture(place.root), before)
  })

  it("takes the patterns of restore --only, and names one that matches nothing", async () => {
    const [folder, none, wrong] = await Promise.all([
      ls("ABCD", "photos", "--json"),
      ls("ABCD", "*.txt", "photo"),
      ls("ABCD", "/")
    ])
    assert.deepStrictEqual(
      JSON.parse(folder.stdout).entries.map(({ name }: { name: string }) => name),
      ["photos/", "photos/a.jpg"]
    )
    assert.strictEqual(none.status, 1)
    assert.include(none.stdout, "notes.txt")
    assert.match(none.stderr, /"photo": nothing in \S+ABCD\.zip has that name\n$/)
    assert.strictEqual(wrong.status, 2)
  })

  it("shows no name that could steer a terminal, and has it exactly in its document", async () => {
    const [text, json] = await Promise.all([ls("HAND"), ls("HAND", "--json")])
    assert.include(text.stdout, "  a%FF\n")
    assert.include(text.stdout, "  b\\x1b[31m\\x0ac\n")
    assert.include(text.stdout, "  d\\u202ee\n")
    assert.notMatch(json.stdout, /[\u001b\u202e]/)
    const { entries, ...rest } = JSON.parse(json.stdout)
    assert.deepStrictEqual(entries[0], {
      name: "a%FF",
      original: "a\\xff",
      kind: "file",
      size: 1,
      modified_at_utc: "2023-11-14T22:13:20Z",
      mode: "0640"
    })
    assert.strictEqual(entries[1].name, "b\u001b[31m\nc")
    assert.deepInclude(rest, { version: 1, archive: "current", folder: "HAND", files: 3, bytes: 3, problems: [] })
  })

  it("lists the folders that have archives", async () => {
    const [text, json] = await Promise.all([ls(), ls("--json")])
    assert.strictEqual(text.status, 0, text.stderr)
    assert.match(
      text.stdout,
      /^FOLDER +SIZE +FILES +CONTENT +ARCHIVED \(UTC\)\nABCD +\d+ B +2 +8 B +\d{4}-\d\d-\d\d \d/
    )
    assert.match(text.stdout, /^HAND +\d+ B +3 +3 B +2025-01-01 12:00:00$/m)
    assert.deepInclude(JSON.parse(json.stdout).folders[1], { folder: "HAND", files: 3, bytes: 3 })
  })

  it("says in one line what is wrong with a list that is damaged, and with one that is not there", async () => {
    publishZip(place, "FLIP", [
      { name: "a", content: "good" },
      { name: "b", content: "bad" }
    ])
    const zip = join(place.target, "FLIP/FLIP.zip")
    const bytes = readFileSync(zip)
    bytes[bytes.lastIndexOf("b")] = 0
    writeFileSync(zip, bytes)
    const [text, json] = await Promise.all([ls("FLIP", "-q"), ls("FLIP", "--json")])
    assert.deepStrictEqual([text.status, json.status], [1, 1])
    assert.match(text.stderr, /^error: \S+FLIP\.zip is damaged at "\\x00": .*; unzip -l \S+ may show its names\n$/)
    assert.lengthOf(JSON.parse(json.stdout).problems, 1)
    rmSync(zip)
    const [gone, folders, never] = await Promise.all([ls("FLIP"), ls(), ls("WXYZ")])
    assert.deepStrictEqual([gone.status, folders.status, never.status], [1, 1, 2])
    assert.match(gone.stderr, /^error: \S+FLIP\.zip is missing\n$/)
    assert.match(folders.stderr, /^error: FLIP: \S+FLIP\.zip is missing\n$/)
    assert.include(never.stderr, "has no archives of WXYZ")
  })
})
