import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { makePlace, type Place, start } from "../support/program/built.ts"
import { isRunning } from "../support/program/processes.ts"

let place: Place
let path = ""

/** `zfs` and `ssh` that let us log in, begin as a command on another host does, and then do what MODE says. */
const program = `#!/bin/sh
case "$0" in */ssh) echo 'zipper: connected' >&2;; esac
case "$*" in
  *"id -u"*) printf '0\\nroot\\nroot\\n'; exit 0;;
esac
case "$MODE" in
  rubbish) head -c 3000 /dev/urandom;;
  words) echo 'Welcome to nas!';;
  short) printf 'tank/data\\tfilesystem\\t17';;
  noise) yes 'something is wrong' | head -c 3000000 >&2; exit 1;;
  status) exit 3;;
  killed) kill -9 $$;;
  hang) exec sleep 4711;;
esac
`

beforeAll(() => {
  place = makePlace()
  const bin = join(place.root, "bin")
  mkdirSync(bin)
  for (const name of ["zfs", "ssh"]) writeFileSync(join(bin, name), program, { mode: 0o755 })
  path = `${bin}:/usr/bin:/bin`
})
afterAll(() => place.remove())

const pull = (mode: string) =>
  start(
    [
      ...["pull", "--host", "nas", "--user", "backup", "--destination", "tank/backup"],
      ...["--lock", join(place.root, "lock"), "tank/data"]
    ],
    { env: { PATH: path, MODE: mode, HOME: place.root } }
  )

describe("programs that are not what they should be", () => {
  it.each([
    ["rubbish", /is not what zfs prints there/],
    ["silent", /zfs printed nothing; see that the first zfs in PATH is OpenZFS's own/],
    ["words", /"Welcome to nas!" is not what zfs prints there/],
    ["short", /"tank\/data\\tfilesystem\\t17" is not what zfs prints there/],
    ["noise", /something is wrong something is wrong.* \[…\] /],
    ["status", /zfs ended with exit status 3 and no message/],
    ["killed", /zfs ended with exit status 137 and no message/]
  ])("%s: ends at once, with one message", async (mode, message) => {
    const { status, stderr, stdout } = await pull(mode).ended
    assert.include([1, 3], status, stderr)
    assert.match(stderr, message)
    assert.isAtMost(stderr.trim().split("\n").length, 2, stderr)
    assert.isBelow(stderr.length, 5000)
    // What came from a program cannot steer a terminal.
    assert.notMatch(stderr, /[\x00-\x08\x0b-\x1f\x7f-\x9f]/)
    assert.strictEqual(stdout, "")
  })

  it("one that hangs goes with us when we are stopped", async () => {
    const { child, ended } = pull("hang")
    const sleeping = () => isRunning("sleep 4711")
    while (!sleeping() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 50))
    child.kill("SIGTERM")
    assert.strictEqual((await ended).status, 143)
    assert.isFalse(sleeping())
  })
})
