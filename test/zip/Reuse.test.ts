import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { ManifestEntry } from "../../src/source/Manifest.ts"
import { headOf } from "../../src/zip/Headers.ts"
import { type OldEntry, pieces } from "../../src/zip/Reuse.ts"
import { byPath } from "../support/manifest.ts"
import { entryOf } from "../support/zip/archive.ts"

/** What there is at a path: from few values, so that the same ones come up before and after. */
interface Thing {
  readonly kind: "file" | "directory"
  readonly size: number
  readonly mode: number
  readonly seconds: number
  readonly inode: bigint
  readonly ctime: bigint
}

const few = <A>(...values: ReadonlyArray<A>) => FastCheck.constantFrom(...values)

const thing: FastCheck.Arbitrary<Thing> = FastCheck.record({
  kind: few<"file" | "directory">("file", "file", "file", "directory"),
  size: few(0, 0, 0, 100),
  mode: few(0o644, 0o644, 0o644, 0o600),
  seconds: few(1, 1, 1, 2),
  inode: few(1n, 1n, 1n, 2n),
  // 0: a stamp that proves nothing.
  ctime: few(1n, 1n, 1n, 2n, 0n)
})

const tree = FastCheck.dictionary(few(..."abcdefghij", "b/c", "b0", "é", "\u00e9\u0301"), thing)

type Tree = Record<string, Thing>

const entriesOf = (things: Tree): ReadonlyArray<ManifestEntry> =>
  Object.entries(things)
    .map(([path, { kind, mode, seconds, size }]) =>
      entryOf(path, {
        kind,
        size: kind === "file" ? size : 0,
        mode,
        mtimeNs: BigInt(seconds) * 1_000_000_000n
      })
    )
    .sort(byPath)

const stampsOf = (things: Tree, entries: ReadonlyArray<ManifestEntry>): BigInt64Array =>
  BigInt64Array.from(entries.flatMap(({ name }) => [things[name]?.inode ?? 0n, things[name]?.ctime ?? 0n]))

/** An archive of these entries, each with some bytes of data. */
const archived = (entries: ReadonlyArray<ManifestEntry>): ReadonlyArray<OldEntry> => {
  let end = 0
  return entries.map((entry, index) => {
    const start = end
    end += 50 + index
    return { ...headOf(entry), method: "store", crc32: 0, compressedSize: entry.size, start, end }
  })
}

async function* inBatches(entries: ReadonlyArray<OldEntry>, sizes: ReadonlyArray<number>) {
  let at = 0
  for (const size of sizes) {
    yield entries.slice(at, at + size)
    at += size
  }
  yield entries.slice(at)
}

const all = async <A>(items: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const found: Array<A> = []
  for await (const item of items) found.push(item)
  return found
}

const isUnchanged = (before: Thing | undefined, now: Thing | undefined): boolean =>
  before !== undefined &&
  now !== undefined &&
  before.kind === now.kind &&
  before.mode === now.mode &&
  before.seconds === now.seconds &&
  (now.kind === "directory" ||
    (before.size === now.size && before.inode === now.inode && before.ctime === now.ctime && now.ctime !== 0n))

describe("pieces", () => {
  it("are all entries in order, copied exactly where nothing shows a change", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(
        tree,
        tree,
        FastCheck.array(FastCheck.integer({ min: 0, max: 4 }), { maxLength: 6 }),
        async (before, changes, sizes) => {
          // Most of it stays as it was.
          const kept = Object.fromEntries(Object.entries(before).filter((_, index) => index % 5 !== 4))
          const now = { ...kept, ...Object.fromEntries(Object.entries(changes).slice(0, 2)) }
          const old = archived(entriesOf(before))
          const entries = entriesOf(now)
          const manifest = { entries, stamps: stampsOf(now, entries) }
          const found = await all(pieces(manifest, stampsOf(before, entriesOf(before)), inBatches(old, sizes)))

          const names = found.flatMap((piece) =>
            piece.kind === "fresh"
              ? piece.entries.map(({ name }) => name)
              : piece.entries.map(({ head }) => head.name.toString().replace(/\/$/, ""))
          )
          assert.deepStrictEqual(
            names,
            entries.map(({ name }) => name)
          )
          const copied = found.flatMap((piece) => (piece.kind === "copied" ? piece.entries : []))
          assert.deepStrictEqual(
            copied.map(({ head }) => head),
            entries.filter(({ name }) => isUnchanged(before[name], now[name])).map(headOf)
          )
          for (const piece of found) {
            assert.isAbove(piece.entries.length, 0)
            if (piece.kind === "fresh") continue
            assert.strictEqual(piece.entries[0]?.old.start, piece.start)
            assert.strictEqual(piece.entries.at(-1)?.old.end, piece.end)
            piece.entries.forEach(({ head, old: { end, name } }, index) => {
              assert.isTrue(name.equals(head.name))
              assert.strictEqual(piece.entries[index + 1]?.old.start ?? end, end)
            })
          }
        }
      ),
      { numRuns: 200 }
    ))

  const one: Thing = { kind: "file", size: 1, mode: 0o644, seconds: 1, inode: 1n, ctime: 1n }
  const differences: ReadonlyArray<Partial<Thing>> = [
    { kind: "directory" },
    { size: 2 },
    { mode: 0o600 },
    { seconds: 2 },
    { inode: 2n },
    { ctime: 2n }
  ]

  it.each([{}, ...differences])("copy a file only where nothing of it is another: %o", async (difference) => {
    const before: Tree = { a: one }
    const now: Tree = { a: { ...one, ...difference } }
    const entries = entriesOf(now)
    const old = entriesOf(before)
    const manifest = { entries, stamps: stampsOf(now, entries) }
    const found = await all(pieces(manifest, stampsOf(before, old), inBatches(archived(old), [])))
    const expected = Object.keys(difference).length === 0 ? "copied" : "fresh"
    assert.deepStrictEqual(
      found.map(({ kind }) => kind),
      [expected]
    )
  })

  it("are few where little changed", async () => {
    const before: Tree = {}
    const same = { kind: "file", size: 1, mode: 0o644, seconds: 1, inode: 1n, ctime: 1n } as const
    for (let at = 0; at < 1_200; at += 1) before[String(at).padStart(5, "0")] = same
    const { "00500": _, ...rest } = before
    const now: Tree = { ...rest, "00000a": same, "00600": { ...same, ctime: 2n } }
    const entries = entriesOf(now)
    const old = entriesOf(before)
    const found = await all(
      pieces({ entries, stamps: stampsOf(now, entries) }, stampsOf(before, old), inBatches(archived(old), []))
    )
    assert.deepStrictEqual(
      found.map(({ entries, kind }) => [kind, entries.length]),
      [
        ["copied", 1],
        ["fresh", 1],
        ["copied", 256],
        ["copied", 243],
        ["copied", 99],
        ["fresh", 1],
        ["copied", 256],
        ["copied", 256],
        ["copied", 87]
      ]
    )
  })

  it("are none of them copied where no stamps are known", async () => {
    const before: Tree = { a: { kind: "file", size: 1, mode: 0o644, seconds: 1, inode: 1n, ctime: 1n } }
    const entries = entriesOf(before)
    const noted = stampsOf(before, entries)
    for (const stamps of [undefined, new BigInt64Array(0)]) {
      const manifest = { entries, ...(stamps === undefined ? {} : { stamps }) }
      const found = await all(pieces(manifest, noted, inBatches(archived(entries), [])))
      assert.deepStrictEqual(
        found.map(({ kind }) => kind),
        ["fresh"]
      )
    }
    const found = await all(pieces({ entries, stamps: noted }, new BigInt64Array(0), inBatches(archived(entries), [])))
    assert.deepStrictEqual(
      found.map(({ kind }) => kind),
      ["fresh"]
    )
  })
})
