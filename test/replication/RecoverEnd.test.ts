import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { looksIn, propertiesIn, RecoveredEnd } from "../../src/replication/RecoverEnd.ts"
import { processFake } from "../support/program/processFake.ts"

describe("the end that recover works on", () => {
  it.effect("takes no word of a login for one of zfs, and a lost connection for what it is", () =>
    Effect.gen(function* () {
      const ended = (stderr: string) =>
        Effect.gen(function* () {
          return yield* Effect.flip((yield* RecoveredEnd).change("mount new/t", ["mount", "new/t"]))
        }).pipe(
          Effect.provide(RecoveredEnd.layer({ _tag: "Remote", host: "nas", options: [] }, false)),
          Effect.provide(processFake(() => ({ exitCode: 255, stderr })).layer)
        )
      const failed = yield* ended("Welcome: no such pool\nzipper: connected\ncannot mount: bad disk\n")
      assert.strictEqual(failed.message, "on nas: cannot mount new/t: cannot mount: bad disk")
      assert.strictEqual(failed.reason, "Other")
      const lost = yield* ended("Welcome: no such pool\n")
      assert.strictEqual(lost.reason, "Unreachable")
    })
  )

  it("has paths that are more than ASCII, as zfs prints them", () => {
    const printed = (text: string) => Buffer.from(text).toString("latin1")
    const got = propertiesIn(printed("t\tmountpoint\t/mnt/bücher\t/mnt/bücher\treceived\n")).get("t")
    assert.strictEqual(got?.value("mountpoint"), "/mnt/bücher")
    assert.strictEqual(got?.received.get("mountpoint"), "/mnt/bücher")
    const looks = looksIn(printed("tank/zipper-look-ab12cd\t/mnt/bücher\ttank/r@1\n"))
    assert.strictEqual(looks[0]?.folder, "/mnt/bücher")
  })

  it("is known by name and property, and of which replica it is by its origin", () => {
    const listed = [
      "tank\t-\t-",
      "tank/zipper-look-ab12cd\t/mnt/look\t-",
      "tank/zipper-look-ab12cd/a\t/mnt/look\ttank/r/a@1",
      "tank/zipper-look-none00\t/mnt/x\ttank/r@1",
      "tank/other\t/mnt/y\ttank/r@1",
      "tank/zipper-look-000000\t-\ttank/r@1"
    ]
    assert.deepStrictEqual(looksIn(`${listed.join("\n")}\n`), [
      { name: "tank/zipper-look-ab12cd", folder: "/mnt/look", replica: "tank/r/a" }
    ])
  })
})
