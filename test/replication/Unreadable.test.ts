import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { sourceFailure } from "../../src/replication/Stream.ts"
import { pipeFailure } from "../../src/replication/TransferFailure.ts"
import { local } from "../../src/zfs/Endpoint.ts"
import { zfsError } from "../doubles/replication/world.ts"
import { makeKit, short } from "../support/replication/replication.ts"

const said = "warning: cannot send 'tank/a@1': Input/output error"
const unreadable = () => zfsError("Unreadable", `cannot send tank/a@1: ${said}`)

describe("a block of the source that cannot be read", () => {
  it.effect("is named, with what gets the next run past it; the datasets beside it are sent", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.source("tank/a", ["1"])
      kit.source("tank/b", ["1"])
      kit.memory.failures.set("send tank/a", [unreadable()])
      kit.memory.source.pools.set("tank", { errors: ["tank/a@1:/docs/x"] })
      const { datasets } = yield* kit.run()
      assert.deepStrictEqual(short(datasets), ["tank sent", "tank/a failed", "tank/b sent"])
      const [, failed] = datasets
      const error = failed?.result === "failed" ? failed.error : ""
      assert.include(error, `${said}; the pool tank cannot read tank/a@1:/docs/x. Each run stops there until, on nas, `)
      assert.include(error, "snapshots that hold the block are destroyed")
    })
  )

  it.effect("is told from other failures where the pool gives no names", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank/a", ["1"])
      kit.memory.failures.set("send tank/a", [unreadable()])
      kit.memory.failures.set("pool sender tank", [zfsError("Other", "cannot see how the pool tank is")])
      const { datasets } = yield* kit.run()
      const error = datasets.flatMap((each) => (each.result === "failed" ? [each.error] : [])).join("\n")
      assert.include(error, "zpool status -v tank, there and as root, names what cannot be read")
    })
  )

  it("is no reason to say that the next run goes on", () => {
    const to = { name: "1", guid: "1", createtxg: 1n, creation: 0, holds: 0, clones: [] }
    const request = {
      source: "tank/a",
      target: "backup/a",
      kind: "filesystem",
      stream: { _tag: "Full", to, force: false },
      mode: "plain",
      format: "plain",
      onProgress: () => {}
    } as const
    const receiver =
      "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\nPartially received snapshot is saved.\n"
    const failure = (stderr: string) =>
      pipeFailure(request, { source: local, target: local }, [
        { part: "source", double: false, exitCode: 1, stdout: "", stderr, ended: false },
        { part: "target", double: false, exitCode: 1, stdout: "", stderr: receiver, ended: false }
      ])
    const found = failure(`${said}\n`)
    assert.strictEqual(found?.reason, "Unreadable")
    assert.isFalse(found?.transient)
    assert.notInclude(found?.message ?? "", "next run")
    assert.include(failure("internal error: out of luck\n")?.message ?? "", "the next run goes on from there")
    // As FreeBSD and Linux name a checksum that is wrong.
    for (const text of ["Integrity check failed", "Invalid exchange"]) {
      assert.strictEqual(sourceFailure(zfsError("Other", `cannot send: ${text}`)).reason, "Unreadable")
    }
  })
})
