import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { DemoDocument } from "../../src/cli/commands/schema.ts"
import { run, zipper } from "../support/program/built.ts"
import { installed } from "../support/programs.ts"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zipper-demo-test-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** The command that the demonstration ends with. */
const nextOf = (stdout: string): string => /Next: (.*)\n$/.exec(stdout)?.[1] ?? ""

/** A folder for PATH that holds only these links. */
const path = (links: Readonly<Record<string, string>>): string => {
  mkdirSync(join(folder, "bin"))
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(folder, "bin", name))
  return join(folder, "bin")
}

/** Runs the command in a shell, as a user would paste it, and gives the version that it prints. */
const versionOf = (command: string, env: Record<string, string>, cwd: string): string =>
  execFileSync("/bin/sh", ["-c", command.replace("config init", "--version")], { env, cwd, encoding: "utf8" })

describe("the command that the demonstration ends with", () => {
  const isVersion = /^\d+\.\d+\.\d+/

  it("is zipper where that is this program, and not a folder", async () => {
    mkdirSync(join(folder, "folders/zipper"), { recursive: true })
    const env = { PATH: `${join(folder, "folders")}:${path({ zipper, node: process.execPath })}` }
    const { stdout } = await run(["demo"], { env })
    assert.strictEqual(nextOf(stdout), "zipper config init")
    assert.match(versionOf(nextOf(stdout), env, folder), isVersion)
  })

  it("is the path of the program where zipper in PATH is another one, relative as far as it lies here", async () => {
    const other = join(folder, "other")
    writeFileSync(other, "#!/bin/sh\nexit 9\n", { mode: 0o755 })
    const env = { PATH: `${path({ zipper: other, node: process.execPath })}:/usr/bin:/bin` }
    for (const [mode, expected] of [
      [0o755, "./zipper.mjs config init"],
      [0o644, "node zipper.mjs config init"]
    ] as const) {
      const program = join(folder, "zipper.mjs")
      copyFileSync(zipper, program)
      chmodSync(program, mode)
      const { stdout } = await run(["demo"], { env, cwd: folder, program })
      assert.strictEqual(nextOf(stdout), expected)
      assert.match(versionOf(nextOf(stdout), env, folder), isVersion)
    }
  })

  it("names node by its path where PATH has none, and the program by its own elsewhere", async () => {
    const env = { PATH: path({}) }
    const { stdout } = await run(["demo"], { env, cwd: folder })
    assert.strictEqual(nextOf(stdout), `${process.execPath} ${zipper} config init`)
    assert.match(versionOf(nextOf(stdout), env, folder), isVersion)
  })
})

describe("the programs that the demonstration asks", () => {
  it("read every byte: each finds a flipped bit of a zip", async () => {
    const { stdout } = await run(["demo", "--json", "--keep"], {
      env: { TMPDIR: folder, PATH: process.env["PATH"] ?? "" }
    })
    const { checks, folder: kept } = Schema.decodeUnknownSync(DemoDocument)(JSON.parse(stdout))
    const readers = [...new Set(checks.filter(({ file }) => file.endsWith(".zip")).map(({ reader }) => reader))]
    const programs = (["unzip", "7zz", "bsdtar", "python3"] as const).filter(installed)
    assert.deepStrictEqual(
      readers.map((reader) => reader.split(" ")[0]),
      programs
    )
    const zip = join(kept ?? "none", "target/DOCS/DOCS.zip")
    const content = readFileSync(zip)
    // A byte in the middle is one of compressed data.
    const middle = Math.floor(content.length / 2)
    content[middle] = (content[middle] ?? 0) ^ 1
    writeFileSync(zip, content)
    for (const reader of readers) {
      const [program = "", ...args] = reader.split(" ")
      const { status, stdout: said } = spawnSync(program, [...args, zip], { encoding: "utf8" })
      assert.isTrue(status !== 0 || said.startsWith("The following enclosed file is corrupted"), reader)
    }
  })

  it("fail the demonstration when they name a damaged entry, also with exit status 0", async () => {
    const python = "#!/bin/sh\necho \"The following enclosed file is corrupted: 'a'\"\necho Done testing\n"
    writeFileSync(join(folder, "python3"), python, { mode: 0o755 })
    const env = { PATH: path({ python3: join(folder, "python3") }) }
    const { status, stderr } = await run(["demo"], { env })
    assert.strictEqual(status, 1)
    assert.include(stderr, "python3 -m zipfile -t DOCS.zip: The following enclosed file is corrupted: 'a'")
  })
})

/** zfs for the empty dataset tank/scratch, without a single snapshot: nothing that runs on it succeeds. */
const fakeZfs = `#!/bin/sh
echo "$*" >> "$LOG"
for last; do :; done
case "$*" in
version) echo zfs-9.9.9;;
"list -H -p -r"*) printf 'tank/scratch\tfilesystem\tyes\t1073741824\n';;
*" mountpoint "*) echo "$HOME_OF_SCRATCH";;
"create "*) mkdir "$HOME_OF_SCRATCH/\${last#tank/scratch/}"; echo "$last	\${3#*=}	local" >> "$LOG.made";;
"get -H -p -r"*) printf 'tank/scratch\t-\t-\n'; sort "$LOG.made";;
"list -H -d 1"*) ;;
"destroy "*) rm -r "$HOME_OF_SCRATCH/\${last#tank/scratch/}";;
*) echo "cannot do this here" >&2; exit 1;;
esac
`

// Elsewhere root is not needed.
describe.runIf(process.platform !== "linux" || process.getuid?.() === 0)(
  "zipper demo --dataset, where steps fail",
  () => {
    let env: Record<string, string>
    beforeEach(() => {
      writeFileSync(join(folder, "zfs"), fakeZfs, { mode: 0o755 })
      for (const name of ["home", "tmp"]) mkdirSync(join(folder, name))
      env = {
        PATH: `${path({ zfs: join(folder, "zfs") })}:/usr/bin:/bin`,
        TMPDIR: join(folder, "tmp"),
        LOG: join(folder, "log"),
        HOME_OF_SCRATCH: join(folder, "home")
      }
    })
    const destroyed = () => readFileSync(join(folder, "log"), "utf8").match(/^destroy .*/gm)

    it("goes on to the last one, ends with a report that can be pasted, and destroys what it made", async () => {
      const { status, stderr, stdout } = await run(["demo", "--dataset", "tank/scratch"], { env })
      assert.strictEqual(status, 1, stdout + stderr)
      const report = stdout.slice(stdout.indexOf("zipper demo --dataset"))
      assert.match(
        report,
        /^zipper demo --dataset tank\/scratch: 8 of 9 steps FAILED\nzipper \d.*, node v\d.*, zfs-9\.9\.9\n/
      )
      assert.strictEqual(report.match(/^FAILED: .*\n {2}\S/gm)?.length, 8, report)
      assert.match(report, /FAILED: a first run .*\n {2}zipper run ended with exit status 3: error: \S/)
      assert.notMatch(stdout + stderr, /^ +at /m)
      assert.match(stdout, /ok .* what was made is destroyed/)
      const below = ["target", "source/MAIL", "source", "replica"]
      assert.deepStrictEqual(
        destroyed(),
        below.map((name) => `destroy tank/scratch/${name}`)
      )
    })

    it("prints the same as a document, and leaves all with --keep, with the commands that remove it", async () => {
      const { status, stderr, stdout } = await run(["demo", "--dataset", "tank/scratch", "--keep", "--json"], { env })
      assert.strictEqual(status, 1, stderr)
      const document = Schema.decodeUnknownSync(DemoDocument)(JSON.parse(stdout))
      assert.deepInclude(document, { ok: false, dataset: "tank/scratch", archived: [], checks: [] })
      assert.strictEqual(document.system?.openzfs, "zfs-9.9.9")
      assert.lengthOf(document.steps ?? [], 8)
      assert.isNull(destroyed())
      assert.include(stderr, `zfs destroy -r tank/scratch/source\n`)
      assert.include(stderr, `rm -r ${document.folder}`)
    })
  }
)

describe("a demonstration that cannot begin", () => {
  it("says which folder it needs, with status 3", async () => {
    const missing = join(folder, "missing")
    const { status, stderr } = await run(["demo"], { env: { TMPDIR: missing } })
    assert.strictEqual(status, 3)
    assert.include(stderr, `no folder can be made in ${missing} (TMPDIR): no such file or directory (ENOENT)`)
  })
})
