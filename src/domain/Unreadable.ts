import { count } from "./Units.ts"

/** So many of a folder's unreadable files are named; the rest is counted. */
const namedAtMost = 10

/**
 * `cannot read ABCD/a: permission denied (EACCES); 12 more cannot be read: ABCD/b, … and 3 others`: the first failure, which names its
 * file, and the names of the next ones. `open`: not all files were tried.
 */
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
