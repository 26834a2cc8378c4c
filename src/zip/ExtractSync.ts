import * as fs from "node:fs/promises"
import { release } from "node:os"
import * as Effect from "effect/Effect"
import { explain } from "../system/Errno.ts"
import { closeRead, syncOpen } from "../system/FileCalls.ts"
import { platform } from "../system/Platform.ts"
import { Process } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import { folderOnly } from "./ExtractFolders.ts"
import type { ExtractPlan } from "./ExtractSurvey.ts"

/**
 * Opens the file systems that a restore writes to, so that one sync(1) of each is of the right one: an effect that
 * gives what could not be synced. Undefined where that promises too little: then each file and folder has to be synced.
 */
export const openWholeSync = Effect.fnUntraced(function* ({ folders, target }: ExtractPlan) {
  const { run } = yield* Process
  const { openFiles } = platform
  if (openFiles === undefined || !syncsReportErrors(release())) return undefined
  const places = new Map([[target.device, target.above]])
  for (const { id, path } of folders) {
    if (id !== undefined && !places.has(`${id.dev}`)) places.set(`${id.dev}`, RawPath.join(target.path, path))
  }
  const opened = yield* Effect.forEach(places, ([device, path]) =>
    Effect.acquireRelease(
      Effect.promise(() => openPlace(path, device, openFiles)),
      (file) => (file === undefined ? Effect.void : Effect.promise(() => closeRead(file)))
    )
  )
  const files = opened.flatMap((file) => file ?? [])
  if (files.length < opened.length || !(yield* reportsErrors)) return undefined
  const invocation = {
    program,
    args: ["-f", ...files.map((_, index) => `${openFiles}/${3 + index}`)],
    timeoutMillis: aDay
  }
  return Effect.suspend(() => run({ ...invocation, inherit: files.map(({ fd }) => fd) })).pipe(
    Effect.map(({ exitCode, stderr }) =>
      exitCode === 0 ? undefined : stderr.trim().split(": ").at(-1) || `sync ended with status ${exitCode}`
    ),
    Effect.catchAll(({ message }) => Effect.succeed(message)),
    Effect.flatMap((failure) => (failure === undefined ? syncFolders(files) : Effect.succeed(failure)))
  )
})

const program = "sync"

/** GNU's does; another one may leave out what the kernel says. It fails where the option is not known. */
const reportsErrors = Effect.flatMap(Process, ({ run }) => run({ program, args: ["-f", "--version"] })).pipe(
  Effect.map(({ exitCode, stdout }) => exitCode === 0 && stdout.includes("(GNU coreutils)")),
  Effect.orElseSucceed(() => false)
)

/** By `statfs`, file systems that write all that was written when they are synced as a whole: ext, XFS, Btrfs, ZFS, tmpfs. */
const whole: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0x2fc12fc1, 0x01021994])

const aDay = 86_400_000

/** Linux before 5.8 does not say that something could not be written. */
export const syncsReportErrors = (kernel: string): boolean => {
  const [major = 0, minor = 0] = kernel.split(".").map(Number)
  return major > 5 || (major === 5 && minor >= 8)
}

const openPlace = async (path: RawPath.RawPath, device: string, openFiles: string) => {
  const file = await fs.open(RawPath.toBuffer(path), folderOnly).catch(() => undefined)
  try {
    if (file === undefined) return undefined
    const isPlanned = String((await file.stat()).dev) === device
    if (isPlanned && whole.has((await fs.statfs(`${openFiles}/${file.fd}`)).type)) return file
  } catch {
    // It cannot be known what it is.
  }
  if (file !== undefined) await closeRead(file)
  return undefined
}

/** A journal that has ended or a pool that is suspended shows itself here, where some kernels do not report it before. */
const syncFolders = (files: ReadonlyArray<fs.FileHandle>): Effect.Effect<string | undefined> =>
  Effect.promise(() => Promise.all(files.map(syncOpen)).then(() => undefined, explain))
