import type { Block } from "./Columns.ts"

/** Some of a directory's entries, in byte order: all of them, or of a large directory the next ones. */
interface Piece {
  readonly block: Block
  /** The first one in the block … */
  readonly from: number
  /** … and the one behind the last. */
  readonly to: number
  /** Those of them that are directories themselves, in order. */
  readonly children: ReadonlyArray<{ readonly index: number; readonly directory: Directory }>
}

/** What lies in a directory. */
export interface Directory {
  /** In order. */
  pieces: Array<Piece>
}

/** Entries that stand side by side in a block as well as in the manifest. */
export interface Run {
  readonly block: Block
  readonly from: number
  readonly to: number
}

/** A place between two entries of a directory: before the one with this index. */
interface Place {
  readonly piece: number
  readonly index: number
}

/**
 * All entries below a directory in byte order of their paths, without comparing them all: what lies in `a` comes
 * right before the first neighbour that is greater than `a/`, which is not always the next one (`a`, `a.b`, `a/x`, `a0`).
 */
export const inOrder = (root: Directory): Array<Run> => {
  const runs: Array<Run> = []
  const visit = ({ pieces }: Directory): void => {
    let piece = 0
    let from = pieces[0]?.from ?? 0
    const goTo = (place: Place): void => {
      for (; piece <= place.piece; piece += 1) {
        const current = pieces[piece]
        if (current === undefined) return
        const to = piece === place.piece ? place.index : current.to
        if (to > from) runs.push({ block: current.block, from, to })
        from = to
        if (piece === place.piece) return
        from = pieces[piece + 1]?.from ?? 0
      }
    }
    for (const { directory, place } of descents(pieces)) {
      goTo(place)
      visit(directory)
    }
    goTo({ piece: pieces.length - 1, index: pieces.at(-1)?.to ?? 0 })
  }
  visit(root)
  return runs
}

/** The directories in a directory, in the order in which what they hold comes, and before which entry it comes. */
const descents = (pieces: ReadonlyArray<Piece>) => {
  const found: Array<{ readonly directory: Directory; readonly place: Place }> = []
  for (const [piece, { block, children }] of pieces.entries()) {
    for (const { directory, index } of children) {
      found.push({ directory, place: placeOf(pieces, { piece, index: index + 1 }, `${block.path(index)}/`) })
    }
  }
  // Two at the same place: `a-/` before `a/`, so the later one of the two first. Sorting is stable.
  return found.reverse().sort((a, b) => a.place.piece - b.place.piece || a.place.index - b.place.index)
}

/** Before the first entry from `start` on whose path is greater than `bound`. */
const placeOf = (pieces: ReadonlyArray<Piece>, start: Place, bound: string): Place => {
  let { index, piece } = start
  for (;;) {
    const current = pieces[piece]
    if (current === undefined) return { piece, index }
    // Mostly it is the very next one.
    if (index < current.to && current.block.path(index) > bound) return { piece, index }
    index = firstAbove(current, index, bound)
    if (index < current.to || piece + 1 >= pieces.length) return { piece, index }
    piece += 1
    index = pieces[piece]?.from ?? 0
  }
}

const firstAbove = ({ block, to }: Piece, from: number, bound: string): number => {
  let low = from
  let high = to
  while (low < high) {
    const middle = (low + high) >>> 1
    if (block.path(middle) > bound) high = middle
    else low = middle + 1
  }
  return low
}
