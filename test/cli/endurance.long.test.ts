import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, start } from "../support/program/built.ts"
import { isRunning } from "../support/program/processes.ts"
import { seeded } from "../support/store/powerLoss.ts"
import { noise } from "../support/zip/archive.ts"
import { checkContent, checkTarget, checkTidy } from "../support/zip/independent.ts"

/** How often; ZIPPER_ROUNDS says more. */
const rounds = Number(process.env["ZIPPER_ROUNDS"] ?? 24)

let place: Place
beforeEach(() => {
  place = makePlace({ max_workers: 8, tmp_dir: undefined })
})
afterEach(() => place.remove())

const clock = fileURLToPath(new URL("../support/program/clock.mjs", import.meta.url))
const waitFor = fileURLToPath(new URL("../support/program/waitFor.mjs", import.meta.url))
const day = 86_400_000
/** More than are at work at once. */
const names = ["AAAA", "BBBB", "CCCC", "DDDD", "EEEE", "FFFF", "GGGG", "HHHH", "IIII", "JJJJ"]

/** Changes something in the source, as people do. */
const change = (random: () => number): string => {
  const pick = <A>(all: ReadonlyArray<A>): A | undefined => all[Math.floor(random() * all.length)]
  const folder = pick(names) ?? "AAAA"
  const home = join(place.source, folder)
  mkdirSync(home, { recursive: true })
  const files = readdirSync(home)
  const file = pick(files)
  const share = random()
  // A folder that loses its last file fails: that is another test's.
  if (file === undefined || share < 0.4 || (share < 0.6 && files.length === 1)) {
    const name = `${folder}/f${Math.floor(random() * 12)}`
    place.put(name, noise(Math.floor(random() ** 4 * 3_000_000)))
    return `wrote ${name}`
  }
  const path = join(home, file)
  if (share < 0.6) {
    rmSync(path)
    return `removed ${folder}/${file}`
  }
  if (share < 0.8) {
    renameSync(path, join(home, `r${Math.floor(random() * 12)}`))
    return `renamed ${folder}/${file}`
  }
  const { atime, mtime, size } = statSync(path)
  truncateSync(path, Math.floor(size / 2))
  if (share < 0.9) utimesSync(path, atime, mtime)
  return `cut ${folder}/${file}`
}

describe("many runs, one after the other", () => {
  it(`${rounds} with changes, kills and a clock that jumps: every set is whole after each, and nothing grows`, async () => {
    const seed = Number(process.env["ZIPPER_SEED"] ?? Date.now() % 1_000_000)
    const random = seeded(seed)
    const ends = { well: 0, killed: 0, stopped: 0 }
    for (let round = 1; round <= rounds; round++) {
      const changes = Array.from({ length: 1 + Math.floor(random() * 9) }, () => change(random))
      const jump = random() < 0.3 ? Math.floor((random() - 0.5) * 60) * day : 0
      const what = `seed ${seed}, round ${round}: ${changes.join(", ")}; clock ${jump / day} days off`
      const { child, ended } = start(["run", "--config", place.config, "--quiet"], {
        env: { NODE_OPTIONS: `--import=${clock}`, CLOCK_OFFSET: String(jump) }
      })
      const share = random()
      const signal = share < 0.35 ? "SIGKILL" : share < 0.45 ? "SIGTERM" : undefined
      const timer = signal === undefined ? undefined : setTimeout(() => child.kill(signal), 100 + random() * 600)
      const { status, stderr } = await ended
      clearTimeout(timer)
      checkTarget(place.target, what)
      if (status === 0) {
        ends.well += 1
        checkContent(place.source, place.target, what)
        checkTidy(place.target, what)
      } else {
        if (signal === undefined) assert.fail(`${what}: ${stderr}`)
        ends[signal === "SIGKILL" ? "killed" : "stopped"] += 1
      }
    }
    assert.isAbove(ends.well, rounds / 3)
    assert.isAbove(ends.killed, 0)
    const verified = await start(["verify", "--config", place.config]).ended
    assert.strictEqual(verified.status, 0, `seed ${seed}: ${verified.stderr}`)
    // A line of history for each run that was not killed, and nothing else that adds up.
    const lines = readFileSync(join(place.target, ".zipper/history.jsonl"), "utf8").trim().split("\n")
    assert.isAtLeast(lines.length, ends.well)
    assert.isAtMost(lines.length, rounds)
    const state = readdirSync(join(place.target, ".zipper"), { recursive: true, encoding: "utf8" })
    assert.isBelow(state.length, 40, state.join(", "))
    assert.isBelow(statSync(join(place.root, "zipper.log")).size, 4096 * rounds)
    assert.isFalse(isRunning(place.config))
  }, 3_600_000)
})

describe("two runs that begin at the same instant", () => {
  it(`exactly one of them works, ${Math.ceil(rounds / 3)} times`, async () => {
    place.put("ABCD/file", "content")
    const go = join(place.root, "go")
    const env = { NODE_OPTIONS: `--import=${waitFor}`, WAIT_BELOW: join(place.target, "ABCD"), WAIT_FOR: go }
    for (let round = 0; round < Math.ceil(rounds / 3); round++) {
      const both = [1, 2].map(() => start(["run", "--force", "--config", place.config], { env }).ended)
      // Whoever has the lock works on until the other has ended: without a lock, neither does.
      const first = await Promise.race(both)
      assert.strictEqual(first.status, 75, first.stderr)
      writeFileSync(go, "")
      const ended = await Promise.all(both)
      const text = ended.map(({ status, stderr }) => `${status}: ${stderr}`).join("\n")
      assert.deepStrictEqual(ended.map(({ status }) => status).sort(), [0, 75], text)
      assert.isFalse(existsSync(join(place.target, "ABCD", ".publish")))
      rmSync(go)
    }
    checkTarget(place.target, "at the end")
  }, 3_600_000)
})

describe("a rule for names that never ends", () => {
  it("is refused by a process that gets a third of a processor, too", async () => {
    place.configure({ folders: "([A-Z]+ ?)+" })
    const { child, ended } = start(["config", "validate", place.config])
    let turn = 0
    const share = setInterval(() => child.kill(turn++ % 3 === 0 ? "SIGCONT" : "SIGSTOP"), 30)
    try {
      const { status, stderr } = await ended
      assert.strictEqual(status, 2)
      assert.include(stderr, 'folders: "([A-Z]+ ?)+" takes for ever on some names')
    } finally {
      clearInterval(share)
      child.kill("SIGKILL")
    }
  })
})
