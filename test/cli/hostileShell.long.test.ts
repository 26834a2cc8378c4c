import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { makePlace, type Place, run } from "../support/program/built.ts"

// What somebody calls a host, a user or a dataset, or another machine says that its own are called, reaches the shell there as
// what it is, or not at all.

let place: Place

// As sshd: the login shell of the user gets the last argument as a command.
const ssh = `#!/bin/sh
for last; do :; done
printf '%s\\0' "$@" >> "$ROOT/ssh.args"
PATH="$ROOT/bin:$PATH" exec "$LOGIN_SHELL" -c "$last"
`
const zfs = `#!/bin/sh
printf '%s\\0' "$@" >> "$ROOT/zfs.args"
case "$*" in
*encryption*) printf '%b' "$SOURCES";;
*snapshot*) printf '%b' "$SNAPSHOTS";;
esac
`

beforeAll(() => {
  place = makePlace()
  const bin = join(place.root, "bin")
  mkdirSync(bin)
  writeFileSync(join(bin, "ssh"), ssh, { mode: 0o755 })
  writeFileSync(join(bin, "zfs"), zfs, { mode: 0o755 })
})
afterAll(() => place.remove())

const shells = ["sh", "dash", "bash", "zsh", "tcsh", "fish"].filter(
  (shell) => spawnSync(shell, ["-c", "true"]).status === 0
)

/** Each makes a file, wherever a shell takes it for a command. */
const evils = [
  "$(touch CANARY)",
  "`touch CANARY`",
  ";touch CANARY;",
  "'; touch CANARY; '",
  '"; touch CANARY; "',
  "a\ntouch CANARY\n",
  "|touch CANARY",
  "&touch CANARY&",
  "-oProxyCommand=touch CANARY",
  "!touch",
  "\\'; touch CANARY; \\'",
  "{a,b}",
  "~root",
  "a\u2028b"
].map((text) => text.replace("CANARY", "/PLACE/canary"))

/** ZIPPER_HOSTILE=all: each of them in each place. */
const some = process.env["ZIPPER_HOSTILE"] === "all" ? evils : evils.filter((_, index) => index % 3 === 0)

const asThere = (text: string) => text.replace("/PLACE", place.root)

const env = (more: Readonly<Record<string, string>>) => ({
  PATH: `${place.root}/bin:/usr/bin:/bin`,
  ROOT: place.root,
  HOME: place.root,
  LOGIN_SHELL: "sh",
  SOURCES: "tank/a\\tfilesystem\\t17\\toff\\t-\\t0\\n",
  SNAPSHOTS: "tank/a@one\\t77\\t5\\t1735689600\\t0\\t-\\n",
  ...more
})

const noHarm = (what: string) => {
  assert.isFalse(existsSync(join(place.root, "canary")), what)
  assert.deepStrictEqual(
    readdirSync(place.root).filter((name) => /^(touch|canary|a|b)$/.test(name)),
    [],
    what
  )
}

const pull = (given: Readonly<Record<string, string>>, more: Readonly<Record<string, string>> = {}) => {
  const { host = "nas", user = "backup", dataset = "tank/a", destination = "b", ...options } = given
  const job = {
    name: "j",
    direction: "pull",
    host,
    user,
    datasets: [dataset],
    destination,
    ...(options["option"] === undefined ? {} : { ssh_options: [options["option"]] })
  }
  place.configure({ replication: [job] })
  return run(["pull", "--job", "j", "--dry-run", "--config", place.config], {
    env: env(more),
    cwd: place.root
  })
}

describe("a name that is made to be a command", () => {
  it.each(["host", "user", "dataset", "destination", "option"])("as %s", async (key) => {
    for (const evil of some) {
      const text = key === "option" ? `IdentityFile=${asThere(evil)}` : asThere(evil)
      const { status, stderr } = await pull({ [key]: text })
      noHarm(`${key} ${text}`)
      assert.notMatch(stderr, /internal error|\n\s+at /)
      // An option for ssh, which starts no shell for it, may hold anything but a line break.
      if (key !== "option" && evil !== "!touch" && evil !== "~root" && evil !== "a\u2028b")
        assert.strictEqual(status, 2, `${text}: ${stderr}`)
    }
  })

  it("as what the other machine says that its datasets and snapshots are called", async () => {
    for (const evil of some) {
      const text = asThere(evil).replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
      for (const more of [
        {
          SOURCES: `tank/a\\tfilesystem\\t17\\toff\\t-\\t0\\ntank/a/${text}\\tfilesystem\\t18\\toff\\t-\\t0\\n`
        },
        { SNAPSHOTS: `tank/a@${text}\\t77\\t5\\t1735689600\\t0\\t-\\n` }
      ]) {
        const { status, stderr } = await pull({}, more)
        noHarm(text)
        assert.notMatch(stderr, /internal error|\n\s+at /)
        assert.include([1, 3], status, `${text}: ${stderr}`)
        assert.match(stderr, /is not what zfs prints there/)
      }
    }
  })

  it.each(shells)("%s there hears what was said", async (shell) => {
    writeFileSync(join(place.root, "zfs.args"), "")
    const { stderr } = await pull(
      { dataset: "tank/a b" },
      { LOGIN_SHELL: shell, SOURCES: "tank/a b\\tfilesystem\\t17\\toff\\t-\\t0\\n" }
    )
    noHarm(shell)
    const args = readFileSync(join(place.root, "zfs.args"), "utf8").split("\0")
    assert.include(args, "tank/a b", stderr)
  })
})
