import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run, toolsFor } from "../support/program/built.ts"
import { makeScene } from "../support/program/faults.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { job } = toolsFor(() => place)
const check = (options?: Parameters<typeof run>[1]) => run(["check", "--config", place.config], options)

/** It is no fine one, for this reason. */
const assertRefused = (ended: Awaited<ReturnType<typeof run>>, reason: string | RegExp) => {
  assert.strictEqual(ended.status, 3, ended.stdout + ended.stderr)
  assert.notInclude(ended.stdout, "a run would work")
  assert.match(ended.stderr, new RegExp(reason))
}

describe("check does not say that a run would work", () => {
  it("with a source that has no folder to archive", async () => {
    place.put("other/a.txt", "one")
    assertRefused(await check(), "there is nothing to archive")
  })

  it.runIf(process.getuid?.() === 0)("with a folder that cannot be read, or be written to", async () => {
    place.put("ABCD/a.txt", "one")
    place.put("EFGH/a.txt", "one")
    execFileSync("chown", ["-R", "65534:65534", place.root])
    execFileSync("chmod", ["755", place.root])
    assert.strictEqual((await run(["run", "--config", place.config], { uid: 65534 })).status, 0)
    assert.strictEqual((await check({ uid: 65534 })).status, 0)
    chmodSync(join(place.source, "EFGH"), 0o000)
    assertRefused(await check({ uid: 65534 }), "source: EFGH: .*permission denied")
    chmodSync(join(place.source, "EFGH"), 0o755)
    chmodSync(join(place.target, "ABCD"), 0o555)
    assertRefused(await check({ uid: 65534 }), "target: ABCD: .*permission denied")
    chmodSync(join(place.target, "ABCD"), 0o755)
    chmodSync(join(place.target, ".zipper"), 0o555)
    assertRefused(await check({ uid: 65534 }), "the state of the job in .*zipper cannot be written to")
    assert.strictEqual((await run(["run", "--config", place.config], { uid: 65534 })).status, 3)
  })

  it("with something else in the place of an archive's files; a dry run and status do not take it for one either", async () => {
    place.put("ABCD/a.txt", "one")
    const home = join(place.target, "ABCD")
    for (const name of ["ABCD.zip", "ABCD.prev.zip", "metadata.json", ".state.json"]) {
      mkdirSync(join(home, name), { recursive: true })
      assertRefused(await check(), `target: cannot publish ABCD: .*${name} is a folder, not a file; move it away`)
      for (const options of [["--dry-run"], []]) {
        const ended = await job(...options)
        assert.strictEqual(ended.status, 1, name)
        assert.include(ended.stderr, `${name} is a folder, not a file`)
      }
      const shown = await run(["status", "--config", place.config])
      assert.notInclude(shown.stdout, "LOST", name)
      rmSync(home, { recursive: true })
    }
    assert.strictEqual((await job()).status, 0)
    mkdirSync(join(home, "ABCD.prev.zip"))
    assert.notInclude((await run(["status", "--config", place.config])).stdout, "LOST", "none was before it")
    rmSync(home, { recursive: true })
    writeFileSync(home, "")
    assertRefused(await check(), "target: .*ABCD is a file, not a folder")
    assert.strictEqual((await job("--dry-run")).status, 1)
  })

  it("while another process holds the lock, the lock file's or the target's", async () => {
    place.put("ABCD/a.txt", "one")
    assert.strictEqual((await job()).status, 0)
    for (const path of [join(place.root, "lock"), join(place.target, ".zipper", "lock")]) {
      const script = `exec 3<>"$0"; flock -n 3 || exit 1; echo ready; exec sleep 600 >/dev/null`
      const child = spawn("/bin/sh", ["-c", script, path], { stdio: ["ignore", "pipe", "inherit"] })
      await once(child.stdout, "data")
      assertRefused(await check(), `another run holds ${path}`)
      child.kill("SIGKILL")
      await once(child, "exit")
    }
    assert.strictEqual((await check()).status, 0)
  })

  it("with a flock that fails, and leaves no file of its own when all is well", async () => {
    place.put("ABCD/a.txt", "one")
    const bin = join(place.root, "bin")
    mkdirSync(bin)
    writeFileSync(join(bin, "flock"), "#!/bin/sh\necho 'flock: 3: Invalid argument' >&2\nexit 65\n", {
      mode: 0o755
    })
    const before = [readdirSync(place.root), readdirSync(place.target)]
    assertRefused(await check({ env: { PATH: `${bin}:/usr/bin:/bin` } }), "lock: .*Invalid argument")
    assert.strictEqual((await check()).status, 0)
    assert.deepStrictEqual([readdirSync(place.root), readdirSync(place.target)], before)
  })

  it("with a target that belongs to another source", async () => {
    place.put("ABCD/a.txt", "one")
    assert.strictEqual((await job()).status, 0)
    const elsewhere = join(place.root, "elsewhere")
    cpSync(place.source, elsewhere, { recursive: true })
    place.configure({ source_path: elsewhere })
    assertRefused(await check(), `belongs to the job with the source ${place.source}`)
  })
})

describe("check of snapshots", () => {
  it("names those of no job here, with the command, and none of a job whose target is there", async () => {
    const { place: made, remove, run: zipper } = makeScene({ metrics_file: undefined }, { zfs: true })
    made.put("ABCD/a.txt", "one")
    const ran = await zipper(["run", "--config", made.config])
    assert.strictEqual(ran.status, 0, ran.stderr)
    const ownCheck = await zipper(["check", "--config", made.config])
    assert.notInclude(ownCheck.stdout + ownCheck.stderr, "snapshots:")
    const second = join(made.root, "second")
    mkdirSync(second)
    const other = { target_path: second, snapshots: "zfs", syslog: false }
    made.configure({ ...other, lockfile_path: join(made.root, "lock-2") })
    const beside = await zipper(["check", "--config", made.config])
    assert.notInclude(beside.stdout + beside.stderr, "snapshots:")
    execFileSync("rm", ["-r", made.target])
    const orphaned = await zipper(["check", "--config", made.config])
    assert.strictEqual(orphaned.status, 0, orphaned.stderr)
    assert.match(
      orphaned.stdout + orphaned.stderr,
      /snapshots: 1 of tank\/data were taken .* zfs destroy tank\/data@auto-zip-\d{14}$/m
    )
    remove()
  })
})

describe("check --systemd", () => {
  it("prints units alone in place of the lines for cron, and says on standard error what installs them", async () => {
    place.put("ABCD/a.txt", "one")
    const { status, stderr, stdout } = await run(["check", "--config", place.config, "--systemd"])
    assert.strictEqual(status, 0)
    const [archive = "", ...others] = stdout.split(/^(?=# \/etc\/systemd\/system\/)/m)
    assert.match(archive, /^# \S+\/zipper-[0-9a-f]{8}-archive\.service\n\[Unit\]\n/)
    assert.include(archive, `run --config ${place.config} --quiet\n`)
    assert.include(archive, `\nReadWritePaths=-${place.target}\n`)
    assert.strictEqual(others.length, 3)
    assert.notInclude(stdout, "flock")
    const { stdout: json } = await run(["check", "--config", place.config, "--systemd", "--json"])
    const { systemd }: { readonly systemd: ReadonlyArray<{ readonly text: string }> } = JSON.parse(json)
    assert.strictEqual(stdout, systemd.map(({ text }) => text).join("\n"))
    const quiet = await run(["check", "--config", place.config, "--systemd", "--quiet"])
    assert.deepStrictEqual([quiet.status, quiet.stdout], [0, ""])
    assert.match(
      stderr,
      /\n {2}systemctl daemon-reload\n {2}systemctl enable --now zipper-\w+-archive.timer zipper-\w+-verify.timer\n$/
    )
  })

  it("is installed by the command that it names", async () => {
    place.put("ABCD/a.txt", "one")
    const { stderr, stdout } = await run(["check", "--config", place.config, "--systemd"])
    const command = /^ *(\S.* check --config .* \| awk .*)$/m.exec(stderr)?.[1] ?? ""
    const [check = "", awk = ""] = command.split(" | ")
    const shell = (script: string, input?: string) =>
      execFileSync("/bin/sh", ["-c", script], { cwd: process.cwd(), encoding: "utf8", ...(input ? { input } : {}) })
    assert.strictEqual(shell(`${check} 2>/dev/null`), stdout)
    const folder = join(place.root, "units")
    mkdirSync(folder)
    const here = stdout.replaceAll("# /etc/systemd/system/", `# ${folder}/`)
    shell(awk.replace("\\/etc\\/", folder.replaceAll("/", "\\/")), here)
    const written = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"))
    const units = here.split(/^(?=# \/)/m)
    assert.strictEqual(units.length, 4)
    assert.sameMembers(written, units)
  })

  it("prints none while there is a problem", async () => {
    const state = join(place.root, "state")
    const job = { name: "nas", direction: "pull", host: "nowhere.invalid", datasets: ["tank/a"], destination: "tank/b" }
    place.configure({ source_path: undefined, target_path: undefined, state_dir: state, replication: [job] })
    const { status, stdout } = await run(["check", "--config", place.config, "--systemd"])
    // The other host cannot be reached.
    assert.strictEqual(status, 3)
    assert.notInclude(stdout, "[Service]")
  })

  it("points to cron on a system without systemd", async () => {
    place.put("ABCD/a.txt", "one")
    const other = "data:text/javascript,Object.defineProperty(process,'platform',{value:'freebsd'})"
    const { status, stderr, stdout } = await run(["check", "--config", place.config, "--systemd"], {
      env: { NODE_OPTIONS: `--import=${other}` }
    })
    assert.strictEqual(status, 0)
    assert.include(stderr, "there is no systemd on freebsd: the lines for cron are what to use")
    assert.include(stderr, "\n* for cron, in /etc/crontab:\n")
    assert.match(stdout, /^\n(?:\d+ .*\n)+$/)
  })
})
