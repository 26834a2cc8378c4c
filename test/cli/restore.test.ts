import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type Ended, makePlace, type Place, picture, run, start, toolsFor, zipper } from "../support/program/built.ts"
import { canMount, publishZip } from "../support/program/publish.ts"
import { foreignZip, type HandMade } from "../support/zip/handMade.ts"
import { contentOf } from "../support/zip/restore.ts"

/** Two archives of ABCD, and others that nobody would make by accident. */
let place: Place
beforeAll(async () => {
  place = makePlace()
  const { job } = toolsFor(() => place)
  place.put("ABCD/photos/a.jpg", "one")
  place.put("ABCD/notes.txt", "two")
  mkdirSync(join(place.source, "ABCD/empty"))
  assert.strictEqual((await job()).status, 0)
  place.put("ABCD/notes.txt", "three")
  assert.strictEqual((await job()).status, 0)
})
afterAll(() => place.remove())

const restore = (...args: ReadonlyArray<string>): Promise<Ended> =>
  run(["restore", ...args, "--config", place.config], { cwd: place.root })

const at = (...names: ReadonlyArray<string>): string => join(place.root, ...names)

const publish = (folder: string, entries: ReadonlyArray<HandMade>): void => publishZip(place, folder, entries)

describe("zipper restore", () => {
  it("puts everything back and says so; a second time it changes nothing, unless told to, quietly", async () => {
    mkdirSync(at("over"))
    writeFileSync(at("over", "notes.txt"), "changed")
    const [first, quiet] = await Promise.all([
      restore("ABCD", "--to", "all"),
      restore("ABCD", "--to", "over", "--overwrite", "--quiet")
    ])
    assert.strictEqual(first.status, 0, first.stderr)
    assert.match(first.stdout, /^\* restored 2 files, 8 B to \S+\/all, \d/m)
    const original = contentOf(join(place.source, "ABCD"))
    assert.deepStrictEqual(contentOf(at("all")), original)
    const before = picture(at("all"))
    const second = await restore("ABCD", "--to", "all", "--json")
    assert.strictEqual(second.status, 1)
    assert.include(second.stderr, "notes.txt: there is a file already")
    assert.include(second.stderr, "nothing was written: 2 names of the archive are taken in ")
    assert.deepInclude(JSON.parse(second.stdout), {
      result: "refused",
      files: 0,
      folders: 0,
      conflicts: {
        count: 2,
        first: [
          { path: "notes.txt", is: "file", wanted: "file" },
          { path: "photos/a.jpg", is: "file", wanted: "file" }
        ]
      }
    })
    assert.strictEqual(picture(at("all")), before)
    assert.deepStrictEqual(quiet, { status: 0, stdout: "", stderr: "" })
    assert.deepStrictEqual(contentOf(at("over")), original)
  })

  it("takes the archive before, or what a pattern means; a dry run tells, and writes nothing", async () => {
    const [before, none, told] = await Promise.all([
      restore("--prev", "--to=some", "ABCD", "--only", "notes.txt"),
      restore("ABCD", "--to", "none", "--only", "photo", "--only", "notes.txt"),
      restore("ABCD", "--to", "dry", "--dry-run", "--json")
    ])
    assert.strictEqual(before.status, 0, before.stderr)
    assert.deepStrictEqual(readdirSync(at("some")), ["notes.txt"])
    assert.strictEqual(readFileSync(at("some", "notes.txt"), "utf8"), "two")
    assert.strictEqual(none.status, 1)
    assert.include(none.stderr, '--only "photo": nothing in ')
    assert.strictEqual(told.status, 0)
    assert.deepInclude(JSON.parse(told.stdout), {
      version: 1,
      dry_run: true,
      folder: "ABCD",
      archive: "current",
      result: "restored",
      files: 2,
      bytes: 8,
      folders: 2,
      replaced: 0,
      problems: []
    })
    assert.deepStrictEqual([existsSync(at("none")), existsSync(at("dry"))], [false, false])
  })

  it("names a file with a star in its name by a backslash", async () => {
    publish("STAR", [
      { name: "a*b", content: "star" },
      { name: "a\\b", content: "backslash" },
      { name: "axb", content: "x" }
    ])
    const [star, backslash] = await Promise.all([
      restore("STAR", "--to", "star", "--only", "a\\*b"),
      restore("STAR", "--to", "backslash", "--only", "a\\\\b")
    ])
    assert.deepStrictEqual([star.status, backslash.status], [0, 0], star.stderr + backslash.stderr)
    assert.deepStrictEqual([readdirSync(at("star")), readdirSync(at("backslash"))], [["a*b"], ["a\\b"]])
  })

  it("fails where the archives that there were are all gone, and calls that no slip of who asks", async () => {
    const lost = makePlace()
    try {
      lost.put("ABCD/a", "one")
      assert.strictEqual((await run(["run", "--config", lost.config])).status, 0)
      rmSync(join(lost.target, "ABCD"), { recursive: true })
      const ask = (name: string) => run(["restore", name, "--to", join(lost.root, "back"), "--config", lost.config])
      const [gone, never] = await Promise.all([ask("ABCD"), ask("WXYZ")])
      assert.strictEqual(gone.status, 1)
      assert.include(gone.stderr, "nothing is left of the archives of this folder, and runs have published some")
      assert.notInclude(gone.stderr, "--help")
      assert.strictEqual(never.status, 2)
    } finally {
      lost.remove()
    }
  })

  it("writes nothing of an archive that is damaged or made to do harm; what fails on the way is named", async () => {
    publish("EVIL", [{ name: "a%FF", raw: "../../evil\xff", content: "x" }])
    publish("CRCS", [
      { name: "a", content: "good" },
      { name: "b", content: "bad", crc: 1 }
    ])
    publish("FLIP", [{ name: "a", content: "good" }])
    const zip = join(place.target, "FLIP/FLIP.zip")
    const bytes = readFileSync(zip)
    bytes[bytes.indexOf("good")] = 0
    writeFileSync(zip, bytes)
    const [evil, flipped, wrong] = await Promise.all([
      restore("EVIL", "--to", "evil"),
      restore("FLIP", "--to", "my flip", "--only", "*"),
      restore("CRCS", "--to", "crcs", "--json")
    ])
    assert.deepStrictEqual([evil.status, flipped.status, wrong.status], [1, 1, 1])
    assert.include(evil.stderr, "a%FF")
    assert.include(flipped.stderr, `${zip} cannot be relied on; there is no archive before it; unzip`)
    assert.include(flipped.stderr, `unzip ${zip} -d 'my flip'`)
    assert.deepStrictEqual([existsSync(at("evil")), existsSync(at("my flip"))], [false, false])
    assert.include(wrong.stderr, "b: its CRC-32 is wrong")
    assert.match(wrong.stderr, /crcs is INCOMPLETE: 1 of 2 files is restored; what was written of files/)
    assert.match(wrong.stderr, /CRCS.zip is damaged; there is no archive before it; unzip takes .*: unzip \S+ -d DIR$/m)
    assert.deepStrictEqual(readdirSync(at("crcs")), ["a"])
    assert.deepInclude(JSON.parse(wrong.stdout), {
      result: "incomplete",
      files: 1,
      bytes: 4,
      failures: { count: 1, first: [{ path: "b", kind: "missing", error: "its CRC-32 is wrong" }] }
    })
  })

  it("says of a zip of another program without checksums that nothing is known of it, and what to do", async () => {
    const home = join(place.target, "MADE")
    const zip = join(home, "MADE.zip")
    mkdirSync(home)
    writeFileSync(zip, foreignZip({ a: "x" }))
    const [restored, listed] = await Promise.all([
      restore("MADE", "--to", "made", "-q"),
      run(["ls", "MADE", "-q", "--from", place.target])
    ])
    rmSync(home, { recursive: true })
    assert.deepStrictEqual([restored.status, listed.status, existsSync(at("made"))], [1, 1, false])
    const known = `${zip} is of no known content: it was made by another program, and no checksum beside it says what it has to be`
    const unzip = `\`unzip -t ${zip}\` checks its entries, \`unzip ${zip} -d DIR\` restores it`
    assert.strictEqual(restored.stderr, `error: nothing was written: ${known}; ${unzip}\n`)
    assert.match(
      listed.stderr,
      /^error: \S+MADE.zip was made by another program, .*; unzip -l \S+ may show its names\n$/
    )
  })

  it("tells what is wrong with the command line", async () => {
    const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, number, ReadonlyArray<string>]> = [
      [[".abcd", "--to", "out", "--only", "/"], 2, ["it begins with a dot", "--only: a pattern"]],
      [["WXYZ", "--to", "out"], 2, ["no archives of WXYZ: there are ABCD"]],
      [["ABCD", "--to", "no/out"], 1, ["there is no folder"]],
      [["ABCD", "--to", "way/ABCD", "--overwrite"], 1, ["where the archives are"]]
    ]
    symlinkSync(place.target, at("way"))
    const before = picture(place.target)
    await Promise.all(
      wrong.map(async ([args, status, words]) => {
        const found = await restore(...args)
        assert.strictEqual(found.status, status, args.join(" "))
        for (const each of words) assert.include(found.stderr, each)
      })
    )
    assert.strictEqual(picture(place.target), before)
    assert.isFalse(existsSync(at("out")))
  })

  it.skipIf(!canMount)("leaves the archives alone where they are mounted a second time", () => {
    mkdirSync(at("alias"))
    const { status, stderr } = spawnSync(
      "unshare",
      [
        "-m",
        "sh",
        "-c",
        'mount --bind "$1" "$2" && exec "$3" "$4" restore ABCD --to "$2/ABCD" --overwrite --config "$5"',
        "sh",
        place.target,
        at("alias"),
        process.execPath,
        zipper,
        place.config
      ],
      { encoding: "utf8" }
    )
    assert.strictEqual(status, 1)
    assert.include(stderr, "where the archives are; nothing was written")
  })
})

describe("stopped by a signal", () => {
  it("restore removes the file it is at, and says what is left, in the document too", async () => {
    publish("LONG", [
      { name: "a", content: "small" },
      { name: "b", content: Buffer.alloc(150_000_000, "x"), deflated: true }
    ])
    const { child, ended } = start(["restore", "LONG", "--to", at("long"), "--json", "--config", place.config])
    const holds = (name: string) => existsSync(at("long", name)) && statSync(at("long", name)).size > 0
    const isAt = () => holds("a") && holds("b")
    while (!isAt() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 2))
    child.kill("SIGINT")
    const { status, stderr, stdout } = await ended
    assert.strictEqual(status, 130)
    assert.match(stderr, /stopped by a signal: \S+long is INCOMPLETE: 1 of 2 files is restored/)
    assert.deepStrictEqual(readdirSync(at("long")), ["a"])
    const document = JSON.parse(stdout)
    assert.deepInclude(document, { version: 1, result: "incomplete", files: 1, bytes: 5 })
    assert.include(document.problems.at(-1), "stopped by a signal")
  })

  it("any command says so in its document", async () => {
    const config = at("told.json")
    const server = createServer()
    const asked = new Promise((resolve) => server.once("request", resolve))
    server.listen(0, "127.0.0.1")
    await new Promise((resolve) => server.once("listening", resolve))
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const keys: unknown = JSON.parse(readFileSync(place.config, "utf8"))
    const gotify = { url: `http://127.0.0.1:${port}`, token: "AbC" }
    writeFileSync(config, JSON.stringify({ ...Object(keys), gotify }), { mode: 0o600 })
    const { child, ended } = start(["notify-test", "--json", "--config", config])
    await Promise.race([asked, ended])
    child.kill("SIGTERM")
    const { status, stdout } = await ended
    server.closeAllConnections()
    server.close()
    assert.strictEqual(status, 143)
    assert.deepStrictEqual(JSON.parse(stdout), {
      version: 1,
      errors: ["stopped by a signal before it was done"]
    })
  })
})
