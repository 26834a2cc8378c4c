import * as assert from "node:assert/strict"
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { expectReplica, expectStatus, useHosts } from "./replicationSupport.ts"
import { put, type Ran, sh, zfs, zipper } from "./support.ts"

const { hosts, src, dst, here } = useHosts()

/** Users of this host, all with root's number: what each login does is what differs. */
const users = {
  loud: { shell: "/bin/bash", config: "" },
  nologin: { shell: "/usr/sbin/nologin", config: "" },
  menu: { shell: "/bin/sh", config: "ForceCommand /bin/echo Welcome to the menu" },
  sftponly: { shell: "/bin/sh", config: "ForceCommand internal-sftp" }
} as const
const name = (user: keyof typeof users) => `z${user}`

const start = (port: number, ...lines: ReadonlyArray<string>) => {
  const file = `/etc/ssh/sshd_test_${port}`
  const config = [
    `Port ${port}`,
    "PidFile none",
    "LogLevel ERROR",
    "UsePAM yes",
    "Subsystem sftp internal-sftp",
    ...lines
  ]
  fs.writeFileSync(file, `${config.join("\n")}\n`)
  return spawn("/usr/sbin/sshd", ["-D", "-f", file], { stdio: "ignore" })
}

let servers: ReadonlyArray<ReturnType<typeof start>> = []
before(async () => {
  for (const [user, { shell }] of Object.entries(users)) {
    execFileSync("useradd", ["-o", "-u", "0", "-g", "0", "-m", "-s", shell, `z${user}`])
    fs.cpSync("/root/.ssh", `/home/z${user}/.ssh`, { recursive: true })
    sh("chown", "-R", "0:0", `/home/z${user}`)
  }
  put(
    `/home/${name("loud")}/.bashrc`,
    'echo "error: quota: no such user" >&2\necho "cannot open \'quota\': I/O error" >&2\n'
  )
  const matches = Object.entries(users).flatMap(([user, { config }]) =>
    config === "" ? [] : [`Match User z${user}`, config]
  )
  servers = [start(2222, ...matches), start(2223, "MaxSessions 1")]
  zfs("create", `${src}/data`)
  zfs("create", `${src}/other`)
  put(path.join(here, "data/file"))
  zfs("snapshot", "-r", `${src}@1`)
  zfs("create", "-o", "canmount=off", `${dst}/backup`)
  await new Promise((resolve) => setTimeout(resolve, 1000))
})
after(() => {
  for (const server of servers) server.kill()
  for (const user of Object.keys(users)) execFileSync("userdel", ["-f", "-r", `z${user}`], { stdio: "ignore" })
})

const lock = () => path.join(hosts.source.folder, "zipper.lock")
const as = (command: "pull" | "push", user: keyof typeof users, ...args: ReadonlyArray<string>): Ran =>
  zipper(command, "--host", `${name(user)}@localhost`, "--port", "2222", "--lock", lock(), ...args)

const times = (text: string, part: string | RegExp) => text.split(part).length - 1

describe("a login that prints on standard error", () => {
  const said = "zloud@localhost prints at the login: error: quota: no such user cannot open 'quota': I/O error"

  it("does not keep a first push from its target, and is repeated once", () => {
    const { stderr, stdout } = expectStatus(
      as("push", "loud", "--strip-prefix", src, "--destination", `${dst}/backup/loud`, `${src}/data`, `${src}/other`),
      0
    )
    assert.equal(times(stdout, said), 1, stdout)
    assert.doesNotMatch(stderr, /quota|zfs says/)
    expectReplica(`${src}/data`, `${dst}/backup/loud/data`)
    expectReplica(`${src}/other`, `${dst}/backup/loud/other`)
  })

  it("lets one wrong name among several fail alone", () => {
    const ran = expectStatus(as("pull", "loud", "--destination", `${dst}/backup`, `${src}/nosuch`, `${src}/data`), 1)
    assert.match(ran.stderr, /nosuch: .*there is no such dataset/)
    assert.equal(times(ran.stdout, said), 1, ran.stdout)
    expectReplica(`${src}/data`, `${dst}/backup/localhost/${src}/data`)
  })

  it("is not seen with --quiet", () => {
    const ran = expectStatus(as("pull", "loud", "-q", "--destination", `${dst}/backup`, `${src}/data`), 0)
    assert.equal(ran.stdout + ran.stderr, "")
  })
})

describe("a host that takes one session for each connection", () => {
  it("gets a connection for each command, without a word of ssh about that", () => {
    const { stderr, stdout } = expectStatus(
      zipper(
        ...["pull", "--host", "localhost", "--port", "2223", "--lock", lock()],
        ...["--destination", `${dst}/backup/one`, `${src}/nosuch`, `${src}/data`]
      ),
      1
    )
    assert.doesNotMatch(stdout + stderr, /mux_client|zfs says/)
    expectReplica(`${src}/data`, `${dst}/backup/one/localhost/${src}/data`)
  })
})

describe("a login that runs something else", () => {
  for (const [user, said] of [
    ["nologin", /exit status 1, and it printed "This account is currently not available\."; the user needs/],
    ["menu", /exit status 0, and it printed "Welcome to the menu"; the user needs/],
    ["sftponly", /exit status 1, and it printed "This service allows sftp connections only\."; the user needs/]
  ] as const) {
    it(`is named, before anything is done: ${user}`, () => {
      const command = user === "menu" ? "push" : "pull"
      const { stderr } = expectStatus(as(command, user, "--destination", `${dst}/backup`, `${src}/data`), 3)
      assert.equal(times(stderr.trimEnd(), "\n"), 0, stderr)
      assert.match(stderr, said)
      assert.match(stderr, new RegExp(`z${user}@localhost runs something else than the command`))
      assert.doesNotMatch(stderr, /attempt/)
    })
  }
})

describe("a host that ssh_config and the command line name in other ways", () => {
  it("runs our commands where ssh_config has a command of its own", () => {
    fs.appendFileSync(
      "/root/.ssh/config",
      "\nHost own-command\n  HostName localhost\n  RemoteCommand false\n  RequestTTY force\n"
    )
    expectStatus(
      zipper("push", "--host", "own-command", "--lock", lock(), "--destination", `${dst}/backup/own`, `${src}/data`),
      0
    )
  })

  it("is one host with the brackets of an IPv6 address and without", () => {
    const pull = (host: string) =>
      expectStatus(zipper("pull", "--host", host, "--lock", lock(), "--destination", `${dst}/backup`, `${src}/data`), 0)
    assert.match(pull("[::1]").stdout, /1 sent/)
    assert.match(pull("::1").stdout, /1 up to date/)
    expectReplica(`${src}/data`, `${dst}/backup/::1/${src}/data`)
  })
})
