import { assert, describe, it } from "@effect/vitest"
import * as ChecksumFile from "../../src/store/Metadata.ts"

const md5 = "d41d8cd98f00b204e9800998ecf8427e"

describe("ChecksumFile", () => {
  it("is what coreutils writes", () => {
    assert.strictEqual(ChecksumFile.encodeChecksums(md5, "ABCD.zip"), `${md5}  ABCD.zip\n`)
  })

  it("reads text and binary form, upper case and a bare digest", () => {
    const named = { digest: md5, name: "ABCD.zip" }
    assert.deepStrictEqual(ChecksumFile.parseChecksums(`${md5}  ABCD.zip\n`), named)
    assert.deepStrictEqual(ChecksumFile.parseChecksums(`${md5} *ABCD.zip\n`), named)
    assert.deepStrictEqual(ChecksumFile.parseChecksums(`${md5.toUpperCase()}  ABCD.zip`), named)
    assert.deepStrictEqual(ChecksumFile.parseChecksums(`${md5}\n`), { digest: md5, name: undefined })
  })

  it("does not take anything else for one", () => {
    for (const content of ["", "\n", "hello", `${md5}ABCD.zip`, `${md5.slice(1)}  ABCD.zip`, "\0\0\0"]) {
      assert.isUndefined(ChecksumFile.parseChecksums(content), JSON.stringify(content))
    }
  })
})
