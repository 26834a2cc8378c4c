import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { parseLine, SendMeter, sizeIn, tokenIn } from "../../src/replication/TransferFailure.ts"

const figures = (text: string) => {
  const meter = new SendMeter()
  return { said: text.split("\n").flatMap((line) => meter.add(parseLine(line)) ?? []), meter }
}

// As zfs 2.1.11 printed it.
const three = `incremental\t3\tsrc/a@p1\t60143520
incremental\tp1\tsrc/a@p2\t60142496
incremental\tp2\tsrc/a@p3\t60142496
size\t180428512
04:52:27\t31540552\tsrc/a@p1
04:52:28\t53613064\tsrc/a@p1
04:52:30\t2899640\tsrc/a@p2
04:52:32\t47964352\tsrc/a@p2
04:52:33\t5652360\tsrc/a@p3
04:52:35\t47563856\tsrc/a@p3`

const token = `resume token contents:
nvlist version: 0
\tfromguid = 0xfd84e1bce381fcc2
\tobject = 0x82
\toffset = 0x960000
\tbytes = 0x987c30
\ttoguid = 0xed4330fc9feddb08
\ttoname = src/a@4 x
incremental\tsrc/a@3 x\tsrc/a@4 x\t20084440
size\t20084440
`

describe("SendOutput", () => {
  it("tells figures from words", () => {
    assert.deepStrictEqual(parseLine("full\tsrc/a@1\t13936"), {
      _tag: "Part",
      snapshot: "src/a@1",
      bytes: 13936
    })
    assert.deepStrictEqual(parseLine("incremental\t2\tsrc/a@3 x\t624"), {
      _tag: "Part",
      snapshot: "src/a@3 x",
      bytes: 624
    })
    assert.deepStrictEqual(parseLine("04:52:23\t139776\tsrc/a@p 1"), {
      _tag: "Progress",
      snapshot: "src/a@p 1",
      bytes: 139776
    })
    for (const line of token.split("\n").slice(0, 8)) assert.deepStrictEqual(parseLine(line), { _tag: "Token" })
    for (const text of ["cannot hold: permission denied", "size\tx", "full", "04:52\t1\tx", ""]) {
      assert.deepStrictEqual(parseLine(text), { _tag: "Words", text })
    }
  })

  it("adds up a stream of several snapshots, whose bytes start again at 0", () => {
    const total = 180428512
    const { meter, said } = figures(three)
    assert.deepStrictEqual(said, [
      { sent: 0, total },
      { sent: 31540552, total },
      { sent: 53613064, total },
      { sent: 60143520 + 2899640, total },
      { sent: 60143520 + 47964352, total },
      { sent: 60143520 + 60142496 + 5652360, total },
      { sent: 60143520 + 60142496 + 47563856, total }
    ])
    assert.strictEqual(meter.end, total)
  })

  it("counts what it was told before the first line of progress, or nothing", () => {
    assert.strictEqual(figures("full\ta@1\t13936\nsize\t13936").meter.end, 13936)
    assert.deepStrictEqual(figures("04:52:23\t10\ta@1").said, [{ sent: 10, total: undefined }])
    assert.deepStrictEqual(figures("size\t5\n04:52:23\t10\ta@1").said, [
      { sent: 0, total: 5 },
      { sent: 10, total: 10 }
    ])
    assert.strictEqual(new SendMeter().end, 0)
  })

  const stream = FastCheck.array(
    FastCheck.record({
      size: FastCheck.nat(1000),
      seen: FastCheck.array(FastCheck.nat(1000), { maxLength: 4 })
    }),
    { minLength: 1, maxLength: 8 }
  )
  it.prop("never goes back, and never past the whole", { stream }, ({ stream }) => {
    const lines = [
      ...stream.map(({ size }, index) => `incremental\tx\ta@${index}\t${size}`),
      `size\t${stream.reduce((sum, { size }) => sum + size, 0)}`,
      ...stream.flatMap(({ seen }, index) => seen.map((bytes) => `00:00:00\t${bytes}\ta@${index}`))
    ]
    let last = 0
    for (const { sent, total } of figures(lines.join("\n")).said) {
      assert.isAtLeast(sent, last)
      assert.isAtMost(sent, total ?? 0)
      last = sent
    }
  })

  it("reads the size, and what a token is for", () => {
    assert.strictEqual(sizeIn(token), 20084440)
    assert.isUndefined(sizeIn("incremental\t1\ta@2\t5\n"))
    assert.deepStrictEqual(tokenIn(token), {
      fromGuid: "18267974189908622530",
      toGuid: "17096562472001592072",
      toName: "src/a@4 x",
      raw: false
    })
    assert.isTrue(tokenIn(token.replace("\ttoname", "\trawok = 1\n\ttoname"))?.raw)
    assert.isUndefined(tokenIn("resume token contents:\nnvlist version: 0\n\ttoname = a@1\n"))
  })
})
