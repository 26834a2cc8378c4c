import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import * as FolderName from "../../src/source/FolderName.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import {
  Changed,
  combine,
  type Finding,
  impactOf,
  parseLine,
  unescape,
  type Verdict,
  worse
} from "../../src/zfs/ZfsDiff.ts"

/** What libzfs does: everything but printable ASCII without space and backslash. */
const escape = (bytes: string): string =>
  bytes.replace(/[^!-[\]-~]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(4, "0")}`)

const raw = RawPath.fromLatin1
const bytes = FastCheck.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array).toString("latin1"))
const segment = bytes.map((text) => text.replace(/[\0/]/g, "_") || "_")
const folder = FastCheck.stringMatching(/^[A-Z0-9]{4}$/)
const name = Schema.decodeSync(FolderName.FolderName)
const abcd = name("ABCD")
const efgh = name("EFGH")

const gather = (top: string, source: string, lines: ReadonlyArray<string>): string | ReadonlyArray<string> => {
  const changed = new Changed(raw(top), raw(source))
  for (const line of lines) changed.add(line)
  return changed.everything ? "everything" : [...changed.folders].sort()
}

describe("ZfsDiff", () => {
  it.prop("reads any bytes back from zfs diff's escapes", [bytes], ([text]) => unescape(escape(text)) === text)

  it("reads lines as OpenZFS 2.1 prints them", () => {
    assert.deepStrictEqual(parseLine("M\t/\t/mnt/tank/data/"), {
      change: "M",
      path: raw("/mnt/tank/data/"),
      to: undefined
    })
    assert.deepStrictEqual(parseLine("R\tF\t/d/ABCD/a\t/d/EFGH/new\\0040name"), {
      change: "R",
      path: raw("/d/ABCD/a"),
      to: raw("/d/EFGH/new name")
    })
    assert.deepStrictEqual(
      parseLine("+\tF\t/d/E/tab\\0011nl\\0012q\\0134uml\\0303\\0274\\0377->\\0040x\\0001")?.path,
      raw("/d/E/tab\tnl\nq\\uml\xc3\xbc\xff-> x\x01")
    )
    assert.deepStrictEqual(parseLine("M\tF\t/d/E/zz\t(-1)"), {
      change: "M",
      path: raw("/d/E/zz"),
      to: undefined
    })
    for (const line of [
      "",
      "M",
      "M\t/",
      "X\tF\t/a",
      "M\tF\tnot absolute",
      "R\tF\t/a",
      "R\tF\t/a\tb",
      "Unable to determine path"
    ]) {
      assert.isUndefined(parseLine(line), line)
    }
  })

  it.prop("never breaks on any line", [bytes], ([line]) => {
    const changed = new Changed(raw("/d"), raw("/d"))
    changed.add(line)
    return line === "" || changed.everything || changed.folders.size >= 0
  })

  it("maps paths to the folders of the source", () => {
    const at = (path: string, change: "M" | "+" | "-" | "R" = "M") =>
      impactOf(raw("/d"), raw("/d/s"), change, raw(path))
    assert.deepStrictEqual(at("/d/s/ABCD"), { _tag: "Folder", folder: abcd })
    assert.deepStrictEqual(at("/d/s/ABCD/x/y"), { _tag: "Folder", folder: abcd })
    assert.deepStrictEqual(at("/d/s/\xe6\x97\xa5\xe6\x9c\xac 1/x"), { _tag: "Folder", folder: name("日本 1") })
    assert.deepStrictEqual(at("/d/s/ABCD/<xattrdir>/user.x"), { _tag: "Folder", folder: abcd })
    for (const path of [
      "/d/s/.abcd/x",
      "/d/s/ABCD.prev",
      "/d/s/AB\xff/x",
      "/d/other/ABCD",
      "/d/sABCD",
      "/d/s",
      "/d/s/",
      "/d/",
      "/d(on_delete_queue)"
    ]) {
      assert.deepStrictEqual(at(path), { _tag: "Nothing" }, path)
    }
    for (const change of ["+", "-", "R"] as const) {
      assert.deepStrictEqual(at("/d/s", change), { _tag: "Everything" })
      assert.deepStrictEqual(at("/d/", change), { _tag: "Everything" })
      assert.deepStrictEqual(at("/d/s/ABCD", change), { _tag: "Folder", folder: abcd })
    }
    assert.deepStrictEqual(at("/elsewhere/ABCD"), { _tag: "Everything" })
  })

  it("serves a dataset that is mounted at the root", () => {
    assert.deepStrictEqual(gather("/", "/", ["M\t/\t//", "M\tF\t//ABCD/x", "+\tF\t/EFGH/y"]), ["ABCD", "EFGH"])
  })

  it("takes both paths of a rename", () => {
    assert.deepStrictEqual(gather("/d", "/d", ["R\tF\t/d/ABCD/a\t/d/EFGH/a"]), ["ABCD", "EFGH"])
    assert.deepStrictEqual(gather("/d", "/d", ["R\t/\t/d/.tmp\t/d/EFGH"]), ["EFGH"])
    assert.deepStrictEqual(gather("/d", "/d/s", ["R\t/\t/d/s\t/d/t"]), "everything")
    assert.deepStrictEqual(gather("/d", "/d/s", ["R\t/\t/d/t\t/d/s"]), "everything")
  })

  it("takes a line that it does not understand for anything", () => {
    assert.deepStrictEqual(gather("/d", "/d", ["?\tF\t/d/ABCD/a"]), "everything")
  })

  it.prop(
    "names exactly the folders below the source that a line is in",
    [FastCheck.array(FastCheck.tuple(FastCheck.oneof(folder, segment), segment))],
    ([files]) => {
      const lines = files.map(([top, file]) => `M\tF\t${escape(`/d/s/${top}/${file}`)}`)
      const expected = [...new Set(files.flatMap(([top]) => FolderName.topFolder(raw(top)) ?? []))].sort()
      assert.deepStrictEqual(gather("/d", "/d/s", lines), expected)
    }
  )

  const verdict = FastCheck.constantFrom<Verdict>("unchanged", "unknown", "changed")
  const finding: FastCheck.Arbitrary<Finding> = FastCheck.record({
    folder: FastCheck.constantFrom(undefined, abcd, efgh),
    verdict,
    changed: FastCheck.constantFrom(new Set<FolderName.FolderName>(), new Set([abcd])),
    reason: FastCheck.constant(undefined)
  })

  it.prop(
    "lets no finding be forgotten: a folder gets the worst that is said of it",
    [FastCheck.array(finding)],
    ([findings]) => {
      const evidence = combine(findings, "all is well")
      for (const { changed, folder: of, verdict: said } of findings) {
        const all = of === undefined ? [evidence.otherwise, ...evidence.folders.values()] : [evidence.folders.get(of)]
        for (const got of all) assert.strictEqual(worse(got ?? "unchanged", said), got)
        for (const each of changed) assert.strictEqual(evidence.folders.get(each), "changed")
      }
    }
  )

  it("gives the reasons, or says that all is well", () => {
    const silent: Finding = { folder: undefined, verdict: "unchanged", changed: new Set(), reason: undefined }
    assert.deepStrictEqual(combine([silent], "compared"), {
      otherwise: "unchanged",
      folders: new Map(),
      reason: "compared"
    })
    assert.strictEqual(
      combine(
        [
          { ...silent, reason: "a" },
          { ...silent, reason: "b" }
        ],
        ""
      ).reason,
      "a; b"
    )
  })
})
