import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run, toolsFor } from "../support/program/built.ts"
import { contentsOf } from "../support/readZip.ts"
import { noise } from "../support/zip/archive.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { sums } = toolsFor(() => place)

/** The process lives an hour later: then no file is too young to be taken for unchanged. */
const later = () => {
  const file = join(place.root, "later.mjs")
  writeFileSync(file, "const now = Date.now; Date.now = () => now() + 3600_000\n")
  return { env: { NODE_OPTIONS: `--import=${file}` } }
}

const job = async (...args: ReadonlyArray<string>) => {
  const ended = await run(["run", "--json", "--config", place.config, ...args], later())
  assert.strictEqual(ended.status, 0, ended.stderr)
  return JSON.parse(ended.stdout).folders[0]
}

const contentOf = async (name: string): Promise<Buffer | undefined> =>
  (await contentsOf(join(place.target, "ABCD/ABCD.zip"))).get(name)

describe("a folder in which little changed", () => {
  it("is made from the archive before, on one thread and on several, and --force reads everything", async () => {
    const text = "all work and no play makes a dull boy\n".repeat(60_000)
    for (let i = 0; i < 40; i += 1) place.put(`ABCD/${i}`, `file ${i}\n`.repeat(50))
    place.put("ABCD/large text", text)
    place.put("ABCD/large noise", noise(1_300_000))
    assert.strictEqual((await job()).copied_files, 0)

    place.put("ABCD/7", "another seven")
    assert.deepInclude(await job(), { result: "archived", files: 42, copied_files: 41 })
    sums("ABCD")
    assert.strictEqual(String(await contentOf("7")), "another seven")
    assert.strictEqual(String(await contentOf("large text")), text)

    place.configure({ compression: { threads: 1 } })
    place.put("ABCD/8", "another eight")
    assert.deepInclude(await job(), { result: "archived", copied_files: 41 })
    assert.strictEqual(String(await contentOf("8")), "another eight")
    assert.isTrue((await contentOf("large noise"))?.equals(noise(1_300_000)))

    assert.deepInclude(await job("--force"), { result: "archived", copied_files: 0 })
    place.configure({ compression: { level: 5 } })
    place.put("ABCD/9", "another nine")
    assert.deepInclude(await job(), { result: "archived", copied_files: 0 })
    sums("ABCD")
  })

  it("is not made from files that are too young to tell whether they will change again", async () => {
    place.put("ABCD/a", "one")
    for (const content of ["two", "three"]) {
      place.put("ABCD/b", content)
      const ended = await run(["run", "--json", "--config", place.config])
      assert.deepInclude(JSON.parse(ended.stdout).folders[0], { result: "archived", copied_files: 0 })
    }
  })
})
