import { type FileCalls, fill, readOnly } from "../system/FileCalls.ts"
import { pathMatcher } from "../text/Glob.ts"
import * as RawPath from "../text/RawPath.ts"
import { escape } from "./EntryName.ts"
import { closeRead } from "./OpenWithin.ts"
import type { SourceView } from "./SourceView.ts"

/** What a configuration leaves out of every archive, by its keys. Patterns are those of `restore --only`, for paths in a folder. */
export interface ExcludeRules {
  readonly exclude: ReadonlyArray<string>
  readonly exclude_caches: boolean
}

export const noRules: ExcludeRules = { exclude: [], exclude_caches: false }

export const hasRules = ({ exclude, exclude_caches }: ExcludeRules): boolean => exclude.length > 0 || exclude_caches

/** The rules as the state of an archive keeps them: sorted, nothing where there are none. */
export const savedRules = ({ exclude, exclude_caches }: ExcludeRules): SavedRules => ({
  ...(exclude.length > 0 ? { exclude: [...new Set(exclude)].sort() } : {}),
  ...(exclude_caches ? { exclude_caches } : {})
})

interface SavedRules {
  readonly exclude?: ReadonlyArray<string>
  readonly exclude_caches?: true
}

export const isSavedAs = ({ exclude, exclude_caches }: SavedRules, rules: ExcludeRules): boolean => {
  const now = savedRules(rules)
  return exclude_caches === now.exclude_caches && JSON.stringify(exclude) === JSON.stringify(now.exclude)
}

/**
 * Whether a path in a folder matches a pattern, by the name that it would have in the archive: a name that is not UTF-8 by its
 * escaped form. What lies below is for the caller. Undefined without patterns.
 */
export const excluder = ({ exclude }: ExcludeRules): ((path: RawPath.RawPath) => boolean) | undefined => {
  if (exclude.length === 0) return undefined
  const matchers = [...new Set(exclude)].map(pathMatcher)
  return (path) => {
    const name = RawPath.isAscii(path) ? path : escape(path)
    return matchers.some((matches) => matches(name))
  }
}

/** The same for a path that is not reached by a walk: whether it, or a directory above it, matches. */
export const excluderWithin = (rules: ExcludeRules): ((path: RawPath.RawPath) => boolean) => {
  const isExcluded = excluder(rules)
  if (isExcluded === undefined) return () => false
  return (path) => {
    for (let end = path.indexOf("/"); end !== -1; end = path.indexOf("/", end + 1)) {
      if (isExcluded(RawPath.fromLatin1(path.slice(0, end)))) return true
    }
    return path !== RawPath.here && isExcluded(path)
  }
}

/** The view without the child datasets and blocked places that the patterns leave out: nothing there is mounted, read or missed. */
export const withoutExcluded = (view: SourceView, rules: ExcludeRules): SourceView => {
  const isExcluded = excluderWithin(rules)
  const isKept = ({ at }: { readonly at: RawPath.RawPath }) =>
    !isExcluded(RawPath.fromLatin1(at.split("/").slice(1).join("/")))
  return { ...view, grafts: view.grafts.filter(isKept), blocked: view.blocked.filter(isKept) }
}

export const cacheTag = RawPath.fromText("CACHEDIR.TAG")

const signature = Buffer.from("Signature: 8a477f597d28d172789f06886806bc55")

/** Whether the file marks its directory as a cache (https://bford.info/cachedir/). Rejects as node:fs does. */
export const isCacheTag = async (path: RawPath.RawPath, calls: FileCalls): Promise<boolean> => {
  const bytes = RawPath.toBuffer(path)
  // Before it is opened: opening a device may do something.
  const stats = await calls.lstat(bytes)
  if (!stats.isFile() || stats.size < signature.length) return false
  const fd = await calls.open(bytes, readOnly)
  try {
    const start = Buffer.alloc(signature.length)
    await fill(calls, fd, start, 0)
    return start.equals(signature)
  } finally {
    closeRead(fd)
  }
}
