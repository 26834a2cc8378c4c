import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Job } from "../../src/config/ReplicationJob.ts"
import { addDataset, addSnapshot } from "../doubles/replication/world.ts"
import { makeKit, short } from "../support/replication/replication.ts"

const place = "backup/nas/tank"

/** What is not encrypted, and what is, with a destination that is encrypted. */
const mixed = (given: Partial<Job> = {}) =>
  Effect.gen(function* () {
    const kit = yield* makeKit({ mode: "raw", datasets: ["tank/open", "tank/secret", "tank/more"], ...given })
    addDataset(kit.memory, "target", "backup", { encrypted: true })
    const sources = [
      kit.source("tank/open", ["1", "2"]),
      kit.source("tank/secret", ["1"], { encrypted: true }),
      kit.source("tank/more", ["1"])
    ]
    return {
      ...kit,
      warnings: () => kit.lines.filter((line) => line.startsWith("WARN ")),
      again: (snapshot: string) => {
        for (const source of sources) addSnapshot(kit.memory, source, snapshot)
      },
      keyRoot: (dataset: string) => kit.memory.target.datasets.get(`${place}/${dataset}`)?.key?.root,
      mode: (dataset: string) => kit.memory.target.datasets.get(`${place}/${dataset}`)?.mode
    }
  })

const all = (result: string) => ["tank/open", "tank/secret", "tank/more"].map((dataset) => `${dataset} ${result}`)

describe("replicate raw into an encrypted dataset", () => {
  it.effect("has the target encrypt what is not encrypted, says so once, and goes on like that", () =>
    Effect.gen(function* () {
      const kit = yield* mixed()
      for (const dryRun of [true, false]) {
        kit.lines.length = 0
        assert.deepStrictEqual(short((yield* kit.run({ dryRun })).datasets), all("sent"))
        assert.deepStrictEqual(kit.warnings(), [
          "WARN 2 datasets (the first is tank/open) are not encrypted, and on this host backup encrypts what lies below: sent readable (-Lc) and not raw, so that each run needs the key of backup loaded there"
        ])
      }
      assert.deepStrictEqual(["open", "secret", "more"].map(kit.keyRoot), ["backup", `${place}/secret`, "backup"])
      assert.deepStrictEqual(["open", "secret", "more"].map(kit.mode), ["raw", "raw", "raw"])
      kit.again("3")
      kit.memory.cuts.push(50)
      kit.lines.length = 0
      assert.deepStrictEqual(short((yield* kit.run()).datasets), all("sent"))
      assert.isFalse(kit.warnings().some((line) => line.includes("-Lc")))
      assert.deepStrictEqual(short((yield* kit.run()).datasets), all("up_to_date"))
    })
  )
})
