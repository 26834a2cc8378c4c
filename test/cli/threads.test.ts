import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { currentSet, type Ended, makePlace, type Place, start, toolsFor, zipper } from "../support/program/built.ts"
import { installed } from "../support/programs.ts"
import { noise, run as runProgram } from "../support/zip/archive.ts"

let place: Place
beforeEach(() => {
  place = makePlace({ compression: { threads: 2 } })
  for (let index = 0; index < 100; index += 1) place.put(`ABCD/${index}`, `content ${index}`.repeat(index))
  place.put("ABCD/text", noise(1_000_000).toString("hex"))
  place.put("ABCD/noise", noise(6_000_000))
})
afterEach(() => place.remove())

const { files, job, sums } = toolsFor(() => place)

/** The built file in a folder with nothing else; node says on standard error when it starts a thread. */
const alone = async (env: Record<string, string> = {}): Promise<Ended & { readonly threads: number }> => {
  const folder = join(place.root, "alone")
  mkdirSync(folder)
  const program = join(folder, "zipper.mjs")
  copyFileSync(zipper, program)
  const ended = await start(["run", "--config", place.config], {
    program,
    cwd: folder,
    env: { NODE_DEBUG: "worker", ...env }
  }).ended
  assert.deepStrictEqual(readdirSync(folder), ["zipper.mjs"])
  return { ...ended, threads: ended.stderr.match(/created Worker with ID/g)?.length ?? 0 }
}

/** Loaded before the program: node can start no thread, as where the system refuses it one. */
const noThreads = `require("node:worker_threads").Worker = class {
  constructor() {
    throw Object.assign(new Error("Worker initialization failure: EAGAIN"), { code: "ERR_WORKER_INIT_FAILED" })
  }
}`

const archived = (): Buffer => {
  assert.deepStrictEqual(files("ABCD"), [...currentSet].sort())
  sums("ABCD")
  const zip = join(place.target, "ABCD/ABCD.zip")
  if (installed("unzip")) assert.strictEqual(runProgram("unzip", ["-tqq", zip]).status, 0)
  return readFileSync(zip)
}

describe("the built file with nothing beside it", () => {
  it("starts threads of its own, and makes the same archive without", async () => {
    const { status, stderr, threads } = await alone()
    assert.strictEqual(status, 0, stderr)
    assert.isAtLeast(threads, 2)
    const zip = archived()
    place.configure({ compression: { threads: 1 } })
    const single = await job("--force")
    assert.strictEqual(single.status, 0, single.stderr)
    assert.isTrue(readFileSync(join(place.target, "ABCD/ABCD.zip")).equals(zip))
  })

  it("does its work without threads where it may not start any, and warns of that once", async () => {
    // Not by node's permission model, which in node 26 refuses fsync as well.
    const preload = join(place.root, "noThreads.cjs")
    writeFileSync(preload, noThreads)
    const { status, stderr, threads } = await alone({ NODE_OPTIONS: `--require=${preload}` })
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(threads, 0)
    const warnings = readFileSync(join(place.root, "zipper.log"), "utf8").match(
      /cannot start all of the 2 worker threads/g
    )
    assert.strictEqual(warnings?.length, 1)
    archived()
  })
})
