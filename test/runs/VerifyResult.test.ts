import { assert, describe, it } from "vitest"
import { describeFindings } from "../../src/runs/VerifyResult.ts"

describe("describeFindings", () => {
  it("entries of which the same is said share a line, which names the first five of them", () => {
    const unreadable = (entry: string) => ({ file: "ABCD.zip", entry, problem: "cannot be read" })
    const names = ['"a"', '"b"', '"c"', '"d"', '"e"', '"f"', '"g"']
    assert.deepStrictEqual(
      describeFindings([
        ...names.slice(0, 2).map(unreadable),
        { file: "ABCD.zip", entry: '"z"', problem: "its CRC-32 is wrong" },
        { file: "ABCD.zip", problem: "cannot be read" },
        ...names.slice(2).map(unreadable)
      ]),
      [
        'ABCD.zip at "a", "b", "c", "d", "e" and 2 more: cannot be read',
        'ABCD.zip at "z": its CRC-32 is wrong',
        "ABCD.zip cannot be read"
      ]
    )
  })
})
