import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, picture, run } from "../support/program/built.ts"

const names = [
  "Documents",
  "photos 2024",
  "it's",
  "日本",
  "a\\b",
  'a"b',
  "-rf",
  "index",
  "x",
  "x.json",
  "x.new",
  "x.zip"
]

let place: Place
beforeEach(() => {
  place = makePlace({ folders: "[^.].*" })
  for (const name of names) place.put(`${name}/sub/file`, `content of ${name}`)
})
afterEach(() => place.remove())

const zipper = async (status: number, command: string, ...args: ReadonlyArray<string>) => {
  const ended = await run([command, "--config", place.config, ...args], { env: { LANG: "C.UTF-8" } })
  assert.strictEqual(ended.status, status, ended.stdout + ended.stderr)
  return ended
}

const checkSums = (folder: string): void => {
  for (const [program, ending] of [
    ["sha256sum", ".sha256"],
    ["md5sum", ".md5"]
  ] as const) {
    const files = readdirSync(folder).filter((name) => name.endsWith(ending))
    assert.isAbove(files.length, 0)
    for (const file of files) execFileSync(program, ["--check", "--quiet", "--strict", "--", file], { cwd: folder })
  }
}

/** An ideograph takes two columns. */
const inColumns = (text: string, cells: RegExp): void => {
  const lines = text.split("\n").filter((line) => cells.test(line))
  assert.lengthOf(lines, names.length)
  const ends = lines.map((line) => line.search(cells) + (line.startsWith("日本") ? 2 : 0))
  assert.lengthOf([...new Set(ends)], 1, text)
}

describe("folders with names of any kind", () => {
  it("are archived, found unchanged, verified, reported and restored", async () => {
    assert.include((await zipper(0, "run")).stdout, `${names.length} archived, 0 unchanged, 0 failed`)
    place.put("a\\b/sub/file", "changed")
    place.put("-rf/new", "new")
    await zipper(0, "run", "--quiet")
    const again: { readonly archived: number } = JSON.parse((await zipper(0, "run", "--json")).stdout)
    assert.strictEqual(again.archived, 0)
    for (const name of names) {
      const sets = ["a\\b", "-rf"].includes(name) ? [`${name}.prev.zip`, `${name}.zip`] : [`${name}.zip`]
      assert.deepStrictEqual(
        readdirSync(join(place.target, name))
          .filter((file) => file.endsWith(".zip"))
          .sort(),
        sets.sort(),
        name
      )
      checkSums(join(place.target, name))
    }
    // Nothing is left of what was being written.
    assert.deepStrictEqual(readdirSync(join(place.target, ".zipper/index")).sort(), [...names].sort())

    const status = await zipper(0, "status")
    assert.include(status.stdout, "all well")
    inColumns(status.stdout, / just now {2}/)
    inColumns((await zipper(0, "ls")).stdout, / B +\d+ +\d+ B /)

    assert.include((await zipper(0, "verify")).stdout, `${names.length} good`)
    assert.include((await zipper(0, "verify", "--prev", "--", "-rf", "a\\b")).stdout, "2 good")
    for (const name of names) {
      const to = join(place.root, `back of ${names.indexOf(name)}`)
      await zipper(0, "restore", "--to", to, "--", name)
      assert.strictEqual(
        readFileSync(join(to, "sub/file"), "utf8"),
        readFileSync(join(place.source, name, "sub/file"), "utf8")
      )
    }
    await zipper(0, "report", "--out", join(place.root, "page.html"))
    const html = readFileSync(join(place.root, "page.html"), "utf8")
    for (const name of ["a&quot;b", "photos 2024", "日本", "it&#39;s"]) assert.include(html, name)
  })

  it("have labels of metrics and pairs of the log that can be read back", async () => {
    place.configure({ metrics_file: join(place.root, "zipper.prom") })
    await zipper(0, "run", "--quiet")
    const metrics = readFileSync(join(place.root, "zipper.prom"), "utf8")
    for (const label of ['"a\\"b"', '"a\\\\b"', '"photos 2024"', '"日本"', '"-rf"']) {
      assert.include(metrics, `folder=${label}}`)
    }
    const log = readFileSync(join(place.root, "zipper.log"), "utf8")
    for (const pair of ['folder="photos 2024"', 'folder="a\\"b"', 'folder="a\\\\b"', 'folder="日本"'])
      assert.include(log, pair)
  })

  it("are quoted in the commands of messages", async () => {
    await zipper(0, "run", "--quiet")
    const never = await zipper(1, "ls", "--prev", "--", "-rf")
    assert.include(never.stderr, `the newest one: zipper ls --config ${place.config} -- -rf\n`)
    for (const name of ["it's", "-rf", "photos 2024"]) rmSync(join(place.target, name, `${name}.zip`))
    const { stderr } = await zipper(1, "verify")
    for (const word of ["'it'\\''s'", "-rf", "'photos 2024'"]) {
      assert.include(stderr, `zipper run --config ${place.config} --force --folder ${word}\n`)
    }
    await zipper(0, "run", "--force", "--folder", "-rf")
    rmSync(join(place.source, "it's/sub"), { recursive: true })
    const advised = `zipper run --config ${place.config} --force --folder 'it'\\''s'`
    assert.include((await zipper(1, "run")).stderr, advised)
    // However it is named: another reason would be told as a new failure.
    const options = { env: { LANG: "C.UTF-8" }, cwd: place.root }
    assert.include((await run(["run", "--config", "config.json"], options)).stderr, advised)
  })

  it("that are asked for and cannot be archived fail the run and check, by name; lost+found is not asked for", async () => {
    mkdirSync(join(place.source, "lost+found"))
    await zipper(0, "run", "--quiet")
    mkdirSync(join(place.source, "photos.prev"))
    mkdirSync(join(place.source, "new\nline"))
    mkdirSync(Buffer.concat([Buffer.from(`${place.source}/b`), Buffer.from([0xff])]))
    mkdirSync(join(place.source, "l".repeat(101)))
    const ran = await zipper(1, "run", "--quiet")
    const checked = await zipper(3, "check")
    for (const text of ["photos.prev", "new\\x0aline", "b\\xff", "l".repeat(101)]) {
      assert.include(ran.stderr, `${text} is not archived: its name `)
      assert.include(checked.stderr + checked.stdout, `${text} is not archived: its name `)
    }
    assert.isFalse(existsSync(join(place.target, "photos.prev")))
    const document = JSON.parse((await zipper(1, "run", "--json")).stdout)
    assert.deepInclude(document, { archived: 0, failed: 0 })
    assert.lengthOf(document.not_archived, 4)
    const shown = await zipper(0, "status")
    assert.match(shown.stdout, /it failed[\s\S]*photos\.prev is not archived: its name ends in \.prev/)
    // A run of chosen folders is asked for these alone.
    await zipper(0, "run", "--quiet", "--folder", "Documents")
  })

  it("of an earlier pattern keep their archives, which stay listed; a folder of another program is left alone", async () => {
    await zipper(0, "run", "--quiet")
    place.configure({ folders: "Documents" })
    const mine = join(place.target, "Family")
    mkdirSync(mine)
    writeFileSync(join(mine, "metadata.json"), "mine")
    writeFileSync(join(mine, ".state.json"), '{"of":"another program"}')
    const before = picture(mine)
    const ran = await zipper(0, "run")
    assert.include(ran.stdout, "0 archived, 1 unchanged")
    assert.include(
      ran.stderr + ran.stdout,
      'x: is not archived any more: its name does not match "folders" (Documents)'
    )
    const { stdout } = await zipper(0, "status")
    assert.match(stdout, /^photos 2024 .*gone from source$/m)
    assert.notInclude(stdout, "Family")
    assert.include((await zipper(0, "verify")).stdout, `${names.length} good`)
    await zipper(0, "restore", "photos 2024", "--to", join(place.root, "back"))
    assert.strictEqual(picture(mine), before)
    const refused = await zipper(2, "run", "--folder", "x", "--folder", "Documents")
    assert.include(refused.stderr, '--folder: "x" does not match "folders" (Documents)')
    assert.notInclude(refused.stderr, '"Documents"')
  })

  it("that the default does not ask for are a finding of check, with what takes them", async () => {
    place.configure({ folders: undefined })
    const { stderr, stdout } = await zipper(3, "check")
    assert.include(stderr, "has a name that is four upper-case letters or digits: there is nothing to archive")
    assert.match(stderr, /"folders": "\[\^\.\]\.\*" takes every one: .*Documents.* and 2 more/)
    assert.notInclude(stdout, "a run would work")
    const ran = await zipper(3, "run", "--quiet")
    assert.match(ran.stderr, /^\S+ the source holds no folder whose name is four upper-case .*: zipper check lists/)
    const refused = await zipper(2, "run", "--folder", "Documents")
    assert.include(refused.stderr, '--folder: "Documents" is not four upper-case letters or digits')
  })

  it("are chosen by a regular expression, and a mistake in it is one line", async () => {
    for (const [folders, words] of [
      ["(", "is no regular expression"],
      ["..", 'matches ".."'],
      ["", "is empty"]
    ] as const) {
      place.configure({ folders })
      const before = picture(place.target)
      const { stderr } = await zipper(2, "run")
      assert.match(stderr.trim(), new RegExp(`folders: "[^"]*" ${words.replace(/[".]/g, "\\$&")}[^\n]*$`))
      assert.strictEqual(picture(place.target), before)
    }
  })
})
