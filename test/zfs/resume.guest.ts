import * as assert from "node:assert/strict"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  fill,
  type Hosts,
  makeHosts,
  processesWith,
  pull,
  valueOf
} from "./replicationSupport.ts"
import { program, put, sh, snapshotsOf, startZipper, until, zfs } from "./support.ts"

let hosts: Hosts
let src: string
let dst: string
let here: string
before(() => {
  hosts = makeHosts({ source: 3072, target: 1024 })
  src = hosts.source.name
  dst = hosts.target.name
  here = hosts.source.mountpoint
})
after(() => hosts.destroy())

const targetOf = (source: string) => `${dst}/r/localhost/${source}`
const arguments_ = (source: string) => ["--destination", `${dst}/r`, source]
const tokenOf = (source: string): string => {
  const known = zfs("list", "-H", "-o", "name", "-r", dst).split("\n").includes(targetOf(source))
  return known ? valueOf("receive_resume_token", targetOf(source)) : "-"
}

/** Starts a slow pull and waits until a part has been received. */
const caughtInTheMiddle = async (source: string) => {
  const running = startZipper(
    ...[
      "pull",
      "--host",
      "localhost",
      "--bandwidth",
      "2M",
      "--lock",
      path.join(hosts.source.folder, "zipper.lock")
    ],
    ...arguments_(source)
  )
  await until("a stream under way", () => tokenOf(source) !== "-")
  return running
}

const noProcess = (source: string) =>
  until("no process that is left of it", () => processesWith(source).length === 0, 30)

const sourceWith = (name: string, megabytes: number): string => {
  const source = `${src}/${name}`
  zfs("create", source)
  put(path.join(here, name, "first"))
  zfs("snapshot", `${source}@1`)
  fill(path.join(here, name), "large", megabytes)
  zfs("snapshot", `${source}@2`)
  put(path.join(here, name, "last"))
  zfs("snapshot", `${source}@3`)
  return source
}

describe("a stream that is cut", () => {
  for (const [name, end] of [
    ["killed", "SIGKILL"],
    ["stopped", "SIGTERM"],
    ["interrupted", "SIGINT"],
    ["hung-up", "SIGHUP"]
  ] as const) {
    it(`goes on where it was after ${end}`, async () => {
      const source = sourceWith(name, 24)
      const { child, ended, output } = await caughtInTheMiddle(source)
      child.kill(end)
      const status = await ended
      assert.equal(status, { SIGKILL: 137, SIGTERM: 143, SIGINT: 130, SIGHUP: 129 }[end], output())
      if (end !== "SIGKILL") {
        assert.deepEqual(
          processesWith("ssh").filter((line) => line.includes(source) && !line.includes("sshd")),
          []
        )
      }
      await noProcess(source)
      const again = expectStatus(pull(hosts, ...arguments_(source)), 0)
      assert.match(again.stdout, /resum/)
      expectReplica(source, targetOf(source))
    })
  }

  it("goes on within the same run when the connection is lost", async () => {
    const source = sourceWith("lost", 24)
    const { ended, output } = await caughtInTheMiddle(source)
    sh("pkill", "-KILL", "-f", `ssh .*localhost.*${source}`)
    assert.equal(await ended, 0, output())
    assert.match(output(), /trying again/)
    expectReplica(source, targetOf(source))
  })

  it("starts anew when the snapshot of its token is gone", async () => {
    const source = sourceWith("gone", 24)
    const { child, ended } = await caughtInTheMiddle(source)
    child.kill("SIGTERM")
    await ended
    await noProcess(source)
    zfs("destroy", `${source}@2`)
    const again = expectStatus(pull(hosts, ...arguments_(source)), 0)
    assert.match(again.stdout + again.stderr, /thrown away|no longer/)
    expectReplica(source, targetOf(source))
  })
})

describe("snapshots that come and go while we look", () => {
  it("are planned again", async () => {
    const source = `${src}/churn`
    zfs("create", source)
    zfs("snapshot", `${source}@keep`)
    // Renews its snapshots all the time, as a snapshot tool that runs at the same time does.
    const churn = spawn(
      "sh",
      [
        "-c",
        `i=0; while :; do i=$((i+1)); zfs snapshot "$0@c$i"; zfs destroy "$0@c$((i-2))" 2>/dev/null; done`,
        source
      ],
      { detached: true }
    )
    try {
      for (let round = 0; round < 4; round += 1) {
        const ran = pull(hosts, ...arguments_(source))
        assert.equal(ran.status, 0, ran.stdout + ran.stderr)
      }
    } finally {
      assert.ok(churn.pid)
      process.kill(-churn.pid, "SIGKILL")
    }
    expectStatus(pull(hosts, ...arguments_(source)), 0)
    assert.equal(
      snapshotsOf(targetOf(source)).at(-1)?.split("@")[1],
      snapshotsOf(source).at(-1)?.split("@")[1]
    )
  })
})

describe("a large stream", () => {
  it("takes no more memory than a small one: 2 GB through the pipe", async () => {
    const source = `${src}/huge`
    zfs("create", "-o", "compression=lz4", source)
    sh(
      "sh",
      "-c",
      'yes "text that compresses well on disk and is sent as it reads" | head -c 2147483648 > "$0"',
      path.join(here, "huge/file")
    )
    zfs("snapshot", `${source}@1`)
    zfs("create", "-o", "compression=lz4", "-o", "canmount=off", `${dst}/c`)
    const child = spawn(
      process.execPath,
      [
        program,
        "pull",
        "--host",
        "localhost",
        "--ssh-option",
        "Ciphers=aes128-ctr",
        "--lock",
        path.join(hosts.source.folder, "zipper.lock"),
        "--destination",
        `${dst}/c`,
        source
      ],
      { stdio: "ignore" }
    )
    let peak = 0
    const watch = setInterval(() => {
      try {
        const status = fs.readFileSync(`/proc/${child.pid}/status`, "utf8")
        peak = Math.max(peak, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0))
      } catch {
        // It has ended.
      }
    }, 200)
    const status = await new Promise((resolve) => child.on("close", resolve))
    clearInterval(watch)
    assert.equal(status, 0)
    expectReplica(source, `${dst}/c/localhost/${source}`)
    assert.ok(peak > 0 && peak < 200 * 1024, `peak resident memory ${peak} kB`)
  })
})
