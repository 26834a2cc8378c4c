import { assert, describe, it } from "vitest"
import type { Verdict } from "../../src/runs/VerifyResult.ts"
import { namesOf, type Which } from "../../src/store/PublishedArchive.ts"
import { advice } from "../../src/verify/Advice.ts"
import { folder } from "../support/program/job.ts"

const abcd = folder("ABCD")

/** What is said of an archive beside which these files are damaged. */
const said = (
  which: Which,
  files: ReadonlyArray<string>,
  identity: Verdict["identity"] = {},
  other: Partial<Verdict> = {}
): string => {
  const verdict: Verdict = {
    folder: abcd,
    result: "damaged",
    files: 1,
    bytes: 1,
    zip_bytes: 100,
    seconds: 1,
    findings: files.map((file) => ({ file, problem: "is missing" })),
    identity,
    remains: true,
    foreign: false,
    ...other
  }
  const place = ["--config", "c.json"]
  return advice({ verdict, which, other: "none", lost: false, target: "/target", place, job: place }).join("\n")
}

describe("advice on an archive in which nothing is wrong", () => {
  const good = "nothing is lost: the archive itself is good, and can be restored"
  const unknown = "it may be another archive. What is in it:\n  zipper ls --config c.json"

  it("calls it good while something says what it has to be", () => {
    for (const which of ["current", "previous"] as const) {
      const { md5, metadata, sha256 } = namesOf(abcd, which)
      assert.include(said(which, [md5, sha256]), good)
      assert.include(said(which, [md5, metadata]), good)
      assert.include(said(which, [md5, sha256, metadata], { zip_sha256: "0".repeat(64) }), good)
    }
  })

  it("does not where nothing does", () => {
    for (const [which, option] of [
      ["current", ""],
      ["previous", " --prev"]
    ] as const) {
      const { md5, metadata, sha256 } = namesOf(abcd, which)
      const text = said(which, [md5, sha256, metadata])
      assert.include(text, `${unknown}${option} ABCD\n`)
      assert.notInclude(text, good)
    }
  })
})

describe("advice on an archive that is missing", () => {
  it("names what has the name of a file beside it", () => {
    const { md5, zip } = namesOf(abcd, "current")
    const findings: Verdict["findings"] = [
      { file: zip, problem: "is missing" },
      { file: md5, problem: "is a folder, not a file", why: "taken" }
    ]
    const text = said("current", [], {}, { result: "missing", zip_bytes: 0, findings })
    assert.include(text, `out of the way:\n  mv /target/ABCD/${md5} /target/ABCD/${md5}.away\na new one`)
  })
})
