import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Ssh from "../../src/zfs/Endpoint.ts"
import { local, type Remote } from "../../src/zfs/Endpoint.ts"

const nas: Remote = { _tag: "Remote", host: "nas", options: [] }
const path = `"PATH=$PATH"":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"`
const begin = `env LC_ALL=C ${path} sh -c 'echo zipper: connected >&2; exec "$@"' sh`
const ours = [
  ...["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15"],
  ...["-o", "ServerAliveCountMax=4", "-o", "RemoteCommand=none", "-o", "ControlMaster=no"]
]

/** What the other end's shell makes of the command, with `programs` as shell functions there. */
const atTheOtherEnd = (command: Ssh.Command, input: string) =>
  spawnSync("sh", ["-c", command.args.at(-1) ?? ""], {
    input,
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin" }
  })

describe("Ssh", () => {
  it("runs a command here as it is", () => {
    const command = { program: "zfs", args: ["list", "a b"] }
    assert.strictEqual(Ssh.commandOn(local, command), command)
  })

  it("runs a command on another machine in one word that every shell understands", () => {
    assert.deepStrictEqual(Ssh.commandOn(nas, { program: "zfs", args: ["send", "-w", "tank/it's $1@a b"] }), {
      program: "ssh",
      args: ["-T", ...ours, "--", "nas", `${begin} zfs send -w 'tank/it'\\''s $1@a b'`]
    })
  })

  it("puts the user's options before ours, and takes no host for an option", () => {
    const remote: Remote = {
      _tag: "Remote",
      host: "-oProxyCommand=x",
      user: "backup",
      port: 2222,
      options: ["IdentityFile=/root/a key", "ConnectTimeout=60"]
    }
    const { args } = Ssh.commandOn(remote, { program: "true", args: [] })
    assert.deepStrictEqual(args.slice(0, -1), [
      ...["-T", "-o", "IdentityFile=/root/a key", "-o", "ConnectTimeout=60", ...ours],
      ...["-p", "2222", "-l", "backup", "--", "-oProxyCommand=x"]
    ])
    assert.strictEqual(
      Ssh.manualCommand(Ssh.throughSocket({ ...remote, host: "nas" }, "/tmp/socket"), true),
      "ssh -o BatchMode=yes -o 'IdentityFile=/root/a key' -o 'ConnectTimeout=60' -p 2222 backup@nas true"
    )
  })

  it("runs our command where ssh_config has another one for that host, and no terminal", () => {
    const folder = mkdtempSync(join(tmpdir(), "zipper-test-"))
    const config = join(folder, "config")
    writeFileSync(config, "Host nas\n  RemoteCommand tmux attach\n  RequestTTY force\n")
    const { args } = Ssh.commandOn(nas, { program: "true", args: [] })
    const { status, stderr, stdout } = spawnSync("ssh", ["-F", config, "-G", ...args], { encoding: "utf8" })
    rmSync(folder, { recursive: true })
    assert.strictEqual(status, 0, stderr)
    assert.match(stdout, /^requesttty false$/m)
    assert.notMatch(stdout, /tmux/)
  })

  it("adds the folders of zfs to the PATH there, and sets the language", () => {
    const { stdout } = atTheOtherEnd(Ssh.commandOn(nas, { program: "printenv", args: ["PATH", "LC_ALL"] }), "")
    assert.strictEqual(stdout, "/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nC\n")
  })

  // Login shells; those that are not installed are left out, sh is always there.
  const shells = ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh"].filter(
    (shell) => spawnSync(shell, ["-c", "true"]).status === 0
  )
  for (const shell of shells) {
    it(`marks in ${shell} where the command begins`, () => {
      const program = {
        program: "sh",
        args: ["-c", 'printf %s "$1"; echo "$2" >&2; exit 3', "sh", "it's\\ $1!", "own"]
      }
      const command = Ssh.commandOn(nas, program).args.at(-1) ?? ""
      const login = spawnSync(shell, ["-c", `sh -c 'printf "cannot open >&2" >&2'; ${command}`], { encoding: "utf8" })
      assert.deepStrictEqual([login.status, login.stdout], [3, "it's\\ $1!"])
      assert.deepStrictEqual(Ssh.splitAtBegin(nas, login.stderr), { login: "cannot open >&2", own: "own\n" })
      const missing = Ssh.commandOn(nas, { program: "zfs-is-not-there", args: [] }).args.at(-1) ?? ""
      const { status, stderr } = spawnSync(shell, ["-c", missing], { encoding: "utf8" })
      assert.strictEqual(status, 127)
      assert.match(Ssh.splitAtBegin(nas, stderr).own ?? "", /zfs-is-not-there: not found\n$/)
    })
  }

  it("knows what did not begin, and that everything here is the command's own", () => {
    assert.deepStrictEqual(Ssh.splitAtBegin(nas, "denied\n"), { login: "denied\n", own: undefined })
    assert.deepStrictEqual(Ssh.splitAtBegin(local, "denied\n"), { login: "", own: "denied\n" })
  })

  it("sees both statuses of a command and its filter", () => {
    const statuses = (command: Ssh.Command, input: string) => {
      const { status, stderr, stdout } = atTheOtherEnd(command, input)
      return { status, stdout, inner: stderr.split("\n").flatMap((line) => Ssh.statusOf(line) ?? []) }
    }
    const script = (text: string) => ({ program: "sh", args: ["-c", text] })
    assert.deepStrictEqual(
      statuses(Ssh.onFiltered(nas, script("echo 'a  b'; exit 3"), { at: "out", line: "tr a-z A-Z" }), ""),
      { status: 0, stdout: "A  B\n", inner: [3] }
    )
    assert.deepStrictEqual(
      statuses(Ssh.onFiltered(nas, script("cat; exit 4"), { at: "in", line: "tr a-z A-Z" }), "x y\n"),
      { status: 4, stdout: "X Y\n", inner: [0] }
    )
    assert.isUndefined(Ssh.statusOf("exit status 3"))
  })
})
