import * as assert from "node:assert/strict"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  fill,
  processesWith,
  pull,
  receivedBytes,
  useHosts
} from "./replicationSupport.ts"
import { program, put, sh, snapshotsOf, startZipper, until, zfs } from "./support.ts"

const { dst, here, hosts, src } = useHosts({ source: 3072, target: 1024 })

const targetOf = (source: string) => `${dst}/r/localhost/${source}`
const arguments_ = (source: string) => ["--destination", `${dst}/r`, source]
/** Starts a slow pull and waits until a part of the large snapshot has been received. */
const caughtInTheMiddle = async (source: string) => {
  const running = startZipper(
    ...["pull", "--host", "localhost", "--bandwidth", "1M", "--lock", path.join(hosts.source.folder, "zipper.lock")],
    ...arguments_(source)
  )
  await until("a stream under way", () => receivedBytes(targetOf(source)) > 500_000)
  return running
}

const noProcess = (source: string) =>
  until("no process that is left of it", () => processesWith(source).length === 0, 30)

/** A dataset whose first snapshot has been pulled; the next ones are large. */
const sourceWith = (name: string, megabytes: number): string => {
  const source = `${src}/${name}`
  zfs("create", source)
  put(path.join(here, name, "first"))
  zfs("snapshot", `${source}@1`)
  expectStatus(pull(hosts, ...arguments_(source)), 0)
  fill(path.join(here, name), "large", megabytes)
  zfs("snapshot", `${source}@2`)
  put(path.join(here, name, "last"))
  zfs("snapshot", `${source}@3`)
  return source
}

describe("a stream that is cut", () => {
  for (const [name, end] of [
    ["killed", "SIGKILL"],
    ["interrupted", "SIGINT"]
  ] as const) {
    it(`goes on where it was after ${end}`, async () => {
      const source = sourceWith(name, 24)
      const { child, ended, output } = await caughtInTheMiddle(source)
      child.kill(end)
      const status = await ended
      assert.equal(status, { SIGKILL: 137, SIGINT: 130 }[end], output())
      if (end === "SIGKILL") {
        // Nobody is left to end its programs, which would bring the stream to its end: they die with it here.
        sh("pkill", "-KILL", "-f", `zfs receive .*${source}`)
      } else {
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

  it("goes on when it was onto a placeholder", async () => {
    const source = `${src}/holder`
    zfs("create", "-p", `${source}/child`)
    zfs("snapshot", `${source}/child@1`)
    expectStatus(pull(hosts, ...arguments_(`${source}/child`)), 0)
    fill(path.join(here, "holder"), "large", 24)
    zfs("snapshot", `${source}@1`)
    const { child, ended } = await caughtInTheMiddle(source)
    child.kill("SIGTERM")
    assert.equal(await ended, 143)
    await noProcess(source)
    assert.match(expectStatus(pull(hosts, ...arguments_(source)), 0).stdout, /resum/)
    expectReplica(source, targetOf(source))
    expectReplica(`${source}/child`, targetOf(`${source}/child`))
  })

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
  it("are planned again; where the source destroyed what was just sent, the replica keeps it", async () => {
    const source = `${src}/churn`
    zfs("create", source)
    zfs("snapshot", `${source}@keep`)
    expectStatus(pull(hosts, ...arguments_(source)), 0)
    // Renews its snapshots all the time, far faster than any tool would, until a run has had to plan again.
    const churn = spawn(
      "sh",
      [
        "-c",
        `i=0; while :; do i=$((i+1)); zfs snapshot "$0@c$i"; zfs destroy "$0@c$((i-10))" 2>/dev/null; sleep 0.2; done`,
        source
      ],
      { detached: true, stdio: "ignore" }
    )
    assert.ok(churn.pid)
    const stop = () => process.kill(-Number(churn.pid), "SIGKILL")
    try {
      await until("ten snapshots", () => snapshotsOf(source).length > 10)
      const { ended, output } = startZipper(
        ...["pull", "--host", "localhost", "--lock", path.join(hosts.source.folder, "zipper.lock")],
        ...arguments_(source)
      )
      await until("a plan that is out of date", () => output().includes("planning again"))
      stop()
      const status = await ended
      assert.ok(status === 0 || status === 4, output())
      if (status === 4) assert.match(output(), /would lose \d+ snapshots? \(@c\d+/)
    } finally {
      if (churn.signalCode === null) stop()
    }
    expectStatus(pull(hosts, "--rollback", ...arguments_(source)), 0)
    assert.equal(snapshotsOf(targetOf(source)).at(-1)?.split("@")[1], snapshotsOf(source).at(-1)?.split("@")[1])
  })
})

describe("a large stream", () => {
  it("takes no more memory than a small one", async () => {
    const source = `${src}/huge`
    zfs("create", "-o", "compression=lz4", source)
    sh(
      "sh",
      "-c",
      'yes "text that compresses well on disk and is sent as it reads" | head -c 402653184 > "$0"',
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
