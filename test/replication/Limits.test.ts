import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { limitsText } from "../../src/replication/Limits.ts"
import { zfsError } from "../doubles/replication/world.ts"
import { errorOf, makeKit } from "../support/replication/replication.ts"
import { receiver } from "../support/replication/replicationEnds.ts"

const none = "18446744073709551615"

/** What the receiver reads of backup and backup/nas, where these properties differ from no limit at all. */
const limitsWith = (given: Readonly<Record<string, string>>) => {
  const usual = { available: "8589934592", used: "1048576", referenced: "98304", quota: "0", refquota: "0" }
  const counts = { filesystem_limit: none, filesystem_count: "-", snapshot_limit: "none", snapshot_count: none }
  const stdout = ["backup", "backup/nas"]
    .flatMap((name) =>
      Object.entries({ ...usual, ...counts, ...(name === "backup" ? {} : given) }).map(
        ([property, value]) => `${name}\t${property}\t${value}\n`
      )
    )
    .join("")
  const stderr = "cannot open 'backup/nas/tank': dataset does not exist\n"
  return receiver(() => ({ exitCode: 1, stdout, stderr })).receiver.limits("backup/nas/tank")
}

describe("what limits a target", () => {
  it.effect("tells quotas and numbers that are reached from a full pool", () =>
    Effect.gen(function* () {
      const pool =
        "the pool backup has 8.0 GiB left: destroy what is not needed there (zipper prune thins out replicas), or make it larger"
      for (const [given, text] of [
        [{}, pool],
        [
          { quota: "1048576", available: "0" },
          "the quota of backup/nas leaves 0 B of 1.0 MiB (there: zfs set quota=… 'backup/nas' raises it)"
        ],
        [
          { refquota: "1048576", used: "9999999", available: "950272" },
          "the refquota of backup/nas leaves 928.0 KiB of 1.0 MiB (there: zfs set refquota=… 'backup/nas' raises it)"
        ],
        [{ quota: "999999999999999", snapshot_limit: "7", snapshot_count: "6" }, pool],
        [
          { filesystem_limit: "5", filesystem_count: "5" },
          "the filesystem_limit of backup/nas is reached, 5 (there: zfs set filesystem_limit=… 'backup/nas' raises it)"
        ]
      ] as const) {
        assert.strictEqual(limitsText(yield* limitsWith(given)), text)
      }
    })
  )

  it.effect("is asked for once a stream finds no place, and is in the message", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit()
      kit.source("tank", ["1"])
      kit.memory.limits.set("backup", new Map([["available", 4096]]))
      const full = "cannot receive new filesystem stream: out of space"
      const failed = (yield* failing(kit, full)).datasets
      assert.match(errorOf(failed, "tank"), /^cannot receive .*: out of space; the pool backup has 4\.0 KiB left: /)
      kit.memory.failures.set("limits backup/nas/tank", [zfsError("Unreachable", "lost")])
      const command =
        "there, zfs get -Hp -o name,property,value available,quota,used,refquota,referenced,filesystem_limit,filesystem_count,snapshot_limit,snapshot_count 'backup' 'backup/nas' 'backup/nas/tank' shows which limit is reached"
      assert.strictEqual(errorOf((yield* failing(kit, full)).datasets, "tank"), `${full}; ${command}`)
    })
  )
})

const failing = (kit: Effect.Effect.Success<ReturnType<typeof makeKit>>, message: string) => {
  kit.memory.failures.set("send tank", [zfsError("NoSpace", message)])
  return kit.run()
}
