import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import * as Ssh from "../../src/zfs/Endpoint.ts"
import { local, type Remote } from "../../src/zfs/Endpoint.ts"

const nas: Remote = { _tag: "Remote", host: "nas", options: [] }
const path = `"PATH=$PATH"":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"`
const ours = [
  ...["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15"],
  ...["-o", "ServerAliveCountMax=4", "-o", "ControlMaster=no"]
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
      args: ["-T", ...ours, "--", "nas", `env LC_ALL=C ${path} zfs send -w 'tank/it'\\''s $1@a b'`]
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

  it("gives ssh an IPv6 address without brackets", () => {
    assert.include(Ssh.commandOn({ ...nas, host: "[::1]" }, { program: "true", args: [] }).args, "::1")
    assert.strictEqual(Ssh.manualCommand({ ...nas, host: "[::1]" }, false), "ssh ::1 true")
  })

  it("adds the folders of zfs to the PATH there, and sets the language", () => {
    const { stdout } = atTheOtherEnd(Ssh.commandOn(nas, { program: "printenv", args: ["PATH", "LC_ALL"] }), "")
    assert.strictEqual(stdout, "/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nC\n")
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
