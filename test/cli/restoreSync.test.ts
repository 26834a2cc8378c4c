import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, readFileSync, statfsSync, statSync, writeFileSync } from "node:fs"
import { release } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { syncsReportErrors } from "../../src/zip/ExtractSync.ts"
import { type Ended, makePlace, type Place, run } from "../support/program/built.ts"

/** An archive of two files, and a program sync that notes what has been written when it is called. */
let place: Place
beforeAll(async () => {
  place = makePlace()
  place.put("ABCD/a", "one")
  place.put("ABCD/b/c", "two")
  assert.strictEqual((await run(["run", "--config", place.config])).status, 0)
  mkdirSync(at("bin"))
})
afterAll(() => place.remove())

const at = (...names: ReadonlyArray<string>): string => join(place.root, ...names)

/** `end`: what it does at the end of a restore to that folder; asked which one it is, it says `version`. */
const restore = (
  to: string,
  end: string,
  options: ReadonlyArray<string> = [],
  version = "sync (GNU coreutils) 9.1"
): Promise<Ended> => {
  const bin = at("bin", to)
  mkdirSync(bin)
  const asked = `test "$*" = "-f --version" && echo "${version}" && exit`
  const lines = ["#!/bin/sh", asked, `ls -R ${at(to)} > ${at(`${to}.log`)}`, end]
  writeFileSync(join(bin, "sync"), lines.join("\n"))
  chmodSync(join(bin, "sync"), 0o755)
  return run(["restore", "ABCD", "--to", at(to), "--config", place.config, ...options], {
    env: { PATH: `${bin}:/usr/bin:/bin` }
  })
}

const isRoot = process.getuid?.() === 0
const types = [0xef53, 0x58465342, 0x9123683e, 0x2fc12fc1, 0x01021994]
const whole = process.platform === "linux" && syncsReportErrors(release()) && types.includes(statfsSync("/tmp").type)

describe("a restore", () => {
  it.runIf(whole)("is synced when all is written, and only then called restored", async () => {
    const { status, stderr, stdout } = await restore("well", "readlink /proc/self/fd/3 >> $0.log")
    assert.strictEqual(status, 0, stderr)
    assert.include(stdout, "* restored 2 files, 6 B to ")
    assert.strictEqual(readFileSync(at("well.log"), "utf8").trim(), `${at("well")}:\na\nb\n\n${at("well")}/b:\nc`)
    assert.strictEqual(readFileSync(at("bin", "well", "sync.log"), "utf8").trim(), place.root)
  })

  it.runIf(whole)("that cannot be synced keeps its files, is not called restored, and fails in one line", async () => {
    const end = 'echo "sync: error syncing X: Input/output error" >&2; exit 1'
    const { status, stderr, stdout } = await restore("badly", end, ["--json"])
    assert.strictEqual(status, 1)
    const line = `cannot sync ${at("badly")}: Input/output error; the files are there, but the disk may not have all of them: look at the disk, and restore again, with --overwrite or into another folder`
    assert.deepInclude(JSON.parse(stdout), { result: "incomplete", files: 2, problems: [line] })
    assert.include(stderr, line)
    assert.notInclude(stderr, "restored 2 files")
    assert.strictEqual(readFileSync(at("badly", "b", "c"), "utf8"), "two")
  })

  it.each(["sync (uutils coreutils) 0.0.30", "sync 0.0.30"])(
    "syncs each file where the program is %s, which may say nothing of an error",
    async (version) => {
      const to = version.replaceAll(/[ ()]/g, "")
      const { status, stderr } = await restore(to, "exit 1", [], version)
      assert.strictEqual(status, 0, stderr)
      assert.isFalse(existsSync(at(`${to}.log`)))
    }
  )

  it.runIf(isRoot)("of a user syncs each folder, also one whose mode lets its owner not read it", async () => {
    place.put("EFGH/b/c", "one")
    chmodSync(join(place.source, "EFGH", "b"), 0o311)
    assert.strictEqual((await run(["run", "--config", place.config])).status, 0)
    writeFileSync(at("bin", "sync"), "#!/bin/sh\nexit 1\n", { mode: 0o755 })
    execFileSync("chown", ["-R", "65534:65534", place.root])
    const args = ["restore", "EFGH", "--from", place.target, "--to", at("back")]
    const env = { PATH: `${at("bin")}:/usr/bin:/bin` }
    const { status, stderr, stdout } = await run(args, { env, uid: 65_534 })
    assert.strictEqual(status, 0, stderr)
    assert.include(stdout, "* restored 1 file, 3 B to ")
    assert.strictEqual(statSync(at("back", "b")).mode & 0o777, 0o311)
  })

  it("with --no-sync does not wait for the disk", async () => {
    const { status, stderr, stdout } = await restore("fast", "exit 1", ["--no-sync"])
    assert.strictEqual(status, 0, stderr)
    assert.include(stdout, "* restored 2 files, 6 B to ")
    assert.isFalse(existsSync(at("fast.log")))
  })
})

describe("a kernel", () => {
  it("is trusted to report what it could not write from Linux 5.8 on", () => {
    const trusted = ["4.19.0-27-amd64", "5.4.0", "5.8", "5.10.223", "6.18.44-fc", "FreeBSD"].filter(syncsReportErrors)
    assert.deepStrictEqual(trusted, ["5.8", "5.10.223", "6.18.44-fc"])
  })
})
