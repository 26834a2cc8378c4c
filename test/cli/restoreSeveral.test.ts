import { spawnSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { type Ended, makePlace, type Place, picture, run, start, zipper } from "../support/program/built.ts"
import { canMount, publishZip } from "../support/program/publish.ts"
import { contentOf } from "../support/zip/restore.ts"

let place: Place
beforeEach(async () => {
  place = makePlace()
  place.put("ABCD/photos/a.jpg", "one")
  place.put("EFGH/notes.txt", "two")
  place.put("IJKL/notes.txt", "three")
  assert.strictEqual((await run(["run", "--config", place.config])).status, 0)
}, 60_000)
afterEach(() => place.remove())

const at = (...names: ReadonlyArray<string>): string => join(place.root, ...names)

const restore = (...args: ReadonlyArray<string>): Promise<Ended> =>
  run(["restore", ...args, "--config", place.config], { cwd: place.root })

/** The folders themselves are no entries of their archives. */
const sameContent = (to: string): void => {
  assert.deepStrictEqual(readdirSync(at(to)), readdirSync(place.source))
  for (const name of readdirSync(place.source)) {
    assert.deepStrictEqual(contentOf(at(to, name)), contentOf(join(place.source, name)))
  }
}

const damage = (folder: string): void => writeFileSync(join(place.target, folder, `${folder}.zip`), "damaged")

describe("restore of several folders", () => {
  it("puts each into a folder of its name, which --all does with one folder too", async () => {
    const some = await restore("EFGH", "ABCD", "--to", "some")
    assert.strictEqual(some.status, 0, some.stderr)
    assert.match(some.stdout, /^\* 2 folders, each to a folder of its name in some$/m)
    assert.match(some.stdout, /^\* restored 2 of 2 folders in some: 2 files, 6 B, \d/m)
    assert.deepStrictEqual(readdirSync(at("some")), ["ABCD", "EFGH"])
    const all = await restore("--all", "--to", "all")
    assert.strictEqual(all.status, 0, all.stderr)
    sameContent("all")
    for (const name of ["EFGH", "IJKL"]) rmSync(join(place.target, name), { recursive: true })
    rmSync(join(place.target, ".zipper"), { recursive: true })
    assert.strictEqual((await restore("--all", "--to", "one", "--quiet")).status, 0)
    assert.deepStrictEqual(readdirSync(at("one")), ["ABCD"])
  })

  it("restores what is good, names what is not, and ends with 1", async () => {
    damage("EFGH")
    rmSync(join(place.target, "IJKL"), { recursive: true })
    const { status, stderr, stdout } = await restore("--all", "--to", "back", "--json")
    assert.strictEqual(status, 1)
    assert.deepStrictEqual(contentOf(at("back", "ABCD")), contentOf(join(place.source, "ABCD")))
    assert.deepStrictEqual(readdirSync(at("back")), ["ABCD"])
    assert.include(stderr, "EFGH: nothing was written: ")
    assert.include(stderr, "IJKL: IJKL.zip is missing: nothing is left of the archives of this folder")
    assert.match(stderr, /not restored: EFGH, IJKL$/m)
    const document = JSON.parse(stdout)
    assert.deepInclude(document, { version: 1, dry_run: false, result: "incomplete" })
    assert.deepStrictEqual(
      document.restores.map((one: { folder: string; result: string }) => [one.folder, one.result]),
      [
        ["ABCD", "restored"],
        ["EFGH", "refused"],
        ["IJKL", "refused"]
      ]
    )
  })

  it("writes nothing at all while something is in the way of one folder", async () => {
    mkdirSync(at("back/IJKL"), { recursive: true })
    writeFileSync(at("back/IJKL/notes.txt"), "mine")
    const before = picture(at("back"))
    const conflict = await restore("--all", "--to", "back", "--json")
    assert.strictEqual(conflict.status, 1)
    assert.include(conflict.stderr, "IJKL: notes.txt: there is a file already")
    assert.strictEqual(JSON.parse(conflict.stdout).result, "refused")
    rmSync(at("back/IJKL"), { recursive: true })
    symlinkSync(place.source, at("back/IJKL"))
    const symlink = await restore("ABCD", "IJKL", "--to", "back", "--overwrite")
    assert.strictEqual(symlink.status, 1)
    assert.include(symlink.stderr, 'back/IJKL": it is a symlink; nothing was written')
    assert.deepStrictEqual(readdirSync(at("back")), ["IJKL"])
    rmSync(at("back/IJKL"))
    mkdirSync(at("back/IJKL"))
    writeFileSync(at("back/IJKL/notes.txt"), "mine")
    assert.strictEqual(picture(at("back")).length, before.length)
    const replaced = await restore("--all", "--to", "back", "--overwrite")
    assert.strictEqual(replaced.status, 0, replaced.stderr)
    assert.strictEqual(readFileSync(at("back/IJKL/notes.txt"), "utf8"), "three")
  })

  it("takes a pattern that means something in one of them, and none that means nothing", async () => {
    const [none, some] = await Promise.all([
      restore("--all", "--to", "none", "--only", "*.doc", "--only", "notes.txt"),
      restore("--all", "--to", "some", "--only", "*.jpg")
    ])
    assert.strictEqual(none.status, 1)
    assert.include(none.stderr, '--only "*.doc": nothing in these archives has that name')
    assert.isFalse(existsSync(at("none")))
    assert.strictEqual(some.status, 0, some.stderr)
    assert.match(some.stdout, /^\* restored 1 of 3 folders in some: 1 file, /m)
    assert.deepStrictEqual(readdirSync(at("some")), ["ABCD"])
  })

  it("names each file in a dry run, and those that it would replace; nothing with --quiet", async () => {
    mkdirSync(at("dry/EFGH"), { recursive: true })
    writeFileSync(at("dry/EFGH/notes.txt"), "mine")
    const wanted = ["ABCD", "EFGH", "--to", "dry", "--overwrite", "--dry-run"]
    const [loud, quiet, one] = await Promise.all([
      restore(...wanted),
      restore(...wanted, "--quiet"),
      restore("ABCD", "--to", "dry", "--dry-run")
    ])
    assert.include(loud.stdout, `\nwould write ${at("dry/ABCD/photos/a.jpg")} (3 B)\n`)
    assert.include(loud.stdout, `\nwould replace ${at("dry/EFGH/notes.txt")} (3 B)\n`)
    assert.deepStrictEqual(quiet, { status: 0, stdout: "", stderr: "" })
    assert.include(one.stdout, `\nwould write ${at("dry/photos/a.jpg")} (3 B)\n`)
    assert.deepStrictEqual(readdirSync(at("dry")), ["EFGH"])
    assert.strictEqual(readFileSync(at("dry/EFGH/notes.txt"), "utf8"), "mine")
  })

  it("refuses names that are unknown before it reads any archive, and --all with names", async () => {
    const [unknown, both, nothing, twoPlaces] = await Promise.all([
      restore("ABCD", "WXYZ", "--to", "back"),
      restore("ABCD", "--all", "--to", "back"),
      restore("--to", "back"),
      restore("ABCD", "--from", place.target, "--to", "back")
    ])
    assert.deepStrictEqual([unknown.status, both.status, nothing.status, twoPlaces.status], [2, 2, 2, 2])
    assert.include(unknown.stderr, "has no archives of WXYZ: there are ABCD, EFGH, IJKL")
    assert.include(both.stderr, "--all: takes all folders")
    assert.include(nothing.stderr, "give the folders to restore, or --all")
    assert.include(twoPlaces.stderr, "--from and --config: give one or the other")
    assert.isFalse(existsSync(at("back")))
  })

  it("stopped by a signal says what was restored and names the rest", async () => {
    const content = Buffer.alloc(150_000_000, "x")
    publishZip(place, "FLNG", [{ name: "b", content, deflated: true }])
    const { child, ended } = start(["restore", "--all", "--to", at("long"), "--json", "--config", place.config])
    const isAt = () => existsSync(at("long/FLNG/b")) && statSync(at("long/FLNG/b")).size > 0
    while (!isAt() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 2))
    child.kill("SIGINT")
    const { status, stderr, stdout } = await ended
    assert.strictEqual(status, 130)
    assert.match(stderr, /ABCD: restored 1 file/)
    assert.match(stderr, /FLNG: stopped by a signal: no file was restored to \S+FLNG; the files at work were removed/)
    assert.match(stderr, /not begun \(stopped by a signal\): IJKL$/m)
    assert.deepStrictEqual(readdirSync(at("long")), ["ABCD", "EFGH", "FLNG"])
    const { restores, result } = JSON.parse(stdout)
    assert.strictEqual(result, "incomplete")
    assert.deepStrictEqual(
      restores.map((one: { result: string }) => one.result),
      ["restored", "restored", "incomplete", "refused"]
    )
  })
})

describe("restore --from", () => {
  const others = "/nonexistent/zipper.json"

  it.skipIf(process.getuid?.() !== 0)("needs no configuration, as a user who may only read there", async () => {
    chmodSync(place.root, 0o755)
    spawnSync("chmod", ["-R", "a+rX", place.target])
    mkdirSync(at("theirs"))
    chmodSync(at("theirs"), 0o777)
    const before = picture(place.target)
    const all = ["--from", "../target", "--to", "all", "--all"]
    const options = { env: { ZIPPER_CONFIG: others }, cwd: at("theirs"), uid: 65534 }
    const { status, stderr } = await run(["restore", ...all], options)
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(stderr, "")
    assert.strictEqual(picture(place.target), before)
    for (const name of ["ABCD", "EFGH", "IJKL"]) {
      assert.sameMembers(readdirSync(at("theirs/all", name)), readdirSync(join(place.source, name)))
    }
    assert.strictEqual((await run(["ls", "ABCD", ...all.slice(0, 2)], options)).status, 0)
  })

  it.skipIf(process.getuid?.() !== 0)(
    "replaces what a restore has given back, in folders that are read-only",
    async () => {
      place.put("MODE/read-only/file", "content")
      place.put("MODE/shut/file", "content")
      chmodSync(join(place.source, "MODE/read-only"), 0o555)
      chmodSync(join(place.source, "MODE/shut"), 0)
      assert.strictEqual((await run(["run", "--config", place.config])).status, 0)
      for (const folder of [place.root, place.target]) chmodSync(folder, 0o755)
      spawnSync("chmod", ["-R", "a+rX", join(place.target, "MODE")])
      mkdirSync(at("again"))
      chmodSync(at("again"), 0o777)
      const command = ["restore", "MODE", "--from", place.target, "--to", "back"]
      const again = (...args: ReadonlyArray<string>) => run([...command, ...args], { cwd: at("again"), uid: 65534 })
      assert.strictEqual((await again()).status, 0)
      const refused = await again("--overwrite")
      assert.strictEqual(refused.status, 1)
      const [advice] = /chmod u\+rwx \S+(?=; nothing was written)/.exec(refused.stderr) ?? []
      assert.strictEqual(advice, `chmod u+rwx ${at("again/back/shut")}`, refused.stderr)
      chmodSync(at("again/back/shut"), 0o700)
      const { status, stderr } = await again("--overwrite")
      assert.strictEqual(status, 0, stderr)
      assert.deepStrictEqual(contentOf(at("again/back")), contentOf(join(place.source, "MODE")))
    }
  )

  it.skipIf(process.getuid?.() !== 0)(
    "says of a folder that the user may not look into why it is not read",
    async () => {
      chmodSync(place.root, 0o755)
      chmodSync(place.target, 0o755)
      for (const name of ["ABCD", "EFGH", "IJKL"]) chmodSync(join(place.target, name), 0o750)
      const line = "cannot look at the archives of ABCD: "
      const why = `${line}${place.target}/ABCD/ABCD.zip: permission denied (EACCES); do this as the user who runs the job`
      for (const command of [["restore", "ABCD", "--to", "x"], ["restore", "--all", "--to", "x"], ["ls"]]) {
        const { status, stderr } = await run([...command, "--from", place.target], { cwd: place.root, uid: 65534 })
        assert.strictEqual(status, 1, stderr)
        assert.include(stderr, why)
      }
    }
  )

  it.skipIf(!canMount)("reads a disk that is mounted read-only, without the state of the job", () => {
    rmSync(join(place.target, ".zipper"), { recursive: true })
    mkdirSync(at("disk"))
    const { status, stderr, stdout } = spawnSync(
      "unshare",
      [
        ...["-m", "sh", "-c"],
        'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && ! touch "$2/x" 2>/dev/null && exec "$3" "$4" restore --all --from "$2" --to "$5"',
        ...["sh", place.target, at("disk"), process.execPath, zipper, at("back")]
      ],
      { encoding: "utf8", env: { ZIPPER_CONFIG: others, PATH: process.env["PATH"] } }
    )
    assert.strictEqual(status, 0, stderr)
    assert.include(stdout, "restored 3 of 3 folders")
    sameContent("back")
  })

  it("gives commands that name the target, and says where there is nothing", async () => {
    place.put("ABCD/photos/a.jpg", "again")
    await run(["run", "--config", place.config])
    damage("ABCD")
    const from = (target: string) => run(["restore", "ABCD", "--from", target, "--to", at("back")])
    const [damaged, empty, nowhere] = await Promise.all([from(place.target), from(at("source")), from(at("no"))])
    assert.deepStrictEqual([damaged.status, empty.status, nowhere.status], [1, 2, 1])
    assert.include(damaged.stderr, `zipper restore ABCD --prev --to ${at("back")} --from ${place.target}`)
    assert.notInclude(damaged.stderr, "--config")
    assert.include(nowhere.stderr, "does not exist: is its dataset mounted, and is --from right?")
    assert.isFalse(existsSync(at("back")))
  })
})
