import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run } from "../support/program/built.ts"
import { isThorough } from "../support/thorough.ts"
import { noise } from "../support/zip/archive.ts"

const preload = fileURLToPath(new URL("../support/program/bufferPool.cjs", import.meta.url))
const pools = (env: Record<string, string>) => ({ NODE_OPTIONS: `--require=${preload}`, ...env })

/** Shrinks to about a third, whatever its size is. */
const text = (size: number): string => noise(size).toString("hex").slice(0, size).replace(/[0-9]/g, "0")

const sizes = [10, 300, 4_000, 8_000, 16_000, 31_000, 33_000, 65_536, 70_000, 300_000, 900_000, 3_000_000]

let place: Place
beforeEach(() => {
  place = makePlace()
  for (const size of sizes) {
    place.put(`ABCD/text ${size}`, text(size))
    place.put(`ABCD/noise ${size}`, noise(size))
  }
})
afterEach(() => place.remove())

/** Each number of threads with one size; where each command has a process anyway, with both. */
const threadsWith = (kib: number) => (isThorough ? [1, 2] : [kib === 64 ? 2 : 1])

// It has 8 KiB in node 20 and 64 KiB in node 24.
describe.each([64, 1024])("with %i KiB in node's pool for small buffers", (kib) => {
  it.each(threadsWith(kib))("a folder is archived, verified and restored, on %i threads", async (threads) => {
    const env = pools({ POOL_SIZE: String(kib * 1024) })
    place.configure({ compression: { threads } })
    const archived = await run(["run", "--config", place.config], { env })
    assert.strictEqual(archived.status, 0, archived.stderr)
    const verified = await run(["verify", "--config", place.config], { env })
    assert.strictEqual(verified.status, 0, verified.stderr)
    const to = join(place.root, "restored")
    const restored = await run(["restore", "--config", place.config, "--to", to, "ABCD"], { env })
    assert.strictEqual(restored.status, 0, restored.stderr)
    for (const size of sizes) {
      assert.strictEqual(readFileSync(join(to, `text ${size}`), "latin1"), text(size))
      assert.isTrue(readFileSync(join(to, `noise ${size}`)).equals(noise(size)))
    }
  })
})

describe("zipper demo", () => {
  it("compresses small files where a run compresses them: on the worker threads", async () => {
    const folder = mkdtempSync(join(tmpdir(), "zipper-test-"))
    const report = join(folder, "report")
    try {
      const { status, stderr } = await run(["demo"], { env: pools({ POOL_REPORT: report }) })
      assert.strictEqual(status, 0, stderr)
      const threads = existsSync(report) ? readFileSync(report, "utf8").trim().split("\n") : []
      assert.include(threads, availableParallelism() > 1 ? "worker" : "main")
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
