import { fstatSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { basename, join } from "node:path"

/**
 * Whether the program was started so that SIGHUP does nothing to it (`nohup`, `trap '' HUP`). Node gives every signal its
 * default action back before the first line runs, so it cannot be asked: `nohup` shows by the name that shells leave in the environment,
 * by the file that it writes to and by what it puts in the place of a terminal; a shell's trap shows in its process, on Linux.
 */
export const ignoresHangUp = (env: NodeJS.ProcessEnv = process.env): boolean =>
  basename(env["_"] ?? "") === "nohup" ||
  writesTo([join(env["HOME"] ?? "/", outputName), outputName]) ||
  hasNoInput() ||
  parentIgnores()

/** Where nohup writes what would go to a terminal: in the working directory, else in HOME. */
const outputName = "nohup.out"

const writesTo = (names: ReadonlyArray<string>): boolean =>
  [1, 2].some((fd) => {
    const output = unlessFailed(() => fstatSync(fd, { bigint: true }))
    return names.some((name) => {
      const file = unlessFailed(() => statSync(name, { bigint: true }))
      return file !== undefined && file.dev === output?.dev && file.ino === output.ino
    })
  })

/** nohup gives /dev/null, opened for writing alone, in the place of a terminal to read from. */
const hasNoInput = (): boolean => {
  const flags = unlessFailed(() => readFileSync("/proc/self/fdinfo/0", "latin1"))
  const mode = /^flags:\s*([0-7]+)/m.exec(flags ?? "")?.[1]
  const name = unlessFailed(() => readlinkSync("/proc/self/fd/0"))
  return name === "/dev/null" && mode !== undefined && (Number.parseInt(mode, 8) & 3) === 1
}

/** A shell that ignores it hands that on to what it starts (proc(5): a mask, in which the first bit is signal 1). */
const parentIgnores = (): boolean => {
  const status = unlessFailed(() => readFileSync(`/proc/${process.ppid}/status`, "latin1"))
  const mask = /^SigIgn:\s*([0-9a-f]+)/m.exec(status ?? "")?.[1]
  return mask !== undefined && (Number.parseInt(mask.slice(-1), 16) & 1) === 1
}

/** What is not there, or may not be read, shows nothing. */
const unlessFailed = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}
