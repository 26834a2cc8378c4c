import { execFile } from "node:child_process"
import { existsSync, readFileSync, rmSync, truncateSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Schema from "effect/Schema"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { RunDocument } from "../../src/runs/ArchiveResult.ts"
import { currentSet, makePlace, type Place, picture, start, toolsFor, zipper } from "../support/program/built.ts"
import { installed } from "../support/programs.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

const { job, files } = toolsFor(() => place)

describe("the lock", () => {
  it("refuses a second run at once, naming the holder, and is free as soon as the holder is killed", async () => {
    // A big sparse file keeps the first run busy.
    place.put("ABCD/big", "")
    truncateSync(join(place.source, "ABCD/big"), 3e9)
    const first = start(["run", "--config", place.config])
    try {
      while (!existsSync(join(place.target, "ABCD"))) await new Promise((resolve) => setTimeout(resolve, 20))
      const before = picture(place.target)
      const second = await job("--force", "--folder", "NONE")
      assert.strictEqual(second.status, 75)
      assert.include(second.stderr, `pid ${first.child.pid}`)
      assert.strictEqual(second.stderr.trim().split("\n").length, 1)
      assert.include(before, "ABCD")
    } finally {
      first.child.kill("SIGKILL")
      await first.ended
    }
    rmSync(join(place.source, "ABCD/big"))
    place.put("ABCD/small", "small")
    const third = await job()
    assert.strictEqual(third.status, 0, third.stderr)
    assert.deepStrictEqual(files("ABCD"), [...currentSet].sort())
  })
})

// Runs a program on a terminal, which goes away once a file is there; prints the exit status, less than 0 for a signal.
const hangUp = `
import os, pty, sys, time
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))`

describe("signals", () => {
  it.runIf(installed("python3"))("a terminal that goes away is one of them", async () => {
    place.put("ABCD/big", "")
    truncateSync(join(place.source, "ABCD/big"), 3e9)
    const begun = join(place.target, "ABCD")
    const command = [process.execPath, zipper, "run", "--config", place.config]
    const { stdout } = await promisify(execFile)("python3", ["-c", hangUp, begun, ...command])
    assert.strictEqual(stdout, "129\n")
    assert.deepStrictEqual(files("ABCD"), [])
    assert.include(readFileSync(join(place.root, "zipper.log"), "utf8"), "stopped by a signal")
  })

  it("a second SIGHUP, of the shell after that of the kernel, cuts no clean-up short", async () => {
    place.put("ABCD/big", "")
    truncateSync(join(place.source, "ABCD/big"), 3e9)
    const running = start(["run", "--config", place.config])
    while (!existsSync(join(place.target, "ABCD"))) await new Promise((resolve) => setTimeout(resolve, 20))
    running.child.kill("SIGHUP")
    await new Promise((resolve) => setTimeout(resolve, 1))
    running.child.kill("SIGHUP")
    assert.strictEqual((await running.ended).status, 129)
    assert.deepStrictEqual(files("ABCD"), [])
    assert.include(readFileSync(join(place.root, "zipper.log"), "utf8"), "stopped by a signal")
  })

  it("two at the same time are one, and it runs at the priority it was told", async () => {
    place.put("ABCD/big", "")
    truncateSync(join(place.source, "ABCD/big"), 3e9)
    place.configure({ nice: 7 })
    const running = start(["run", "--config", place.config])
    while (!existsSync(join(place.target, "ABCD"))) await new Promise((resolve) => setTimeout(resolve, 20))
    const stat = readFileSync(`/proc/${running.child.pid}/stat`, "utf8").split(") ")[1]?.split(" ")
    assert.strictEqual(stat?.[16], "7")
    running.child.kill("SIGTERM")
    running.child.kill("SIGINT")
    assert.include([130, 143], (await running.ended).status)
    assert.strictEqual((await job("--folder", "NONE")).status, 1, "the next run recovers")
    assert.deepStrictEqual(files("ABCD"), [])
  })

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`with --json, ${signal} leaves the document of what was done until then`, async () => {
      place.put("ABCD/small", "small")
      place.put("EFGH/big", "")
      truncateSync(join(place.source, "EFGH/big"), 3e9)
      const running = start(["run", "--json", "--config", place.config])
      while (!existsSync(join(place.target, "EFGH"))) await new Promise((resolve) => setTimeout(resolve, 20))
      running.child.kill(signal)
      const ended = await running.ended
      const document = Schema.decodeUnknownSync(RunDocument, { onExcessProperty: "error" })(JSON.parse(ended.stdout))
      assert.deepStrictEqual(
        document.folders.map(({ folder, result }) => `${folder} ${result}`),
        ["ABCD archived"]
      )
      assert.deepStrictEqual(document.errors, ["stopped by a signal before it was done"])
      assert.deepInclude(document, { archived: 1, failed: 0, source: "" })
      assert.include(ended.stderr, "stopped by a signal: EFGH was not archived")
    })
  }

  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129]
  ] as const) {
    it(`${signal} cleans up and exits ${status}`, async () => {
      place.put("ABCD/big", "")
      truncateSync(join(place.source, "ABCD/big"), 3e9)
      const running = start(["run", "--config", place.config])
      while (!existsSync(join(place.target, "ABCD"))) await new Promise((resolve) => setTimeout(resolve, 20))
      running.child.kill(signal)
      // As timeout(1) does it, and sudo.
      await new Promise((resolve) => setTimeout(resolve, 5))
      running.child.kill(signal)
      const ended = await running.ended
      assert.strictEqual(ended.status, status, ended.stderr)
      assert.include(ended.stderr, "stopped by a signal")
      assert.deepStrictEqual(files("ABCD"), [])
      assert.include(readFileSync(join(place.root, "zipper.log"), "utf8"), "stopped by a signal")
    })
  }
})
