import * as assert from "node:assert/strict"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, before, describe, it } from "node:test"
import { expectReplica, expectStatus, fill, processesWith, useHosts } from "./replicationSupport.ts"
import { startZipper, until, zfs, zipper } from "./support.ts"

const { hosts, src, dst, here } = useHosts()

const children = ["a", "b", "c", "d", "e"]
const datasets = ["data", ...children.map((child) => `data/${child}`)]

let server: ReturnType<typeof spawn>
before(async () => {
  const config = "/etc/ssh/sshd_test_2224"
  // The shared connection and one command are all that it takes.
  fs.writeFileSync(config, "Port 2224\nPidFile none\nLogLevel ERROR\nUsePAM yes\nMaxSessions 2\n")
  server = spawn("/usr/sbin/sshd", ["-D", "-f", config], { stdio: "ignore" })
  for (const dataset of datasets) {
    zfs("create", `${src}/${dataset}`)
    if (dataset !== "data") fill(path.join(here, dataset), "file", 4)
  }
  zfs("snapshot", "-r", `${src}/data@1`)
  zfs("create", "-o", "canmount=off", `${dst}/backup`)
  await new Promise((resolve) => setTimeout(resolve, 1000))
})
after(() => server.kill())

const lock = () => path.join(hosts.source.folder, "zipper.lock")
const common = (command: string, name: string) => [
  ...[command, "--host", "localhost", "--port", "2224", "--lock", lock(), "--concurrency", "4"],
  ...["--destination", `${dst}/backup/${name}`, `${src}/data`]
]
const senders = () => processesWith("zfs send -w").filter((line) => !line.includes("ssh"))

describe("several datasets at once", () => {
  it("go through connections of their own where the other host takes few sessions, and end at a signal", async () => {
    const running = startZipper(...common("push", "sent"), "--json", "--bandwidth", "400K")
    let ended = false
    void running.ended.then(() => {
      ended = true
    })
    await until("three streams at once", () => ended || senders().length >= 3, 600)
    assert.ok(!ended, running.output())
    const limiters = processesWith("pv -q -L ")
    assert.ok(limiters.length >= 3 && limiters.every((line) => line.includes(" -L 102400")), limiters.join("\n"))
    running.child.kill("SIGTERM")
    assert.equal(await running.ended, 143)
    assert.deepEqual(senders(), [])
    assert.match(running.output(), /"dataset": ".*\/data",\s+"target": .*\s+"result": "sent"/)
    assert.match(running.output(), /"errors": \[\s+"stopped by a signal before it was done"/)

    const { stderr, stdout } = expectStatus(zipper(...common("push", "sent")), 0)
    assert.doesNotMatch(stdout + stderr, /mux_client|zfs says/)
    for (const dataset of datasets) expectReplica(`${src}/${dataset}`, `${dst}/backup/sent/${src}/${dataset}`)
  })

  it("are in the document in their order, and one that fails stops no other", () => {
    for (const dataset of datasets) fill(path.join(here, dataset), "more", 1)
    zfs("snapshot", "-r", `${src}/data@2`)
    zfs("snapshot", `${dst}/backup/sent/${src}/data/b@of-its-own`)
    zfs("destroy", `${dst}/backup/sent/${src}/data/b@1`)
    const ran = expectStatus(zipper(...common("push", "sent"), "--json"), 4)
    assert.deepEqual(
      [...ran.stdout.matchAll(/"dataset": "[^/]*\/(.*)",\s+"target": .*\s+"result": "(.*)"/g)].map((match) =>
        match.slice(1)
      ),
      datasets.map((dataset) => [dataset, dataset === "data/b" ? "refused" : "sent"])
    )
  })
})
