import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert } from "vitest"
import { type Ended, makePlace, type Place, start } from "./built.ts"

/** One operation that fails. */
export interface Fault {
  readonly at: number
  readonly code: string
  /** The same operation at that place fails ever after, or all that come after it do. */
  readonly lasts?: "there" | "everywhere"
}

/** What came of a process in which an operation failed. */
export interface Faulty extends Ended {
  /** The operations that were made to fail: "create /path"; none where it was not reached. */
  readonly hit: ReadonlyArray<string>
}

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** What the kernel may say to an operation; the others are refused to it by nothing. */
const possible: Readonly<Record<string, ReadonlyArray<string>>> = {
  open: ["EIO", "EACCES", "EMFILE"],
  create: ["EIO", "ENOSPC", "EACCES", "EROFS", "EMFILE"],
  readdir: ["EIO", "EACCES", "EMFILE"],
  opendir: ["EIO", "EACCES", "EMFILE"],
  write: ["EIO", "ENOSPC"],
  writeFile: ["EIO", "ENOSPC"],
  fsync: ["EIO", "ENOSPC"],
  ftruncate: ["EIO", "ENOSPC"],
  rename: ["EIO", "ENOSPC", "EACCES", "EROFS"],
  link: ["EIO", "ENOSPC", "EACCES", "EROFS"],
  mkdir: ["EIO", "ENOSPC", "EACCES", "EROFS"],
  // ZFS needs room to remove something, too.
  unlink: ["EIO", "ENOSPC", "EACCES", "EROFS"],
  rmdir: ["EIO", "ENOSPC", "EACCES", "EROFS"],
  rm: ["EIO", "ENOSPC", "EACCES", "EROFS"],
  lstat: ["EIO", "EACCES"],
  stat: ["EIO", "EACCES"],
  realpath: ["EIO", "EACCES"],
  access: ["EIO", "EACCES"],
  fchmod: ["EIO", "EACCES", "EROFS"],
  futimes: ["EIO", "EACCES", "EROFS"]
}

/** Every way in which these operations, as they were listed, can fail. */
export const faultsOf = (operations: ReadonlyArray<string>): ReadonlyArray<Fault> =>
  operations.flatMap((operation, index) =>
    (possible[operation.split(" ", 1)[0] ?? ""] ?? ["EIO"]).map((code) => ({ at: index + 1, code }))
  )

/** Where the operations of a process fail. */
export interface Scene {
  readonly place: Place
  /** Folders that its operations are counted in. */
  readonly below: ReadonlyArray<string>
  /** Everything is again as it was when the scene was kept. */
  readonly restore: () => void
  /** From now on {@link restore} gives this. */
  readonly keep: () => void
  readonly run: (args: ReadonlyArray<string>, fault?: Fault) => Promise<Faulty>
  /** The operations of a process that is not disturbed. */
  readonly operations: (args: ReadonlyArray<string>) => Promise<ReadonlyArray<string>>
  readonly remove: () => void
}

/** How long a process may take: then it hangs. */
const patienceMillis = 90_000

/**
 * A place whose log, lock and metrics are in a folder `side`, the log small enough to be rotated. With `zfs`, its source is a
 * dataset of a zfs that keeps copies.
 */
export const makeScene = (
  keys: Record<string, unknown> = {},
  options: { readonly zfs?: boolean; readonly programs?: string } = {}
): Scene => {
  const place = makePlace()
  const { root } = place
  const at = (name: string) => join(root, name)
  for (const folder of ["side", "tmp", "out", "zfs", "bin"]) mkdirSync(at(folder))
  for (const name of ["zfs", "ssh"]) {
    writeFileSync(at(`bin/${name}`), readFileSync(here(`../${options.programs ?? "fakeZfs.sh"}`)), {
      mode: 0o755
    })
  }
  place.configure({
    snapshots: options.zfs === true ? "zfs" : "live",
    lockfile_path: at("side/lock"),
    log_file: at("side/log"),
    log_max_bytes: 2000,
    log_keep: 2,
    metrics_file: at("side/zipper.prom"),
    compression: { threads: 1 },
    ...keys
  })
  const changing = ["target", "side", "tmp", "out", "zfs", "source/.zfs"]
  const below = ["source", "target", "side", "tmp", "out", "config.json"].map(at)
  const copy = (from: string, to: string) => {
    for (const name of changing) {
      rmSync(join(to, name), { recursive: true, force: true })
      mkdirSync(dirname(join(to, name)), { recursive: true })
      if (existsSync(join(from, name)))
        cpSync(join(from, name), join(to, name), { recursive: true, preserveTimestamps: true })
    }
  }
  const lines = (name: string) => (existsSync(at(name)) ? readFileSync(at(name), "utf8").trim().split("\n") : [])
  const zipper = async (args: ReadonlyArray<string>, env: Record<string, string>) => {
    for (const name of ["hit", "list"]) rmSync(at(name), { force: true })
    const { child, ended } = start(args, {
      env: {
        PATH: `${at("bin")}:/usr/bin:/bin`,
        NODE_OPTIONS: ["../fakeMounts", "./failAt"].map((name) => `--require=${here(`${name}.cjs`)}`).join(" "),
        FAKE_DATASET: "tank/data",
        FAKE_MOUNTPOINT: place.source,
        FAKE_ZFS: at("zfs"),
        FAIL_BELOW: below.join(":"),
        FAIL_REPORT: at("hit"),
        ...env
      }
    })
    const limit = setTimeout(() => child.kill("SIGKILL"), patienceMillis)
    const end = await ended
    clearTimeout(limit)
    return { ...end, hit: lines("hit") }
  }
  return {
    place,
    below,
    keep: () => copy(root, at("kept")),
    restore: () => copy(at("kept"), root),
    run: (args, fault) =>
      zipper(
        args,
        fault === undefined
          ? {}
          : {
              FAIL_AT: String(fault.at),
              FAIL_CODE: fault.code,
              ...(fault.lasts === undefined ? {} : { FAIL_LASTS: fault.lasts })
            }
      ),
    operations: async (args) => {
      const { status, stderr } = await zipper(args, { FAIL_LIST: at("list") })
      assert.strictEqual(status, 0, stderr)
      return lines("list")
    },
    remove: place.remove
  }
}
