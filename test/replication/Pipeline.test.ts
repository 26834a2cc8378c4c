import { assert, describe, it } from "@effect/vitest"
import {
  describeStream,
  type Ends,
  estimateArguments,
  receiveArguments,
  type Stream,
  sendArguments,
  stagesOf
} from "../../src/replication/Stream.ts"
import type { Snapshot } from "../../src/zfs/Dataset.ts"
import { type Endpoint, local } from "../../src/zfs/Endpoint.ts"

const snapshot = (name: string): Snapshot => ({
  name,
  guid: `g${name}`,
  createtxg: 1n,
  creation: 0,
  holds: 0,
  clones: []
})
const full = (force: boolean): Stream => ({ _tag: "Full", to: snapshot("0"), force })
const incremental: Stream = { _tag: "Incremental", from: snapshot("0"), to: snapshot("b c") }
const bookmark: Stream = { _tag: "FromBookmark", from: { name: "m", guid: "1" }, to: snapshot("1") }
const resume: Stream = {
  _tag: "Resume",
  token: "1-abc",
  force: false,
  toGuid: "1",
  toName: "tank/a@1"
}

describe("arguments of zfs", () => {
  it("send every kind of stream", () => {
    assert.deepStrictEqual(
      [full(false), incremental, bookmark, resume].map((stream) => sendArguments("tank/a", stream, "raw").join(" ")),
      [
        "send -w -vP tank/a@0",
        "send -w -vP -I tank/a@0 tank/a@b c",
        "send -w -vP -i tank/a#m tank/a@1",
        "send -vP -t 1-abc"
      ]
    )
    assert.deepStrictEqual(sendArguments("tank/a", incremental, "compressed").slice(0, 3), ["send", "-Lc", "-vP"])
    assert.deepStrictEqual(estimateArguments("a/-vP", incremental, "plain"), [
      ...["send", "-nvP", "-I", "a/-vP@0", "a/-vP@b c"]
    ])
    assert.deepStrictEqual(
      [full(true), incremental, bookmark, resume].map((stream) => describeStream("a", stream)),
      ["a@0", "a@0..@b c", "a#m..@1", "the rest of tank/a@1"]
    )
  })

  it("receive without mounting, forced only over a placeholder, canmount only for file systems", () => {
    const of = (stream: Stream, kind: "filesystem" | "volume") =>
      receiveArguments("b/a", stream, { kind, mode: "plain" }).join(" ")
    assert.strictEqual(of(full(false), "filesystem"), "receive -u -s -o canmount=off -o zipper:send=plain b/a")
    assert.strictEqual(of(full(true), "filesystem"), "receive -u -s -F -o canmount=off -o zipper:send=plain b/a")
    assert.strictEqual(of(incremental, "volume"), "receive -u -s -o zipper:send=plain b/a")
    assert.match(of({ ...resume, force: true }, "filesystem"), /-F/)
    for (const stream of [incremental, bookmark, resume]) {
      assert.notMatch(of(stream, "filesystem"), /-F/)
    }
  })
})

describe("stagesOf", () => {
  const nas: Endpoint = { _tag: "Remote", host: "nas", options: [] }
  const of = (ends: Partial<Ends>) =>
    stagesOf({ source: local, target: local, compress: "none", limit: undefined, ...ends }, ["send"], ["receive"]).map(
      ({ args, double, part, program }) =>
        `${part}${double ? "*" : ""}: ${program === "ssh" ? `ssh … ${args.at(-1)?.replace(/^.*\/bin" /, "")}` : [program, ...args].join(" ")}`
    )
  const begin = `sh -c 'echo zipper: connected >&2; exec "$@"' sh`
  it("is two programs, one of them behind ssh", () => {
    assert.deepStrictEqual(of({ source: nas }), [`source: ssh … ${begin} zfs send`, "target: zfs receive"])
    assert.deepStrictEqual(of({ target: nas }), ["source: zfs send", `target: ssh … ${begin} zfs receive`])
  })

  it("compresses where the data are, and limits what goes over the network", () => {
    const limit = { program: "pv", bytesPerSecond: 1000 } as const
    assert.deepStrictEqual(of({ source: nas, compress: "zstd", limit }), [
      `source*: ssh … sh -c 'echo zipper: connected >&2; { "$@"; echo "zipper: exit status $?" >&2; } | zstd -q -c' sh zfs send`,
      "limit: pv -q -L 1000",
      "decompress: zstd -q -dc",
      "target: zfs receive"
    ])
    assert.deepStrictEqual(of({ target: nas, compress: "zstd", limit: { ...limit, program: "mbuffer" } }), [
      "source: zfs send",
      "compress: zstd -q -c",
      "limit: mbuffer -q -r 1000",
      `target*: ssh … sh -c 'echo zipper: connected >&2; { zstd -q -dc; echo "zipper: exit status $?" >&2; } | "$@"' sh zfs receive`
    ])
  })
})
