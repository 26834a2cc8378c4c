import { execFileSync, spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

/** Runs a program; its output, or an error with all it said. */
export const sh = (program: string, ...args: ReadonlyArray<string>): string => {
  const { error, status, stderr, stdout } = spawnSync(program, args, { encoding: "latin1" })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: exit status ${status}: ${stderr}`)
  return stdout
}

/** Runs zfs. */
export const zfs = (...args: ReadonlyArray<string>): string => sh("zfs", ...args)

/** Full names of a dataset's own snapshots, oldest first. */
export const snapshotsOf = (dataset: string): ReadonlyArray<string> =>
  zfs("list", "-H", "-o", "name", "-t", "snapshot", "-d", "1", "-s", "createtxg", dataset)
    .split("\n")
    .filter((line) => line !== "")

/** A pool of our own on a file; everything of it is under `folder`. */
export interface Pool {
  readonly name: string
  readonly folder: string
  /** Where the pool is mounted. */
  readonly mountpoint: string
  readonly destroy: () => void
}

/** Snapshots that somebody looked into are mounted by themselves, and taken away by the kernel whenever it likes: also in the middle. */
const destroyPool = (name: string): void => {
  for (let attempt = 1; ; attempt++) {
    const { status, stderr } = spawnSync("zpool", ["destroy", "-f", name], { encoding: "utf8" })
    if (status === 0) return
    if (attempt === 10 || !/unmount failed|is busy/.test(stderr)) {
      throw new Error(`zpool destroy -f ${name}: ${stderr}`)
    }
    spawnSync("sleep", ["2"])
  }
}

let pools = 0

/** Makes a pool on a sparse file in the temporary folder. */
export const makePool = (size = 512): Pool => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-pool-"))
  fs.chmodSync(folder, 0o755)
  const name = `zt${process.pid}x${++pools}`
  const mountpoint = path.join(folder, "mnt")
  const disk = path.join(folder, "disk")
  fs.writeFileSync(disk, "")
  fs.truncateSync(disk, size * 1024 * 1024)
  sh("zpool", "create", "-O", `mountpoint=${mountpoint}`, name, disk)
  return {
    name,
    folder,
    mountpoint,
    destroy: () => {
      destroyPool(name)
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Creates a file with all its folders. */
export const put = (file: string | Buffer, content = "x"): void => {
  fs.mkdirSync(path.dirname(file.toString("latin1")), { recursive: true })
  fs.writeFileSync(file, content)
}

/** A user who is not root, made when missing; its uid. */
export const makeUser = (name: string): number => {
  if (spawnSync("id", ["-u", name]).status !== 0) execFileSync("useradd", ["-m", name])
  return Number(sh("id", "-u", name).trim())
}

/** How a run of the built program ended. */
export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** The built program, beside the bundled tests. */
export const program = path.join(import.meta.dirname, "zipper.mjs")

/** Runs the built program to its end. */
export const zipper = (...args: ReadonlyArray<string>): Ran => zipperIn({}, ...args)

/** Runs the built program to its end, as another user or with a changed environment. */
export const zipperIn = (
  options: { readonly uid?: number; readonly env?: Readonly<Record<string, string>> },
  ...args: ReadonlyArray<string>
): Ran => {
  const { signal, status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    timeout: 480_000,
    env: { ...process.env, ...options.env },
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid })
  })
  return { status: status ?? 128 + (signal === null ? 0 : os.constants.signals[signal]), stdout, stderr }
}

/** Starts the built program and leaves it running. */
export const startZipper = (...args: ReadonlyArray<string>) => startZipperWith({}, ...args)

/** The same with an environment of its own. */
export const startZipperWith = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env }
  })
  let output = ""
  child.stdout.on("data", (chunk) => (output += chunk))
  child.stderr.on("data", (chunk) => (output += chunk))
  const ended = new Promise<number>((resolve) =>
    child.on("close", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : os.constants.signals[signal])))
  )
  return { child, ended, output: () => output }
}

/** Waits until `condition` holds, looking often; fails after `seconds`. */
export const until = async (what: string, condition: () => boolean, seconds = 480): Promise<void> => {
  const deadline = Date.now() + seconds * 1000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** Writes a configuration for a job of its own into `folder`; its path. */
export const makeConfig = (folder: string, keys: Readonly<Record<string, unknown>>): string => {
  const file = path.join(folder, "config.json")
  const own = {
    lockfile_path: path.join(folder, "zipper.lock"),
    log_file: path.join(folder, "zipper.log"),
    nice: 0
  }
  fs.writeFileSync(file, JSON.stringify({ ...own, ...keys }))
  return file
}

/** Every file and folder below `folder` with all that a write to it changes. */
export const fingerprint = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const { ctimeNs, ino, mtimeNs, size } = fs.lstatSync(path.join(folder, name), { bigint: true })
      return [name, ino, size, mtimeNs, ctimeNs].join(" ")
    })

/** Files below `folder` with their sizes, while somebody else is at work there. */
export const sizesIn = (folder: string): ReadonlyMap<string, number> => {
  const sizes = new Map<string, number>()
  const walk = (at: string): void => {
    let entries: ReadonlyArray<fs.Dirent>
    try {
      entries = fs.readdirSync(path.join(folder, at), { withFileTypes: true })
    } catch {
      // It is gone since we read its name.
      return
    }
    for (const entry of entries) {
      const name = path.join(at, entry.name)
      if (entry.isDirectory()) walk(name)
      else sizes.set(name, fs.lstatSync(path.join(folder, name), { throwIfNoEntry: false })?.size ?? 0)
    }
  }
  walk("")
  return sizes
}

/** Both checksum files of an archive's folder are true, of the current set and, if there is one, of the previous. */
export const checkSums = (folder: string): void => {
  const run = (program_: string, file: string) =>
    sh("sh", "-c", 'cd "$0" && "$1" -c --quiet -- "$2"', folder, program_, file)
  for (const file of fs.readdirSync(folder)) {
    if (file.endsWith(".sha256")) run("sha256sum", file)
    if (file.endsWith(".md5")) run("md5sum", file)
  }
}

/** Names in an archive as unzip lists them; an archive of nothing is a warning to it. */
export const entriesOf = (zip: string): ReadonlyArray<string> =>
  sh("sh", "-c", 'unzip -Z1 "$0" || test $? = 1', zip)
    .split("\n")
    .filter((line) => line !== "" && line !== "Empty zipfile.")
    .sort()

/** Content of one entry as unzip extracts it. */
export const entryOf = (zip: string, name: string): string => sh("unzip", "-p", zip, name)
