import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, picture, run, start, toolsFor, zipper } from "../support/program/built.ts"
import { makeScene } from "../support/program/faults.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
  place.put("ABCD/a.txt", "one")
})
afterEach(() => place.remove())

const { job, files } = toolsFor(() => place)

const readConfig = (path: string): Record<string, unknown> => {
  const read: unknown = JSON.parse(readFileSync(path, "utf8"))
  return Object(read)
}

/** A second configuration for the same target; its lock file is another one. */
const other = (keys: Record<string, unknown>): string => {
  const path = join(place.root, "other.json")
  const lock = join(place.root, "other.lock")
  writeFileSync(path, JSON.stringify({ ...readConfig(place.config), lockfile_path: lock, ...keys }), {
    mode: 0o600
  })
  return path
}

/** A source of its own for the second configuration. */
const otherSource = (): string => {
  const path = join(place.root, "elsewhere")
  mkdirSync(join(path, "ABCD"), { recursive: true })
  writeFileSync(join(path, "ABCD", "b.txt"), "of the other source")
  return path
}

const identity = (target = place.target): Record<string, unknown> => {
  const found: unknown = JSON.parse(readFileSync(join(target, ".zipper", "job.json"), "utf8"))
  return Object(found)
}

/** Another process that holds the lock at `path`, until it is let go. */
const holding = async (path: string, text: string) => {
  const script = `exec 3<>"$0"; flock -n 3 || exit 1; printf '%s' "$1" > "$0"; echo ready; exec sleep 600 >/dev/null`
  const child = spawn("/bin/sh", ["-c", script, path, text], { stdio: ["ignore", "pipe", "inherit"] })
  await once(child.stdout, "data")
  return async () => {
    child.kill("SIGKILL")
    await once(child, "exit")
  }
}

describe("two configurations for one target", () => {
  it("do not run at once, whatever their lock files: 75, with the holder", async () => {
    assert.strictEqual((await job()).status, 0)
    const lock = join(place.target, ".zipper", "lock")
    const letGo = await holding(lock, "pid 4711, since 2025-01-01T12:00:00Z\n")
    const before = picture(join(place.target, "ABCD"))
    place.put("ABCD/a.txt", "two")
    const refused = await run(["run", "--config", other({})])
    await letGo()
    assert.strictEqual(refused.status, 75)
    assert.include(refused.stderr, `another run holds ${lock}: pid 4711, since 2025-01-01T12:00:00Z`)
    assert.strictEqual(picture(join(place.target, "ABCD")), before)
    assert.strictEqual((await run(["run", "--config", other({})])).status, 0)
  })

  it("with another source: the target belongs to the first, and the second is refused", async () => {
    assert.strictEqual((await job()).status, 0)
    const { since_utc } = identity()
    const before = picture(join(place.target, "ABCD"))
    const refused = await run(["run", "--config", other({ source_path: otherSource() })])
    assert.strictEqual(refused.status, 3)
    assert.include(refused.stderr, `belongs to the job with the source ${place.source}, since ${String(since_utc)}`)
    assert.strictEqual(picture(join(place.target, "ABCD")), before)
    assert.strictEqual(identity()["source_path"], place.source)
    assert.strictEqual((await job()).status, 0)
  })

  it("the second takes it over, with a warning, once the first source is gone", async () => {
    assert.strictEqual((await job()).status, 0)
    const { id } = identity()
    rmSync(place.source, { recursive: true })
    const source = otherSource()
    const taken = await run(["run", "--config", other({ source_path: source })])
    assert.strictEqual(taken.status, 0)
    assert.include(taken.stdout + taken.stderr, `belonged to the job with the source ${place.source}`)
    assert.deepInclude(identity(), { id, source_path: source })
    assert.strictEqual((await run(["run", "--config", other({ source_path: source }), "--quiet"])).stderr, "")
  })

  it("a target of a version without identities belongs to the source of its cursor", async () => {
    const cursor = (source: string) =>
      writeFileSync(
        join(place.target, ".zipper", "cursor.json"),
        JSON.stringify({
          version: 1,
          source_path: source,
          base: { name: "auto-zip-20250101120000", guids: { "tank/data": "1" } },
          kept: [],
          run: "abc",
          advanced_at_utc: "2025-01-01T12:00:00Z"
        })
      )
    mkdirSync(join(place.target, ".zipper"))
    cursor(otherSource())
    const refused = await job()
    assert.strictEqual(refused.status, 3)
    assert.include(refused.stderr, "since 2025-01-01T12:00:00Z")
    assert.isFalse(existsSync(join(place.target, ".zipper", "job.json")))
    cursor(place.source)
    const silent = await job("--quiet")
    assert.deepStrictEqual(silent, { status: 0, stdout: "", stderr: "" })
    assert.strictEqual(identity()["source_path"], place.source)
  })

  it("a dry run is refused the same, and writes no identity", async () => {
    assert.strictEqual((await job("--dry-run")).status, 0)
    assert.isFalse(existsSync(join(place.target, ".zipper")))
    assert.strictEqual((await job()).status, 0)
    const before = picture(place.target)
    assert.strictEqual((await run(["run", "--dry-run", "--config", other({ source_path: otherSource() })])).status, 3)
    assert.strictEqual(picture(place.target), before)
  })
})

describe("the identity of a job", () => {
  it("stays when its target moves, and a copy of a target gets one of its own", async () => {
    assert.strictEqual((await job()).status, 0)
    const { id, since_utc } = identity()
    const moved = join(place.root, "moved")
    renameSync(place.target, moved)
    place.configure({ target_path: moved })
    assert.strictEqual((await job()).status, 0)
    assert.deepInclude(identity(moved), { id, since_utc, target_path: moved })
    const copy = join(place.root, "copy")
    cpSync(moved, copy, { recursive: true })
    assert.strictEqual((await run(["run", "--config", other({ target_path: copy })])).status, 0)
    assert.notStrictEqual(identity(copy)["id"], id)
    assert.deepInclude(identity(moved), { id, target_path: moved })
  })

  it("that cannot be understood is set aside, and the run goes on", async () => {
    assert.strictEqual((await job()).status, 0)
    writeFileSync(join(place.target, ".zipper", "job.json"), "{")
    const ended = await job()
    assert.strictEqual(ended.status, 0)
    assert.include(ended.stdout + ended.stderr, "job.json cannot be understood")
    assert.isTrue(existsSync(join(place.target, ".zipper", "job.json.corrupt-1")))
  })
})

describe("snapshots of a job", () => {
  const scene = () => {
    const made = makeScene({ metrics_file: undefined }, { zfs: true })
    const archive = async (content: string) => {
      made.place.put("ABCD/a.txt", content)
      const ended = await made.run(["run", "--config", made.place.config])
      assert.strictEqual(ended.status, 0, ended.stderr)
    }
    const snapshots = () => readdirSync(join(made.place.source, ".zfs", "snapshot"))
    return { ...made, archive, snapshots }
  }

  it("go on being destroyed when the target has moved, state and all", async () => {
    const { archive, place: moving, remove, snapshots } = scene()
    await archive("1")
    await archive("22")
    const moved = join(moving.root, "moved")
    renameSync(moving.target, moved)
    moving.configure({ ...readConfig(moving.config), target_path: moved })
    for (const content of ["3", "44", "555"]) await archive(content)
    assert.strictEqual(snapshots().length, 2)
    remove()
  })

  it("of a copy of the target are another job's: neither destroys those of the other", async () => {
    const { archive, place: first, remove, snapshots } = scene()
    await archive("1")
    await archive("22")
    const before = snapshots()
    const copy = join(first.root, "copy")
    cpSync(first.target, copy, { recursive: true })
    first.configure({ ...readConfig(first.config), target_path: copy })
    await archive("333")
    await archive("4444")
    assert.deepStrictEqual(
      before.filter((name) => !snapshots().includes(name)),
      []
    )
    remove()
  })
})

describe("two configurations with one lock file", () => {
  const status = async (config: string, ...args: ReadonlyArray<string>) =>
    (await run(["status", "--config", config, ...args])).stdout

  it("the one that finds the lock held says so in its own status and report, until a run of it goes well", async () => {
    const target = join(place.root, "target-2")
    mkdirSync(target)
    const second = other({ target_path: target, lockfile_path: join(place.root, "lock") })
    const letGo = await holding(join(place.root, "lock"), "pid 4711, since 2025-01-01T12:00:00Z\n")
    for (const _ of [1, 2]) {
      assert.strictEqual((await run(["run", "--config", second, "--quiet"])).status, 75)
    }
    await letGo()
    const said = `2 runs since its last success found the lock ${join(place.root, "lock")} held and did nothing, the last time by pid 4711, since 2025-01-01T12:00:00Z`
    assert.include(await status(second), said)
    const document: unknown = JSON.parse(await status(second, "--json"))
    assert.deepInclude(Object(Object(document).archive.locked_out), {
      count: 2,
      holder: "pid 4711, since 2025-01-01T12:00:00Z"
    })
    const page = join(place.root, "page.html")
    assert.strictEqual((await run(["report", "--config", second, "--out", page])).status, 0)
    assert.include(readFileSync(page, "utf8"), "2 runs since its last success found the lock")
    assert.notInclude(await status(place.config), "found the lock")
    assert.strictEqual((await run(["run", "--config", second])).status, 0)
    assert.notInclude(await status(second), "found the lock")
  })
})

describe("check of a configuration that is no file", () => {
  it("says so, and prints no line for cron; one with a relative path gets its absolute path", async () => {
    const check = (script: string) =>
      execFileSync("bash", ["-c", script, "bash", process.execPath, zipper, place.config], {
        cwd: place.root
      }).toString()
    for (const script of [
      '"$1" "$2" check --config <(cat "$3")',
      '"$1" "$2" check --config /dev/stdin < "$3"',
      '"$1" "$2" check --config /proc/self/fd/5 5< "$3"',
      'mkfifo pipe && (cat "$3" > pipe & "$1" "$2" check --config pipe)'
    ]) {
      const said = check(`${script} 2>&1`)
      assert.include(said, "no lines for cron: this configuration is not a file", script)
      assert.notMatch(said, /^\S+ \* \* \* \*/m, script)
    }
    assert.include(check('"$1" "$2" check --config config.json'), ` --config ${place.config} --quiet`)
  })
})

describe("lock_wait_seconds", () => {
  it("makes a run wait for the lock until it is free", async () => {
    place.configure({ lock_wait_seconds: 60 })
    const letGo = await holding(join(place.root, "lock"), "pid 4711, since 2025-01-01T12:00:00Z\n")
    const waiting = start(["run", "--config", place.config])
    const [said] = await once(waiting.child.stdout ?? assert.fail("no output"), "data")
    assert.include(String(said), "since 2025-01-01T12:00:00Z; waiting for it, at most 60 s")
    assert.isFalse(existsSync(join(place.target, "ABCD")))
    const stopped = start(["run", "--config", place.config])
    await once(stopped.child.stdout ?? assert.fail("no output"), "data")
    stopped.child.kill("SIGINT")
    const { status, stderr } = await stopped.ended
    assert.deepStrictEqual(
      [status, stderr],
      [130, "error: stopped by a signal before it had its lock: nothing was done\n"]
    )
    await letGo()
    assert.strictEqual((await waiting.ended).status, 0)
    assert.include(files("ABCD"), "ABCD.zip")
  })
})
