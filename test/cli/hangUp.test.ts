import { spawn } from "node:child_process"
import { truncateSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, zipper } from "../support/program/built.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
  // A big sparse file keeps the run busy.
  place.put("ABCD/big", "")
  truncateSync(join(place.source, "ABCD/big"), 3e9)
})
afterEach(() => place.remove())

/** The status of a run that got SIGHUP in its middle, and SIGTERM after it: the first that it heeds decides. */
const statusAfterHangUp = (starter: string): Promise<number | null> => {
  const script = `${starter} "$@" > /dev/null 2>&1 &
    until [ -e "$0" ]; do sleep 0.05; done
    kill -HUP $!; sleep 0.3; kill -TERM $!; wait $!`
  const command = [join(place.target, "ABCD"), process.execPath, zipper, "run", "--config", place.config]
  const child = spawn("bash", ["-c", script, ...command], { stdio: "ignore" })
  return new Promise((resolve) => child.on("close", resolve))
}

describe("SIGHUP", () => {
  it("is ignored when the program was started by nohup", async () => {
    assert.strictEqual(await statusAfterHangUp("nohup"), 143)
  })

  it("is ignored when the shell that started the program ignores it", async () => {
    assert.strictEqual(await statusAfterHangUp("trap '' HUP;"), 143)
  })

  it("stops the program when it was not to be ignored", async () => {
    assert.strictEqual(await statusAfterHangUp(""), 129)
  })
})
