import * as Glob from "../text/Glob.ts"
import type { SourceDataset } from "../zfs/Dataset.ts"
import { ancestorsOf, isWithin } from "../zfs/DatasetName.ts"

interface Selection {
  /** Each root with everything below it that is not excluded: the roots in the order given, parents before children. */
  readonly selected: ReadonlyArray<SourceDataset>
  /** `pattern` matches the dataset itself, or one above it. */
  readonly excluded: ReadonlyArray<{ readonly dataset: string; readonly pattern: string }>
  /** Roots that lie below another one, or were given before. */
  readonly overlaps: ReadonlyArray<Overlap>
  readonly unusedPatterns: ReadonlyArray<string>
}

interface Overlap {
  readonly dropped: string
  readonly coveredBy: string
}

/** The roots without those that lie below another one or were given before; order kept. */
export const minimalRoots = (roots: ReadonlyArray<string>): ReadonlyArray<string> => {
  // There may be ten thousand of them, so each is not compared with each.
  const given = new Set(roots)
  return [...given].filter((root) => !ancestorsOf(root).some((above) => given.has(above)))
}

/**
 * Chooses among `tree` (the roots and what is below them). A pattern (see Glob) without a slash is compared with the last
 * part of a name, one with a slash with the whole name; it excludes all below a match too.
 */
export const select = (
  asked: { readonly roots: ReadonlyArray<string>; readonly exclude: ReadonlyArray<string> },
  tree: ReadonlyArray<SourceDataset>
): Selection => {
  const roots = minimalRoots(asked.roots)
  const patterns = [...new Set(asked.exclude)].map((pattern) => ({ pattern, matches: Glob.matcher(pattern) }))
  const byName = new Map(tree.map((dataset) => [dataset.name, dataset]))
  const unused = new Set(asked.exclude)
  const excludedBy = new Map<string, string>()
  const selected: Array<SourceDataset> = []
  for (const root of roots) {
    for (const dataset of parentsFirst(root, byName)) {
      const matching = patterns.filter(({ matches }) => matches(dataset.name))
      for (const { pattern } of matching) unused.delete(pattern)
      const above = ancestorsOf(dataset.name).find((ancestor) => excludedBy.has(ancestor))
      const pattern = above === undefined ? matching[0]?.pattern : excludedBy.get(above)
      if (pattern === undefined) selected.push(dataset)
      else excludedBy.set(dataset.name, pattern)
    }
  }
  return {
    selected,
    excluded: Array.from(excludedBy, ([dataset, pattern]) => ({ dataset, pattern })),
    overlaps: overlapsOf(asked.roots, roots),
    unusedPatterns: [...unused]
  }
}

/** What lies in `root`, in the order of `byName` but for children that came before their parents. */
const parentsFirst = (root: string, byName: ReadonlyMap<string, SourceDataset>): ReadonlyArray<SourceDataset> => {
  const done = new Map<string, SourceDataset>()
  for (const dataset of byName.values()) {
    for (const name of [...ancestorsOf(dataset.name), dataset.name]) {
      const each = byName.get(name)
      if (each !== undefined && isWithin(name, root)) done.set(name, each)
    }
  }
  return [...done.values()]
}

const overlapsOf = (asked: ReadonlyArray<string>, kept: ReadonlyArray<string>): ReadonlyArray<Overlap> =>
  asked.flatMap((dropped, index) => {
    const coveredBy = kept.find((root) => isWithin(dropped, root))
    return coveredBy === undefined || (coveredBy === dropped && asked.indexOf(dropped) === index)
      ? []
      : [{ dropped, coveredBy }]
  })
