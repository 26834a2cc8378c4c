import { assert, describe, it } from "vitest"
import { noSums } from "../../src/zip/Headers.ts"
import { makeDirectory } from "../../src/zip/Yazl.ts"

describe("a large central directory", () => {
  it("comes in pieces, each of them freed when the next one is taken", async () => {
    const directory = makeDirectory()
    const head = { rawPath: undefined, kind: "file", size: 0, seconds: 1_700_000_000, mode: 0o100644 } as const
    for (let index = 0; index < 40_000; index += 1) {
      directory.add({ ...head, name: Buffer.from(`folder/file ${index}`) }, noSums, index)
    }
    const pieces: Array<Buffer> = []
    const lengths: Array<number> = []
    for await (const piece of directory.end(40_000)) {
      assert.strictEqual(pieces.at(-1)?.length ?? 0, 0)
      pieces.push(piece)
      lengths.push(piece.length)
    }
    assert.isAbove(lengths.length, 3)
    assert.isAtMost(Math.max(...lengths), 1 << 20)
  })
})
