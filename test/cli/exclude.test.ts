import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, picture, run, toolsFor } from "../support/program/built.ts"
import { contentsOf } from "../support/readZip.ts"

const clock = fileURLToPath(new URL("../support/program/clock.mjs", import.meta.url))

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { files, sums } = toolsFor(() => place)

/** A run of a user to whom permissions mean something, an hour later: then no file is too young to be taken for unchanged. */
const job = async (...args: ReadonlyArray<string>) => {
  const isRoot = process.getuid?.() === 0
  if (isRoot) execFileSync("chown", ["-R", "--from=0", "65534:65534", place.root])
  const env = { NODE_OPTIONS: `--import=${clock}`, CLOCK_OFFSET: "3600000" }
  const ended = await run(["run", "--config", place.config, ...args], { env, ...(isRoot ? { uid: 65_534 } : {}) })
  return { ...ended, first: args.includes("--json") ? JSON.parse(ended.stdout).folders[0] : undefined }
}

const entries = async (folder = "ABCD"): Promise<ReadonlyArray<string>> => [
  ...(await contentsOf(join(place.target, folder, `${folder}.zip`))).keys()
]

const metadata = () => JSON.parse(readFileSync(join(place.target, "ABCD/metadata.json"), "utf8"))

describe("exclude", () => {
  it("leaves out what cannot be read, and counts it; without it the folder fails", async () => {
    place.put("ABCD/a.txt", "one")
    place.put("ABCD/private/key", "secret")
    place.put("ABCD/work/b.tmp", "temporary")
    place.put(Buffer.from("ABCD/caf\xe9", "latin1").toString("latin1"), "text")
    symlinkSync("a.txt", join(place.source, "ABCD/link"))
    chmodSync(join(place.source, "ABCD/work/b.tmp"), 0)
    chmodSync(join(place.source, "ABCD/private"), 0)
    const failed = await job()
    assert.strictEqual(failed.status, 1)
    assert.include(failed.stderr, "ABCD: cannot list ABCD/private: permission denied (EACCES)")

    place.configure({ exclude: ["*.tmp", "/private", "none"] })
    const planned = await job("--dry-run")
    assert.include(planned.stdout, "would archive 2 files")
    assert.include(planned.stdout, "; 1 symlink left out, 2 excluded\n")
    assert.deepStrictEqual(files("ABCD"), [])
    const ended = await job()
    assert.strictEqual(ended.status, 0, ended.stderr)
    assert.match(ended.stdout, /ABCD: archived 2 files, .*; 1 symlink left out, 2 excluded\n/)
    assert.deepStrictEqual(await entries(), ["a.txt", "caf\u00e9", "work/"])
    assert.deepStrictEqual(metadata().files, ["a.txt", "caf\u00e9"])
    sums("ABCD")
    const { first } = await job("--json", "--force")
    assert.strictEqual(first.left_out.excluded, 2)
  })

  it("makes a folder due once when it is changed, and what is excluded does not come back", async () => {
    for (const name of ["a", "b", "c.tmp"]) place.put(`ABCD/${name}`, `content of ${name}\n`.repeat(90))
    assert.strictEqual((await job()).status, 0)
    assert.deepStrictEqual(await entries(), ["a", "b", "c.tmp"])
    for (const [exclude, left, copied] of [
      [["*.tmp"], ["a", "b"], 2],
      [["*.tmp", "b"], ["a"], 1],
      [["b"], ["a", "c.tmp"], 1]
    ] as const) {
      place.configure({ exclude })
      const { first } = await job("--json")
      assert.deepInclude(first, {
        result: "archived",
        reason: "exclude or exclude_caches was changed",
        copied_files: copied
      })
      assert.deepStrictEqual(await entries(), left)
      assert.deepStrictEqual(metadata().files, left)
      place.configure({ exclude: [...exclude, ...exclude].reverse() })
      const status = await run(["status", "--json", "--config", place.config])
      assert.isNull(JSON.parse(status.stdout).archive.folders[0].due)
      assert.strictEqual((await job("--json")).first.result, "unchanged")
    }
    place.configure({})
    const status = await run(["status", "--json", "--config", place.config])
    assert.strictEqual(JSON.parse(status.stdout).archive.folders[0].due, "exclude or exclude_caches was changed")
    const { status: verified } = await run(["verify", "--config", place.config])
    assert.strictEqual(verified, 0)
  })

  it("that leaves no file of a folder fails it, and no other one; an archive without files can be accepted", async () => {
    place.put("ABCD/a/x.jpg", "one")
    place.put("EFGH/file", "two")
    assert.strictEqual((await job()).status, 0)
    const before = picture(join(place.target, "ABCD"))
    for (const exclude of [["*"], ["**"], ["a"], ["*.jpg"]]) {
      place.configure({ exclude: [...exclude, "none"] })
      const { status, stderr } = await job("--folder", "ABCD")
      assert.strictEqual(status, 1)
      assert.match(
        stderr,
        /ABCD: nothing to archive: exclude leaves no file of it \(1 excluded\); .*change exclude, or/
      )
      assert.strictEqual(picture(join(place.target, "ABCD")), before)
    }
    assert.strictEqual((await job()).status, 1)
    assert.deepStrictEqual(await entries("EFGH"), ["file"])
    assert.strictEqual((await job("--force", "--folder", "ABCD")).status, 0)
    assert.deepStrictEqual(await entries(), ["a/"])
    const { first, status } = await job("--json")
    assert.deepStrictEqual([status, first.result], [0, "unchanged"])
  })

  it("has its mistakes named, all at once: status 2, nothing touched", async () => {
    place.put("ABCD/a", "one")
    place.configure({ exclude: ["", "/", "./", "..", "*.tmp"], exclude_caches: "yes" })
    const before = picture(place.root)
    const wrong = await run(["run", "--config", place.config])
    assert.strictEqual(wrong.status, 2)
    for (const [index, pattern] of ["", "/", "./", ".."].entries()) {
      const line = `exclude[${index}]: ${JSON.stringify(pattern)} holds no name; expected a pattern such as *.tmp or cache/**`
      assert.include(wrong.stderr, line)
    }
    assert.match(wrong.stderr, /exclude_caches: "yes" is not true or false/)
    assert.strictEqual(picture(place.root), before)
    place.configure({ exclude: ["../cache"] })
    assert.include((await run(["run", "--config", place.config])).stderr, 'exclude[0]: "../cache" matches nothing')
    place.configure({ exclude: "cache" })
    assert.match((await run(["run", "--config", place.config])).stderr, /exclude: "cache" is not a list/)
    place.configure({ exclude: ["*.tmp", `${place.source}/ABCD/cache`] })
    assert.include(
      (await run(["run", "--config", place.config])).stderr,
      `exclude[1]: "${place.source}/ABCD/cache" is a path of this machine; write what comes after the name of the folder`
    )
    place.configure({ exclude: [1] })
    assert.match((await run(["run", "--config", place.config])).stderr, /exclude\[0\]: 1 is not a pattern such as/)
  })
})

describe("exclude_caches", () => {
  it("archives of a directory with CACHEDIR.TAG the tag alone, and the directory", async () => {
    place.put("ABCD/file", "one")
    place.put("ABCD/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n")
    place.put("ABCD/cache/thumb", "two")
    place.put("ABCD/cache/more/thumb", "three")
    place.put("ABCD/other/CACHEDIR.TAG", "signature: 8a477f597d28d172789f06886806bc55\n")
    place.put("ABCD/other/file", "four")
    mkdirSync(join(place.source, "ABCD/linked"))
    symlinkSync("../cache/CACHEDIR.TAG", join(place.source, "ABCD/linked/CACHEDIR.TAG"))
    place.put("ABCD/linked/file", "five")
    chmodSync(join(place.source, "ABCD/cache/more"), 0)
    place.configure({ exclude_caches: true })
    const ended = await job()
    assert.strictEqual(ended.status, 0, ended.stderr)
    assert.match(ended.stdout, /; 1 symlink left out, 2 excluded\n/)
    const kept = ["cache/", "cache/CACHEDIR.TAG", "file", "linked/", "linked/file", "other/", "other/CACHEDIR.TAG"]
    assert.deepStrictEqual(await entries(), [...kept, "other/file"])
    const excludesByTar = execFileSync("tar", ["-C", join(place.source, "ABCD"), "--exclude-caches", "-cf-", "."])
    const listed = execFileSync("tar", ["-tf-"], { input: excludesByTar }).toString().split("\n")
    const byTar = listed.map((name) => name.slice(2)).filter((name) => name !== "" && name !== "linked/CACHEDIR.TAG")
    assert.deepStrictEqual(byTar.sort(), [...(await entries())].sort())
    chmodSync(join(place.source, "ABCD/cache/more"), 0o755)
    place.configure({})
    assert.deepInclude((await job("--json")).first, { reason: "exclude or exclude_caches was changed", files: 7 })
  })
})
