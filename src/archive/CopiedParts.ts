import type { CopiedRange } from "./ArchiveError.ts"
import { makeCombiner } from "./Crc32.ts"
import type { Extent } from "./Slices.ts"

/** Copied ranges of a zip that is read in slices, in order. */
interface CopiedParts {
  /** What of the next slice is copied. */
  readonly within: (content: Extent) => ReadonlyArray<Extent>
  /** Takes the CRC-32 of these parts, in their order. The first range that is complete now and is not what was copied. */
  readonly add: (parts: ReadonlyArray<Extent>, sums: ReadonlyArray<number>) => CopiedRange | undefined
  /** A range of which not all was added. */
  readonly incomplete: () => CopiedRange | undefined
}

/** `ranges` in order of their offsets; none overlaps another. */
export const copiedParts = (ranges: ReadonlyArray<CopiedRange>): CopiedParts => {
  const combine = makeCombiner()
  let next = 0
  let current = 0
  let checksum = 0

  const add = (part: Extent, sum: number): CopiedRange | undefined => {
    const range = ranges[current]
    if (range === undefined) return undefined
    checksum = part.start === range.start ? sum : combine(checksum, sum, part.end - part.start)
    if (part.end < range.end) return undefined
    current += 1
    return checksum === range.crc32 ? undefined : range
  }

  return {
    within: (content) => {
      const parts: Array<Extent> = []
      for (let range = ranges[next]; range !== undefined && range.start < content.end; range = ranges[next]) {
        parts.push({ start: Math.max(range.start, content.start), end: Math.min(range.end, content.end) })
        if (range.end > content.end) break
        next += 1
      }
      return parts
    },
    add: (parts, sums) => {
      for (const [index, part] of parts.entries()) {
        const wrong = add(part, sums[index] ?? 0)
        if (wrong !== undefined) return wrong
      }
      return undefined
    },
    incomplete: () => ranges[current]
  }
}
