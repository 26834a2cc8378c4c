import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { isPreloaded, mayReside, runResident } from "./resident.ts"

/** The built file, as users run it. */
export const zipper = fileURLToPath(new URL("../../../dist/zipper.mjs", import.meta.url))

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A process of the built file and the promise of its end. */
export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

/** The configuration of this machine, if it has one, is not for tests. */
const cronLike = {
  PATH: "/usr/bin:/bin",
  HOME: "/nonexistent",
  TMPDIR: tmpdir(),
  LANG: "C",
  ZIPPER_CONFIG: "/nonexistent/zipper.json"
}

/** Starts the built file without a terminal, in a cron-like environment unless told otherwise. */
export const start = (
  args: ReadonlyArray<string>,
  options: {
    readonly env?: Record<string, string>
    readonly cwd?: string
    /** Another copy of the built file. */
    readonly program?: string
    readonly uid?: number
  } = {}
): Running => {
  const child = spawn(process.execPath, [options.program ?? zipper, ...args], {
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    env: { ...cronLike, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd })
  })
  let stdout = ""
  let stderr = ""
  child.stdout.on("data", (chunk) => (stdout += String(chunk)))
  child.stderr.on("data", (chunk) => (stderr += String(chunk)))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (status) => resolve({ status, stdout, stderr }))
  })
  return { child, ended }
}

/** What the first lines of the built file do. */
const builtAlone = new Set(["--version", "--complete"])

/**
 * The end of one command: of the program that is at work already (resident.ts), or of a process of the built file. Threads and
 * the charts of the report are there in a process alone: {@link start}.
 */
export const run = (...given: Parameters<typeof start>): Promise<Ended> => {
  const [args, { cwd, env, program = zipper, uid } = {}] = given
  const isShared = mayReside && !builtAlone.has(args[0] ?? "") && isPreloaded(env?.["NODE_OPTIONS"])
  return isShared
    ? runResident({ argv: [program, ...args], env: { ...cronLike, ...env }, cwd }, uid)
    : start(...given).ended
}

/** A temporary place with a source, a target and a configuration that reads live. */
export interface Place {
  readonly root: string
  readonly source: string
  readonly target: string
  readonly config: string
  /** Writes a file below the source, with its folders. */
  readonly put: (name: string, content: string | Uint8Array) => void
  /** Writes the configuration anew, with these keys changed. */
  readonly configure: (keys: Record<string, unknown>) => void
  readonly remove: () => void
}

export const makePlace = (keys: Record<string, unknown> = {}): Place => {
  const root = mkdtempSync(join(tmpdir(), "zipper-test-"))
  const source = join(root, "source")
  const target = join(root, "target")
  const config = join(root, "config.json")
  mkdirSync(source)
  mkdirSync(target)
  const configure = (changed: Record<string, unknown>): void =>
    writeFileSync(
      config,
      JSON.stringify({
        source_path: source,
        target_path: target,
        snapshots: "live",
        lockfile_path: join(root, "lock"),
        log_file: join(root, "zipper.log"),
        syslog: false,
        nice: 0,
        retries: 0,
        ...keys,
        ...changed
      }),
      { mode: 0o600 }
    )
  configure({})
  return {
    root,
    source,
    target,
    config,
    put: (name, content) => {
      mkdirSync(dirname(join(source, name)), { recursive: true })
      writeFileSync(join(source, name), content)
    },
    configure,
    remove: () => rmSync(root, { recursive: true, force: true })
  }
}

/** What tests do with a place again and again. */
export const toolsFor = (place: () => Place) => ({
  /** `zipper run` there. */
  job: (...args: ReadonlyArray<string>): Promise<Ended> => run(["run", "--config", place().config, ...args]),
  /** Names in a folder of the target; none when it is not there. */
  files: (folder: string): ReadonlyArray<string> =>
    existsSync(join(place().target, folder)) ? readdirSync(join(place().target, folder)).sort() : [],
  /** Lets coreutils judge the checksum files of a folder. */
  sums: (folder: string): unknown =>
    execFileSync("sh", ["-c", "sha256sum -c *.sha256 && md5sum -c *.md5"], {
      cwd: join(place().target, folder)
    })
})

/** Everything below a folder, with times: to show that nothing was touched. */
export const picture = (path: string): string =>
  execFileSync("find", [path, "-printf", "%P %y %s %T@ %i\\n"]).toString()

/** The files of an archived folder. */
export const currentSet = [".state.json", "ABCD.zip", "ABCD.zip.md5", "ABCD.zip.sha256", "metadata.json"]
export const previousSet = ["ABCD.prev.zip", "ABCD.prev.zip.md5", "ABCD.prev.zip.sha256", "metadata.prev.json"]
