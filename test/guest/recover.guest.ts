import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after, describe, it } from "node:test"
import {
  expectReplica,
  expectStatus,
  fill,
  guidsOf,
  makeHosts,
  pictureOf,
  receivedBytes,
  valueOf
} from "./replicationSupport.ts"
import { makeConfig, makePool, makeUser, put, sh, startZipper, until, zfs, zipper, zipperIn } from "./support.ts"

const hosts = makeHosts({ source: 512, target: 512 })
const [src, dst, here] = [hosts.source.name, hosts.target.name, hosts.source.mountpoint]
const rescue = makePool(512)
after(() => {
  hosts.destroy()
  rescue.destroy()
})

/** A file in the folder of a dataset, which has to be mounted. */
const contentOf = (dataset: string, name: string): string => {
  assert.equal(valueOf("mounted", dataset), "yes", dataset)
  return fs.readFileSync(path.join(valueOf("mountpoint", dataset), name), "utf8")
}

const key = path.join(hosts.source.folder, "key")
fs.writeFileSync(key, "correct horse")
zfs("create", "-p", `${src}/data/child`)
zfs("create", "-V", "8M", `${src}/data/vol`)
put(path.join(here, "data/file"), "one")
put(path.join(here, "data/child/file"), "child one")
zfs("snapshot", "-r", `${src}/data@one`)
put(path.join(here, "data/file"), "two")
// Times of creation are in seconds: what is taken in the same one counts as there at @one.
sh("sleep", "1.1")
zfs("create", `${src}/data/late`)
zfs("snapshot", "-r", `${src}/data@two`)
const passphrase = ["-o", "keyformat=passphrase", "-o", "pbkdf2iters=100000", "-o", `keylocation=file://${key}`]
zfs("create", "-o", "encryption=on", ...passphrase, `${src}/secret`)
zfs("create", `${src}/secret/child`)
put(path.join(here, "secret/file"), "the secret")
put(path.join(here, "secret/child/file"), "the child's")
zfs("snapshot", "-r", `${src}/secret@one`)

/** Jobs on ssh to this machine itself. */
const configWith = (name: string, more: Readonly<Record<string, unknown>> = {}): string => {
  const folder = path.join(hosts.source.folder, name)
  fs.mkdirSync(folder)
  fs.chmodSync(folder, 0o777)
  const job = (rest: Readonly<Record<string, unknown>>) => ({ host: "localhost", ...more, ...rest })
  return makeConfig(folder, {
    state_dir: path.join(folder, "state"),
    syslog: false,
    replication: [
      job({
        ...{ name: "in", direction: "pull", destination: `${dst}/r`, datasets: [`${src}/data`] },
        retention: { daily: 1 }
      }),
      job({ name: "off", direction: "push", destination: `${dst}/off`, strip_prefix: src, datasets: [`${src}/secret`] })
    ]
  })
}
const config = configWith("own")
const run = (...args: ReadonlyArray<string>) => zipper(...args, "--config", config)
const recover = (...args: ReadonlyArray<string>) => run("recover", ...args)
const replica = `${dst}/r/localhost/${src}/data`
const data = [`${src}/data`, "--job", "in"]

/** Every dataset has the snapshots of the original, and no mark of ours. */
const expectRecovered = (target: string, original: string, below: ReadonlyArray<string>): void => {
  for (const name of ["", ...below]) {
    assert.deepEqual(guidsOf(target + name), guidsOf(original + name))
    const marks = "zipper:recover,zipper:send,zipper:placeholder,receive_resume_token"
    assert.match(zfs("get", "-H", "-o", "value", marks, target + name), /^(-\n){4}$/)
  }
}

describe("recover", () => {
  it("makes a working tree of replicas, volumes too, and writes over nothing", () => {
    expectStatus(run("pull", "--job", "in"), 0)
    const before = pictureOf(dst)
    const target = `${rescue.name}/data`
    const dry = expectStatus(recover(...data, "--to", target, "--host", "localhost", "--dry-run"), 0)
    assert.match(dry.stdout, /would send .* KiB[\s\S]*zfs mount .*\/data\/child/)
    assert.equal(pictureOf(rescue.name).includes("/data"), false)
    const ran = expectStatus(recover(...data, "--to", target, "--json"), 0)
    expectRecovered(target, `${src}/data`, ["/child", "/vol", "/late"])
    const { datasets, todo } = JSON.parse(ran.stdout)
    assert.deepEqual(
      datasets.map((each: { readonly guid: string }) => each.guid),
      datasets.map((each: { readonly replica: string }) => guidsOf(each.replica).at(-1))
    )
    assert.deepEqual([datasets.length, todo], [4, []])
    assert.equal(contentOf(target, "file"), "two")
    assert.equal(contentOf(`${target}/child`, "file"), "child one")
    assert.equal(valueOf("canmount", target), "on")
    assert.equal(pictureOf(dst), before)
    const there = pictureOf(rescue.name)
    assert.match(
      expectStatus(recover(...data, "--to", target), 4).stderr,
      /exists already, and nothing is written over/
    )
    assert.equal(pictureOf(rescue.name), there)
  })

  it("brings back what was at a snapshot, and says what was not there yet", () => {
    const target = `${rescue.name}/old`
    const none = expectStatus(recover(...data, "--to", target, "--at", "ones"), 2)
    assert.match(none.stderr, /has no snapshot "ones".*the nearest are one, two/)
    const ran = expectStatus(recover(...data, "--to", target, "--at", "one"), 0)
    assert.match(ran.stderr, /\/late is left out: its first snapshot is two, which is later/)
    // No run of the job sends what has another name.
    assert.doesNotMatch(ran.stderr, /would be refused/)
    assert.deepEqual(guidsOf(target), guidsOf(`${src}/data`).slice(0, 1))
    assert.equal(contentOf(target, "file"), "one")
    assert.match(pictureOf(rescue.name), /\/old\/child/)
    assert.doesNotMatch(pictureOf(rescue.name), /\/old\/late/)
  })

  it("mounts nothing over the original, whose mountpoint came to the replica with a stream of another program", () => {
    const [original, copy, target] = [`${src}/data/away`, `${replica}/away`, `${rescue.name}/away`]
    const folder = path.join(hosts.source.folder, "away")
    zfs("create", "-o", `mountpoint=${folder}`, original)
    put(path.join(folder, "file"), "old")
    zfs("snapshot", `${original}@one`)
    const receive = 'zfs send -p "$0" | zfs receive -u -o canmount=off -o zipper:send=plain "$1"'
    sh("sh", "-c", receive, `${original}@one`, copy)
    put(path.join(folder, "file"), "new")
    const ran = expectStatus(recover(original, "--job", "in", "--to", target), 0)
    assert.match(ran.stderr, /\/away is (not empty|that of .*); to set it later; .*zfs set 'mountpoint=.*\/away\n/)
    assert.equal(fs.readFileSync(path.join(folder, "file"), "utf8"), "new")
    assert.equal(contentOf(target, "file"), "old")
    for (const dataset of [original, copy, target]) zfs("destroy", "-r", dataset)
  })

  it("goes on where a signal ended it, on another machine", async () => {
    fill(path.join(here, "data/child"), "large", 16)
    zfs("snapshot", `${src}/data/child@three`)
    expectStatus(run("pull", "--job", "in"), 0)
    const target = `${rescue.name}/cut`
    const slow = configWith("slow", { bandwidth: "1M" })
    const remote = [...data, "--to", target, "--host", "localhost"]
    const { child, ended, output } = startZipper("recover", ...remote, "--config", slow)
    await until("half of a stream", () => receivedBytes(`${target}/child`) > 500_000)
    child.kill("SIGTERM")
    assert.equal(await ended, 143, output())
    assert.match(output(), /the same command goes on/)
    assert.match(expectStatus(recover(...remote), 0).stdout, /resumed/)
    expectRecovered(target, replica, ["/child", "/vol", "/late"])
  })

  it("works for a user who is not root, once the rights are there", () => {
    const uid = makeUser("recoverer")
    const target = `${rescue.name}/user`
    const folder = path.join(hosts.source.folder, "user")
    const own = configWith("user")
    const mine = () =>
      zipperIn(
        { uid, env: { HOME: folder } },
        "recover",
        `${src}/data/late`,
        "--job",
        "in",
        "--to",
        target,
        "--config",
        own
      )
    const denied = expectStatus(mine(), 3).stderr
    const commands = [...denied.matchAll(/zfs allow -u recoverer [a-z,]+ '[^']+'/g)].map(([command]) => command)
    assert.equal(commands.length, 2, denied)
    for (const command of commands) sh("sh", "-c", command)
    assert.match(expectStatus(mine(), 0).stderr, /only root can mount; on this host: zfs mount /)
    expectRecovered(target, `${replica}/late`, [])
    assert.deepEqual(guidsOf(target), guidsOf(`${src}/data/late`))
  })
})

describe("recover --look", () => {
  it("shows a replica read-only; pulls go on meanwhile; check names it; --done takes it away", () => {
    const folder = path.join(hosts.target.folder, "look")
    const before = pictureOf(`${dst}/r`)
    const ran = expectStatus(recover(...data, "--look", folder), 0)
    assert.match(ran.stdout, /\/dev\/zvol\//)
    assert.equal(fs.readFileSync(path.join(folder, "file"), "utf8"), "two")
    assert.equal(fs.readFileSync(path.join(folder, "child/file"), "utf8"), "child one")
    for (const name of ["", "child"]) assert.throws(() => fs.writeFileSync(path.join(folder, name, "x"), ""), /EROFS/)
    assert.match(expectStatus(recover(...data, "--look", folder), 3).stderr, /shows a replica already: .*--done/)
    assert.equal(pictureOf(`${dst}/r`), before)
    zfs("snapshot", "-r", `${src}/data@four`)
    expectStatus(run("pull", "--job", "in"), 0)
    expectReplica(`${src}/data`, replica)
    assert.match(expectStatus(run("prune", "--job", "in"), 0).stdout, /keeping .*@two: cloned/)
    assert.match(run("check").stderr, /shows .*\/data .*--done/)
    expectStatus(recover("--job", "in", "--done", folder), 0)
    assert.doesNotMatch(pictureOf(dst), /zipper-look/)
    assert.match(expectStatus(recover("--job", "in", "--done", folder), 3).stderr, /nothing of zipper's is shown/)
  })
})

describe("a disaster", () => {
  it("costs nothing: the pool is new, everything comes back, encrypted datasets too, and the jobs go on", () => {
    expectStatus(run("push", "--job", "off"), 0)
    const [lost, disk] = [guidsOf(`${src}/secret`), path.join(hosts.source.folder, "new")]
    sh("zpool", "destroy", "-f", src)
    fs.writeFileSync(disk, "")
    fs.truncateSync(disk, 512 * 1024 * 1024)
    sh("zpool", "create", "-O", `mountpoint=${here}`, src, disk)
    expectStatus(recover(...data, "--to", `${src}/data`), 0)
    assert.equal(contentOf(`${src}/data`, "file"), "two")
    const secret = [`${src}/secret`, "--job", "off", "--to", `${src}/secret`]
    const other = `${rescue.name}/secret`
    const locked = expectStatus(recover(...secret.slice(0, -1), other), 0)
    for (const command of [
      `load-key ${other}`,
      `load-key ${other}/child`,
      `change-key -i ${other}/child`,
      `mount ${other}`
    ]) {
      assert.match(locked.stderr, new RegExp(`zfs ${command}\n`))
    }
    expectStatus(recover(...secret, "--key", `file://${key}`), 0)
    assert.deepEqual(guidsOf(`${src}/secret`), lost)
    assert.equal(contentOf(`${src}/secret`, "file"), "the secret")
    assert.equal(contentOf(`${src}/secret/child`, "file"), "the child's")
    assert.equal(valueOf("encryptionroot", `${src}/secret/child`), `${src}/secret`)
    for (const name of ["data", "secret"]) {
      put(path.join(here, name, "after"), "after")
      zfs("snapshot", "-r", `${src}/${name}@after`)
    }
    assert.match(expectStatus(run("pull", "--job", "in"), 0).stdout, /\(incremental\)/)
    expectReplica(`${src}/data/child`, `${replica}/child`)
    assert.match(expectStatus(run("push", "--job", "off"), 0).stdout, /\(incremental\)/)
    expectReplica(`${src}/secret/child`, `${dst}/off/secret/child`)
  })
})
