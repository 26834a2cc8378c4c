import * as assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import { after, before, beforeEach, describe, it } from "node:test"
import { checkContent, checkTarget, checkTidy } from "../support/zip/independent.ts"
import { everyMoment } from "./killSupport.ts"
import { fill } from "./replicationSupport.ts"
import {
  makeConfig,
  makePool,
  type Pool,
  put,
  sh,
  sizesIn,
  type startZipper,
  startZipperWith,
  until,
  zfs,
  zipper
} from "./support.ts"

// A pool whose only disk goes away in the middle of the work, which suspends it. In the guest alone: elsewhere somebody may need zfs
// meanwhile. Nothing here touches the pool while it is suspended, or it would hang as well.

/** A disk in memory that can be switched off and on, with a partition. */
const makeDisk = async (megabytes: number) => {
  const disks = () => fs.readdirSync("/sys/block").filter((name) => /^sd/.test(name))
  const others = disks()
  sh("modprobe", "sd_mod")
  sh("modprobe", "scsi_debug", `dev_size_mb=${megabytes}`, "delay=0", "num_parts=1")
  const added = () => disks().find((each) => !others.includes(each))
  await until("a disk", () => fs.existsSync(`/dev/${added()}1`))
  const set = (state: string) => {
    const file = `/sys/block/${added()}/device/state`
    if (fs.readFileSync(file, "utf8").trim() !== state) fs.writeFileSync(file, `${state}\n`)
  }
  return { device: `/dev/${added()}1`, off: () => set("offline"), on: () => set("running") }
}

/** The program gives up what hangs after 300 s, of which it waits for 20 here. */
const hurry = { NODE_OPTIONS: `--import=${path.join(import.meta.dirname, "hurry.mjs")}` }

describe("a pool that is suspended", { skip: os.hostname() !== "zfs-vm" }, () => {
  let disk: Awaited<ReturnType<typeof makeDisk>>
  let folder: string
  let other: Pool
  let url: string
  let told: Array<string> = []
  const server = http.createServer((request, response) => {
    let body = ""
    request.on("data", (chunk) => (body += chunk))
    request.on("end", () => {
      told.push(body)
      response.end('{"id":1}')
    })
  })
  const pool = "suspended"
  const mountpoint = "/tmp/suspended"
  before(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-suspended-"))
    disk = await makeDisk(300)
    sh("zpool", "create", "-O", `mountpoint=${mountpoint}`, pool, disk.device)
    other = makePool()
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const address = server.address()
    assert.ok(address !== null && typeof address === "object")
    url = `http://127.0.0.1:${address.port}/message`
  })
  beforeEach(() => {
    told = []
  })
  after(() => {
    server.close()
    comeBack()
    sh("zpool", "destroy", "-f", pool)
    other.destroy()
  })

  /** The disk goes, and zfs has noticed. */
  const suspend = async () => {
    disk.off()
    await until("a suspended pool", () => sh("zpool", "list", "-H", "-o", "health", pool).trim() === "SUSPENDED", 120)
  }
  const comeBack = () => {
    disk.on()
    spawnSync("zpool", ["clear", pool], { timeout: 60_000 })
  }
  const configFor = (name: string, keys: Readonly<Record<string, unknown>>) => {
    const own = path.join(folder, name)
    fs.mkdirSync(own)
    const file = makeConfig(own, { retries: 0, syslog: false, gotify: { url, token: "a-token" }, ...keys })
    const given = JSON.parse(fs.readFileSync(file, "utf8"))
    /** The same for a run that has no time to lose. */
    const hasty = path.join(own, "hasty.json")
    fs.writeFileSync(hasty, JSON.stringify({ ...given, task_timeout_seconds: 300 }))
    return { config: file, hasty }
  }
  const change = (source: string, content: string) => {
    put(path.join(source, "EFGH", "file"), content)
    fill(path.join(source, "ABCD"), "large", 24)
  }

  /** It has said what is wrong, keeps others out until it is over, and then ends with status 1. */
  const givesUp = async (running: ReturnType<typeof startZipper>, again: () => ReturnType<typeof zipper>) => {
    await until("a message", () => told.length > 0, 240)
    assert.match(told.join(), /has hung in the kernel for 5 m.*zpool status/)
    assert.match(running.output(), /given up: .* has hung in the kernel/)
    assert.equal(again().status, 75)
    comeBack()
    assert.equal(await running.ended, 1, running.output())
  }

  for (const [where, failmode] of [
    ["target", "wait"],
    ...(everyMoment
      ? ([
          ["source", "wait"],
          ["target", "continue"],
          ["source", "continue"]
        ] as const)
      : [])
  ] as const) {
    it(`as ${where} of an archive is told of, and the next run is fine (failmode=${failmode})`, async () => {
      sh("zpool", "set", `failmode=${failmode}`, pool)
      const name = `${where}-${failmode}`
      const at = (what: string) => {
        const [in_, mounted] = what === where ? [pool, mountpoint] : [other.name, other.mountpoint]
        zfs("create", `${in_}/${name}-${what}`)
        return path.join(mounted, `${name}-${what}`)
      }
      const [source, target] = [at("source"), at("target")]
      const { config, hasty } = configFor(name, { source_path: source, target_path: target })
      const run = () => zipper("run", "--config", config)
      change(source, "one")
      assert.equal(run().status, 0)
      change(source, "two")
      // What is read has to come from the disk.
      if (where === "source") {
        zfs("unmount", `${pool}/${name}-source`)
        sh("zpool", "export", pool)
        sh("zpool", "import", pool)
      }
      const running = startZipperWith(hurry, "run", "--config", hasty)
      await until("a zip in the making", () =>
        [...sizesIn(target)].some(([file, size]) => /publish.*ABCD\.zip$/.test(file) && size > 100_000)
      )
      await suspend()
      if (failmode === "continue") {
        // Some operations fail then, others hang all the same.
        await until("a message", () => told.length > 0, 240)
        console.log(failmode, where, told, running.output())
        comeBack()
        assert.equal(await running.ended, 1, running.output())
      } else await givesUp(running, run)
      const again = run()
      assert.equal(again.status, 0, again.stderr)
      checkTarget(target, name)
      checkTidy(target, name)
      checkContent(source, target, name)
    })
  }
})
