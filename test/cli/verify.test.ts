import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { makePlace, type Place, picture, run, toolsFor } from "../support/program/built.ts"
import { foreignZip } from "../support/zip/handMade.ts"

let place: Place
const { job } = toolsFor(() => place)
const verify = (...args: ReadonlyArray<string>) => run(["verify", "--config", place.config, ...args])

beforeAll(async () => {
  place = makePlace()
  place.put("ABCD/a.txt", "a".repeat(1000))
  place.put("EFGH/b.txt", "b")
  await job()
  place.put("ABCD/a.txt", "b".repeat(1000))
  await job()
})

afterAll(() => place.remove())

describe("zipper verify", () => {
  it("reads all archives, or those before, and touches nothing but what it remembers", async () => {
    const archives = () => ["ABCD", "EFGH"].map((name) => picture(join(place.target, name)))
    const before = archives()
    const current = await verify()
    assert.strictEqual(current.status, 0, current.stderr)
    assert.match(current.stdout, /^\* ABCD: 1 file, 1000 B, good \(.*\)\n\* EFGH: 1 file, 1 B, good/)
    assert.match(current.stdout, /\n\* 2 good, 0 damaged; .* read in .*\n$/)
    const quiet = await verify("--quiet", "EFGH")
    assert.deepStrictEqual([quiet.status, quiet.stdout, quiet.stderr], [0, "", ""])
    const previous = await verify("--prev", "--json")
    assert.strictEqual(previous.status, 0, previous.stderr)
    const { folders, which }: { folders: ReadonlyArray<{ folder: string }>; which: string } = JSON.parse(
      previous.stdout
    )
    assert.deepStrictEqual([which, folders.map(({ folder }) => folder)], ["previous", ["ABCD"]])
    assert.deepStrictEqual(archives(), before)
  })

  it("exits 1 and names what is damaged, quiet or not", async () => {
    const zip = join(place.target, "ABCD", "ABCD.zip")
    const content = readFileSync(zip)
    const flipped = Buffer.from(content)
    const at = content.indexOf("a.txt") + 20
    flipped[at] = (content[at] ?? 0) ^ 4
    writeFileSync(zip, flipped)
    const { status, stderr, stdout } = await verify("--quiet")
    writeFileSync(zip, content)
    assert.deepStrictEqual([status, stdout], [1, ""])
    assert.match(stderr, /^error: ABCD: ABCD\.zip at "a\.txt": /)
    assert.include(stderr, "what to do: the archive before it is good. Files from there:\n")
    assert.include(stderr, `\n    zipper restore ABCD --prev --to DIR --config ${place.config}\n`)
    assert.include(stderr, `\n    zipper run --config ${place.config} --force --folder ABCD\n`)
  })

  it("says that archives are gone of which runs know", async () => {
    const home = join(place.target, "EFGH")
    renameSync(home, `${home}.away`)
    const { status, stderr, stdout } = await verify()
    renameSync(`${home}.away`, home)
    assert.strictEqual(status, 1)
    assert.include(stderr, "error: EFGH: EFGH.zip is missing: nothing is left of the archives of this folder")
    assert.match(stdout, /\n\* 1 good, 0 damaged, 1 missing; /)
  })

  it("leaves an archive of another program to unzip, and so does restore", async () => {
    const other = makePlace()
    try {
      const home = join(other.target, "ABCD")
      mkdirSync(home)
      writeFileSync(join(home, "ABCD.zip"), foreignZip({ "a.txt": "a" }))
      execFileSync("sh", ["-c", "md5sum ABCD.zip > ABCD.zip.md5"], { cwd: home })
      const verified = await run(["verify", "--config", other.config])
      assert.strictEqual(verified.status, 0, verified.stderr)
      const said = `made by another program, and its checksums are right; \`unzip -t ${home}/ABCD.zip\``
      assert.include(verified.stdout, `ABCD: ${said}`)
      const to = join(other.root, "back")
      const restored = await run(["restore", "ABCD", "--to", to, "--config", other.config])
      assert.strictEqual(restored.status, 1, restored.stdout)
      assert.include(restored.stderr, `nothing was written: ${home}/ABCD.zip was ${said}`)
    } finally {
      other.remove()
    }
  })

  it("does not call a zip of another program good that is not what was published", async () => {
    const other = makePlace()
    try {
      const at = ["--config", other.config]
      other.put("ABCD/a.txt", "a")
      await run(["run", ...at])
      const home = join(other.target, "ABCD")
      writeFileSync(join(home, "ABCD.zip"), foreignZip({ "a.txt": "b" }))
      execFileSync("sh", ["-c", "md5sum ABCD.zip >ABCD.zip.md5; sha256sum ABCD.zip >ABCD.zip.sha256"], { cwd: home })
      const { status, stderr } = await run(["verify", ...at])
      assert.strictEqual(status, 1)
      assert.include(stderr, "metadata.json: zip_md5 is not that of the archive")
      assert.notInclude(stderr, "nothing is lost")
      const advice =
        "another program made the archive, and its entries were not looked at. To check them, and to restore them:"
      const commands = [advice, `unzip -t ${home}/ABCD.zip`, `unzip ${home}/ABCD.zip -d DIR`].join("\n")
      assert.include(stderr.replaceAll(/\n +/g, "\n"), `what to do: ${commands}\n`)
      other.put("ABCD/a.txt", "c")
      await run(["run", ...at, "--force"])
      rmSync(join(home, "ABCD.zip"))
      const missing = await run(["verify", ...at])
      assert.notInclude(missing.stderr, "its checksums are right")
    } finally {
      other.remove()
    }
  })

  it("advises a plain run where a file beside the zip is lost, and that makes it anew", async () => {
    const other = makePlace()
    try {
      const at = ["--config", other.config]
      other.put("ABCD/a.txt", "a")
      assert.strictEqual((await run(["run", ...at])).status, 0)
      for (const name of ["ABCD.zip.md5", "ABCD.zip.sha256", "metadata.json", ".state.json"]) {
        rmSync(join(other.target, "ABCD", name))
        const { stderr } = await run(["verify", ...at])
        assert.include(stderr, `${name} is missing\n`)
        assert.match(stderr, /a new archive, of what is in the source now:\n +zipper run --config \S+\n/)
        assert.strictEqual((await run(["run", ...at])).status, 0)
        const mended = await run(["verify", ...at])
        assert.strictEqual(mended.status, 0, mended.stderr)
      }
    } finally {
      other.remove()
    }
  })

  it.each([
    ["a folder", (path: string) => mkdirSync(path)],
    ["a symlink", (path: string) => symlinkSync("/nonexistent", path)],
    ["a device, socket or fifo", (path: string) => execFileSync("mkfifo", [path])]
  ] as const)("has %s moved away that took a name, before the run that makes the file", async (what, take) => {
    const other = makePlace()
    try {
      const at = ["--config", other.config]
      other.put("ABCD/a.txt", "a")
      for (const name of ["ABCD.zip", "metadata.json"]) {
        assert.strictEqual((await run(["run", ...at])).status, 0)
        const path = join(other.target, "ABCD", name)
        rmSync(path)
        take(path)
        const { stderr, status } = await run(["verify", ...at])
        assert.strictEqual(status, 1)
        assert.include(stderr, `${name} is ${what}, not a file`)
        const failed = await run(["run", ...at, "--force", "--folder", "ABCD"])
        assert.strictEqual(failed.status, 1)
        assert.include(failed.stderr, `cannot publish ABCD: ${path} is ${what}, not a file; move it away`)
        assert.notInclude(failed.stderr, "a new one is made")
        // The advice, as it is.
        const commands = stderr.split("\n").map((line) => line.trim())
        const [mv = "", again = ""] = commands.filter((line) => /^(?:mv|zipper run) /.test(line))
        execFileSync("sh", ["-c", mv])
        const mended = await run(again.split(" ").slice(1))
        assert.strictEqual(mended.status, 0, mended.stderr)
        assert.strictEqual((await run(["verify", ...at])).status, 0)
      }
    } finally {
      other.remove()
    }
  })

  it.runIf(process.getuid?.() === 0)("says nothing of what it may not read, and whose work it is", async () => {
    const other = makePlace()
    try {
      const at = ["--config", other.config]
      const home = join(other.target, "ABCD")
      other.put("ABCD/a.txt", "a")
      await run(["run", ...at])
      chmodSync(other.config, 0o644)
      for (const path of [other.root, other.target, home, join(other.target, ".zipper")]) chmodSync(path, 0o755)
      const uid = 65534
      for (const name of ["ABCD.zip", "ABCD.zip.md5", "ABCD.zip.sha256", ".state.json"])
        chmodSync(join(home, name), 0o644)
      chmodSync(join(home, "metadata.json"), 0o600)
      const denied = "permission denied (EACCES); do this as the user who runs the job"
      const text = await run(["verify", ...at], { uid })
      assert.include(text.stdout, "0 good, 0 damaged, 1 unsettled")
      assert.include(text.stderr, `ABCD: metadata.json cannot be read: ${denied}\n`)
      assert.notInclude(text.stderr, "--force")
      chmodSync(join(home, "ABCD.zip"), 0o600)
      const zip = await run(["verify", ...at], { uid })
      assert.include(zip.stdout, "0 good, 0 damaged, 1 unsettled")
      assert.include(zip.stderr, denied)
      const listed = await run(["ls", "ABCD", ...at], { uid })
      assert.strictEqual(listed.status, 1)
      assert.include(listed.stderr, `ABCD.zip: ${denied}`)
      assert.notInclude(listed.stderr, "unzip -l")
    } finally {
      other.remove()
    }
  })

  it("what a run has just published is good, whatever changed", async () => {
    for (const content of ["second", "third"]) {
      place.put("ABCD/a.txt", content)
      place.put(`ABCD/${content}.txt`, content)
      const ran = await job()
      assert.strictEqual(ran.status, 0, ran.stderr)
      for (const { status, stderr } of await Promise.all([verify("--quiet"), verify("--quiet", "--prev")])) {
        assert.deepStrictEqual([status, stderr], [0, ""], content)
      }
    }
  })

  it("refuses names that are none, with the nearest that there is", async () => {
    const unknown = await verify("ABCE")
    assert.strictEqual(unknown.status, 2)
    assert.include(unknown.stderr, `no archives of ABCE in ${place.target}; did you mean ABCD?`)
    const wrong = await verify("--json", "abcd", "../x")
    assert.strictEqual(wrong.status, 2)
    assert.lengthOf(JSON.parse(wrong.stdout).errors, 1)
    assert.include(wrong.stderr, '"../x" is not the name of a folder')
  })

  it("an empty target is not all good", async () => {
    const empty = makePlace()
    const { status, stderr } = await run(["verify", "--config", empty.config])
    rmSync(empty.target, { recursive: true })
    const gone = await run(["verify", "--config", empty.config])
    empty.remove()
    assert.deepStrictEqual([status, gone.status], [1, 1])
    assert.include(stderr, `there are no archives in ${empty.target}`)
    assert.include(gone.stderr, "does not exist: is its dataset mounted")
  })
})
