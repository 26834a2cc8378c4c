import type { Manifest, ManifestEntry } from "../domain/Manifest.ts"
import * as RawPath from "../domain/RawPath.ts"
import { type EntryHead, type EntrySums, headOf } from "./Entry.ts"

/** An entry of the archive before. */
export interface OldEntry extends EntryHead, EntrySums {
  /** Offset of its local header. */
  readonly start: number
  /** Offset of the first byte behind its data. */
  readonly end: number
}

/** An entry that is taken over. */
interface CopiedEntry {
  readonly head: EntryHead
  readonly old: OldEntry
}

/** Consecutive entries of the manifest that lie one behind the other in the archive before, byte for byte. */
export interface CopiedPiece {
  readonly kind: "copied"
  /** Where they lie there. */
  readonly start: number
  readonly end: number
  readonly entries: ReadonlyArray<CopiedEntry>
}

/** Consecutive entries of the manifest that are compressed. */
interface FreshPiece {
  readonly kind: "fresh"
  /** Which of the manifest's entries the first one is. */
  readonly from: number
  readonly entries: ReadonlyArray<ManifestEntry>
}

export type Piece = CopiedPiece | FreshPiece

/** What lies in memory at a time. */
const mostEntries = 2048

/**
 * The manifest's entries, all of them and in order, each either compressed or copied from the archive before. A
 * file is copied where name, size, mode and time are those of the entry there and inode and ctime those that were
 * noted of it: whatever writes to a file, renames it or puts another in its place changes one of these, sooner or
 * later; see `settled` in ArchiveIndex for those that are too young to tell.
 *
 * @param noted stamps of the entries of the archive before, as ArchiveIndex holds them
 * @param before its entries, in order
 */
export async function* pieces(
  manifest: Pick<Manifest, "entries" | "stamps">,
  noted: BigInt64Array,
  before: AsyncIterable<ReadonlyArray<OldEntry>>
): AsyncGenerator<Piece> {
  const { entries, stamps = new BigInt64Array(0) } = manifest
  const old = forwards(before)
  let fresh: Array<ManifestEntry> = []
  let copied: Array<CopiedEntry> = []
  let start = 0
  let end = 0

  try {
    for (const [index, entry] of entries.entries()) {
      for (;;) {
        while (isBefore(old.path(), entry.path)) old.step()
        if (!old.needsMore()) break
        await old.more()
      }
      const candidate = old.path() === entry.path ? old.entry() : undefined
      const head = candidate === undefined ? undefined : headOf(entry)
      const same =
        candidate !== undefined &&
        head !== undefined &&
        isSame(head, candidate) &&
        (entry.kind === "directory" || hasSameStamp(stamps, index, noted, old.index()))

      if (copied.length > 0 && (!same || candidate.start !== end || copied.length === mostEntries)) {
        yield { kind: "copied", start, end, entries: copied }
        copied = []
      }
      if (fresh.length > 0 && (same || fresh.length === mostEntries)) {
        yield { kind: "fresh", from: index - fresh.length, entries: fresh }
        fresh = []
      }
      if (same) {
        if (copied.length === 0) start = candidate.start
        end = candidate.end
        copied.push({ head, old: candidate })
      } else fresh.push(entry)
    }
    if (copied.length > 0) yield { kind: "copied", start, end, entries: copied }
    if (fresh.length > 0) yield { kind: "fresh", from: entries.length - fresh.length, entries: fresh }
  } finally {
    await old.close()
  }
}

/** Walks through the entries before, which come in batches, without waiting at each of them. */
const forwards = (before: AsyncIterable<ReadonlyArray<OldEntry>>) => {
  const batches = before[Symbol.asyncIterator]()
  let batch: ReadonlyArray<OldEntry> = []
  let at = 0
  let count = 0
  let ended = false
  let path: string | undefined

  const look = (): void => {
    const entry = batch[at]
    path = entry === undefined ? undefined : pathOf(entry)
  }

  return {
    entry: () => batch[at],
    /** Of the entry: the manifest's order is that of these. */
    path: () => path,
    /** Which one of all it is. */
    index: () => count + at,
    step: () => {
      at += 1
      look()
    },
    needsMore: () => at >= batch.length && !ended,
    more: async () => {
      const next = await batches.next()
      count += batch.length
      batch = next.done === true ? [] : next.value
      ended = next.done === true
      at = 0
      look()
    },
    close: async () => {
      await batches.return?.()
    }
  }
}

const isBefore = (path: string | undefined, other: string): boolean => path !== undefined && path < other

/** The path that the entry was made from, in bytes. */
const pathOf = ({ kind, name, rawPath }: OldEntry): string =>
  rawPath ?? RawPath.fromBuffer(kind === "directory" ? name.subarray(0, -1) : name)

/** All that the local header and the manifest have in common, and the mode. */
const isSame = (head: EntryHead, old: OldEntry): boolean =>
  head.kind === old.kind &&
  head.size === old.size &&
  head.mode === old.mode &&
  head.seconds === old.seconds &&
  head.name.equals(old.name)

const hasSameStamp = (
  stamps: BigInt64Array,
  index: number,
  noted: BigInt64Array,
  notedIndex: number
): boolean => {
  const ctime = stamps[2 * index + 1]
  return (
    ctime !== undefined &&
    ctime !== 0n &&
    ctime === noted[2 * notedIndex + 1] &&
    stamps[2 * index] === noted[2 * notedIndex]
  )
}
