import { accessSync, constants, realpathSync, statSync } from "node:fs"
import { join, relative } from "node:path"
import { isSea } from "node:sea"
import { valueOr } from "../system/Errno.ts"
import { shellWords } from "../text/Text.ts"

interface Program {
  /** Absolute path of this program. */
  readonly file: string
  /** Absolute path of the node that runs it; undefined when the program is an executable that contains node. */
  readonly node: string | undefined
}

/** How this process was started. */
export const thisProgram = (): Program =>
  isSea() ? { file: process.execPath, node: undefined } : { file: process.argv[1] ?? "zipper", node: process.execPath }

/** This program with `args`, to be started by this process. */
export const programCall = (args: ReadonlyArray<string>) => {
  const { file, node } = thisProgram()
  return node === undefined ? { program: file, args } : { program: node, args: [file, ...args] }
}

/**
 * A command line of this program that a user can paste where this process was started: with `zipper` where that name in PATH
 * is this program, else with its path as it was started.
 */
export const commandLine = (...args: ReadonlyArray<string>): string => shellWords([...typed(thisProgram()), ...args])

const typed = ({ file, node }: Program): ReadonlyArray<string> => {
  if (isSame(inPath("zipper"), file)) return ["zipper"]
  // npm runs scripts in the folder of package.json, and names the user's own.
  const short = relative(process.env["INIT_CWD"] ?? process.cwd(), file)
  const path = /^(\.\.|-|$)/.test(short) ? file : short
  const isNodeInPath = node !== undefined && isSame(inPath("node"), node)
  // A script that can be executed finds node in PATH by its first line.
  if (node === undefined || (isNodeInPath && isExecutable(file))) return [path.includes("/") ? path : `./${path}`]
  return [isNodeInPath ? "node" : node, path]
}

const inPath = (name: string): string | undefined =>
  (process.env["PATH"] ?? "")
    .split(":")
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find(isExecutable)

const isSame = (one: string | undefined, other: string): boolean =>
  one !== undefined && valueOr(() => realpathSync(one) === realpathSync(other), false)

/** Not a folder: one may be called zipper, too. */
export const isExecutable = (path: string): boolean =>
  valueOr(() => accessSync(path, constants.X_OK) === undefined && statSync(path).isFile(), false)
