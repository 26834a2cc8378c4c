import * as assert from "node:assert/strict"
import * as fs from "node:fs"
import * as path from "node:path"
import { after } from "node:test"
import { makePool, makeUser, type Pool, type Ran, sh, snapshotsOf, zfs, zipper } from "./support.ts"

/** Two pools of their own, and ssh from this machine to itself, which is the other host of every test. */
export interface Hosts {
  readonly source: Pool
  readonly target: Pool
  readonly destroy: () => void
}

export const makeHosts = (sizes: { readonly source?: number; readonly target?: number } = {}): Hosts => {
  sh("ssh", "-o", "BatchMode=yes", "localhost", "true")
  const source = makePool(sizes.source)
  const target = makePool(sizes.target)
  return {
    source,
    target,
    destroy: () => {
      source.destroy()
      target.destroy()
    }
  }
}

/** A user who logs in by ssh with root's keys, from here and to here. Gives its uid. */
export const makeSshUser = (user: string): number => {
  const uid = makeUser(user)
  const folder = `/home/${user}/.ssh`
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const file of ["id_ed25519", "id_ed25519.pub", "authorized_keys", "config"]) {
    fs.copyFileSync(`/root/.ssh/${file}`, `${folder}/${file}`)
    fs.chmodSync(`${folder}/${file}`, 0o600)
  }
  sh("chown", "-R", user, folder)
  return uid
}

/** The hosts of one file's tests, destroyed after them. `here`: where the source is mounted. */
export const useHosts = (sizes?: Parameters<typeof makeHosts>[0]) => {
  const hosts = makeHosts(sizes)
  after(() => hosts.destroy())
  return { hosts, src: hosts.source.name, dst: hosts.target.name, here: hosts.source.mountpoint }
}

/** Where zipper keeps the locks of these tests. */
const lock = (hosts: Hosts) => path.join(hosts.source.folder, "zipper.lock")

/** `zipper pull` from this machine, by ssh to itself. */
export const pull = (hosts: Hosts, ...args: ReadonlyArray<string>): Ran =>
  zipper("pull", "--host", "localhost", "--lock", lock(hosts), ...args)

/** `zipper push` to this machine, by ssh to itself. */
export const push = (hosts: Hosts, ...args: ReadonlyArray<string>): Ran =>
  zipper("push", "--host", "localhost", "--lock", lock(hosts), ...args)

/** Fails with all that was said unless the run ended with this status. */
export const expectStatus = (ran: Ran, status: number): Ran => {
  assert.equal(ran.status, status, `${ran.stdout}${ran.stderr}`)
  return ran
}

/** Guids of a dataset's own snapshots, oldest first. */
export const guidsOf = (dataset: string): ReadonlyArray<string> =>
  zfs("list", "-H", "-p", "-o", "guid", "-t", "snapshot", "-d", "1", "-s", "createtxg", dataset)
    .split("\n")
    .filter((line) => line !== "")

/** The replica has every snapshot of the source, in order, and cannot be mounted. */
export const expectReplica = (source: string, target: string): void => {
  const names = (dataset: string) => snapshotsOf(dataset).map((name) => name.slice(name.indexOf("@")))
  assert.deepEqual(names(target), names(source))
  assert.deepEqual(guidsOf(target), guidsOf(source))
  if (valueOf("type", target) === "filesystem") {
    assert.equal(valueOf("canmount", target), "off")
    assert.equal(valueOf("mounted", target), "no")
  }
}

export const valueOf = (property: string, name: string): string =>
  zfs("get", "-H", "-p", "-o", "value", property, name).trim()

/** Everything below a dataset with guids: to show that nothing was touched. */
export const pictureOf = (dataset: string): string => {
  // What was written a moment ago is not counted yet.
  sh("sync")
  sh("zpool", "sync", dataset.split("/", 1)[0] ?? dataset)
  return zfs(
    "get",
    "-H",
    "-p",
    "-r",
    "-t",
    "all",
    "-o",
    "name,property,value",
    "guid,written,canmount,receive_resume_token",
    dataset
  )
}

/** Writes a file that does not compress into a mounted dataset. */
export const fill = (folder: string, name: string, megabytes: number): void => {
  fs.mkdirSync(folder, { recursive: true })
  sh("sh", "-c", `head -c ${megabytes * 1024 * 1024} /dev/urandom > "$0"`, path.join(folder, name))
}

/** Bytes of a stream that have come to a target, as the token of the receive that is under way says. */
export const receivedBytes = (target: string): number => {
  const get = 'zfs get -H -o value receive_resume_token "$0" 2>/dev/null || echo -'
  const token = sh("sh", "-c", get, target).trim()
  if (token === "-") return 0
  return Number(/\tbytes = (0x[0-9a-f]+)/.exec(sh("sh", "-c", 'zfs send -nvP -t "$0" 2>&1', token))?.[1] ?? 0)
}

/** Processes whose command line holds `text`, without those that only look for it. */
export const processesWith = (text: string): ReadonlyArray<string> =>
  sh("ps", "-ww", "-eo", "pid=,args=")
    .split("\n")
    .filter((line) => line.includes(text) && !line.includes("ps -ww") && !line.includes("--test"))
