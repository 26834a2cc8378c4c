import { execFile } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { type Ended, makePlace, type Place, zipper } from "../support/program/built.ts"

let place: Place
beforeEach(() => {
  place = makePlace({ compression: { threads: 2 } })
  for (let index = 0; index < 50; index += 1) place.put(`ABCD/${index}`, `content ${index}`.repeat(index))
})
afterEach(() => place.remove())

const inDeleted = (...args: ReadonlyArray<string>): Promise<Ended> => {
  const script = 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"'
  const folder = join(place.root, "deleted")
  return new Promise((resolve) => {
    const command = ["-c", script, folder, process.execPath, zipper, ...args]
    const child = execFile("sh", command, (_, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }))
  })
}

describe("in a working directory that was deleted", () => {
  it("the program does its work, on its threads", async () => {
    const ended = await inDeleted("run", "--config", place.config)
    assert.strictEqual(ended.status, 0, ended.stderr)
    assert.notInclude(ended.stderr, "warning")
    const verified = await inDeleted("verify", "--config", place.config)
    assert.strictEqual(verified.status, 0, verified.stderr)
    const to = join(place.root, "back")
    const restored = await inDeleted("restore", "ABCD", "--to", to, "--config", place.config)
    assert.strictEqual(restored.status, 0, restored.stderr)
    assert.strictEqual(readFileSync(join(to, "2"), "latin1"), "content 2content 2")
  })

  it("a relative path leads nowhere, which is one plain line", async () => {
    assert.strictEqual((await inDeleted("run", "--config", place.config)).status, 0)
    for (const [status, args] of [
      [2, ["run", "--config", "config.json"]],
      [2, ["run", "--config", "../config.json"]],
      [1, ["restore", "ABCD", "--to", "back", "--config", place.config]],
      [1, ["restore", "ABCD", "--to", "../back", "--config", place.config]],
      [1, ["report", "--config", place.config, "--out", "report.html"]],
      [1, ["config", "init", "zipper.json"]]
    ] as const) {
      const ended = await inDeleted(...args)
      assert.strictEqual(ended.status, status, `${args.join(" ")}: ${ended.stderr}`)
      assert.strictEqual(ended.stderr.trim().split("\n").length, 1, ended.stderr)
      assert.match(ended.stderr, /no such file|does not exist|not a directory/)
    }
    assert.isFalse(existsSync(join(place.root, "back")))
  })
})
