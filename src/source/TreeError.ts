import * as Data from "effect/Data"
import { codeOf, explain, isTransientCode } from "../system/Errno.ts"
import * as RawPath from "../text/RawPath.ts"
import { count } from "../text/Text.ts"

/** A place in the source cannot be listed. `path` is absolute; the message names it as seen from the source. */
export class TreeError extends Data.TaggedError("TreeError")<{
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

export const isTreeError = (cause: unknown): cause is TreeError => cause instanceof TreeError

// ENOTDIR, ELOOP and EMLINK: a file or a symlink took the place of a directory.
const gone: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EMLINK"])

/** `action` failed on `path`, which messages call `shown`. */
export const treeError = (
  view: { readonly frozen: boolean },
  action: string,
  shown: RawPath.RawPath,
  path: RawPath.RawPath,
  cause: unknown
): TreeError => {
  const code = codeOf(cause)
  const vanished = !view.frozen && code !== undefined && gone.has(code)
  return new TreeError({
    path: RawPath.display(path),
    message: vanished
      ? `${RawPath.display(shown)} vanished while it was listed`
      : `cannot ${action} ${RawPath.display(shown === "" ? path : shown)}: ${explain(cause)}`,
    transient: vanished || isTransientCode(code),
    cause
  })
}

export const failAs =
  (view: { readonly frozen: boolean }, action: string, shown: RawPath.RawPath, path: RawPath.RawPath) =>
  (cause: unknown): never => {
    throw treeError(view, action, shown, path, cause)
  }

export const replacedError = (shown: RawPath.RawPath, path: RawPath.RawPath): TreeError =>
  new TreeError({
    path: RawPath.display(path),
    message: `${RawPath.display(shown)} was replaced by another directory while it was listed`,
    transient: true
  })

export const twiceText = (shown: RawPath.RawPath): string =>
  `${RawPath.display(shown)} is there twice: the file system lists that name two times, and only one of them can be read. Look for it in each branch of the file system (mergerfs, FUSE), and rename or remove one`

/** One error that names the first failures. `open`: not all directories were tried. */
export const combinedError = (failures: ReadonlyArray<TreeError>, open: boolean): TreeError => {
  const [first, ...others] = [...failures].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const names = others.map(({ path }) => path)
  return new TreeError({
    path: first?.path ?? "",
    message: withOthers(first?.message ?? "", { names, count: names.length, open }),
    transient: failures.every(({ transient }) => transient),
    cause: first?.cause
  })
}

const namedAtMost = 10

/** `cannot read ABCD/a: permission denied (EACCES); 12 more cannot be read: ABCD/b, … and 3 others`. `open`: some were not tried. */
export const withOthers = (
  first: string,
  others: { readonly names: ReadonlyArray<string>; readonly count: number; readonly open: boolean }
): string => {
  if (others.count === 0) return first
  const names = others.names.slice(0, namedAtMost - 1)
  const rest = others.count - names.length
  const more = rest === 0 ? "" : ` and ${count(rest, "other")}`
  return `${first}; ${others.open ? "at least " : ""}${count(others.count, "more cannot", "more cannot")} be read: ${names.join(", ")}${more}`
}
