import { pathMatcher } from "../domain/Glob.ts"
import type { Folder } from "./ExtractEntries.ts"
import type { ZipEntry } from "./ReadHeaders.ts"

/** Whether an entry is wanted: it or a folder that it lies in is meant by one of the patterns. */
export const makeChooser = (only: ReadonlyArray<string>) => {
  const patterns = [...new Set(only)].map((pattern) => ({ pattern, matches: pathMatcher(pattern) }))
  const unmatched = new Set(only)
  const choose = ({ kind, name }: ZipEntry, parent: Folder): boolean => {
    if (parent.chosen && unmatched.size === 0) return true
    const text = name.toString("utf8", 0, kind === "directory" ? name.length - 1 : name.length)
    let chosen = parent.chosen
    for (const { matches, pattern } of patterns) {
      if (!matches(text)) continue
      chosen = true
      unmatched.delete(pattern)
      if (unmatched.size === 0) break
    }
    return chosen
  }
  return Object.assign(choose, { unmatched: (): ReadonlyArray<string> => [...unmatched] })
}
