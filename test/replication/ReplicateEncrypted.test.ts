import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Job } from "../../src/config/ReplicationJob.ts"
import { addDataset, addSnapshot, unloadKey } from "../doubles/replication/world.ts"
import { errorOf, makeKit, short } from "../support/replication/replication.ts"

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

describe("replicate plain", () => {
  it.effect("warns that something will be in the clear only where the target does not encrypt", () =>
    Effect.gen(function* () {
      const clear = /tank\/secret is encrypted and will be stored in the clear: send raw/
      for (const encrypted of [true, false]) {
        const kit = yield* mixed({ mode: "plain" })
        addDataset(kit.memory, "target", "backup", { encrypted })
        yield* kit.run()
        assert.strictEqual(kit.keyRoot("secret"), encrypted ? "backup" : undefined)
        assert.strictEqual(kit.warnings().filter((line) => clear.test(line)).length, encrypted ? 0 : 1)
      }
    })
  )
})

describe("a key that is not loaded", () => {
  const load = "(there: zfs load-key 'backup')"

  it.effect("stops what needs it, in a dry run too, and nothing that is raw or has nothing new", () =>
    Effect.gen(function* () {
      const kit = yield* mixed()
      yield* kit.run()
      unloadKey(kit.memory, "target", "backup")
      assert.deepStrictEqual(short((yield* kit.run()).datasets), all("up_to_date"))
      kit.again("3")
      kit.source("tank/more/below", ["1"])
      const bookmarks = () => kit.memory.source.datasets.get("tank/open")?.bookmarks.length
      assert.strictEqual(bookmarks(), 1)
      for (const dryRun of [true, false]) {
        const { datasets } = yield* kit.run({ dryRun })
        assert.deepStrictEqual(short(datasets).slice(0, 3), [
          "tank/open failed",
          "tank/secret sent",
          "tank/more failed"
        ])
        assert.strictEqual(
          errorOf(datasets, "tank/open"),
          `backup/nas/tank/open cannot be written, since the key of backup is not loaded on this host ${load}`
        )
      }
      assert.isFalse(kit.memory.target.datasets.has(`${place}/more/below`))
      assert.strictEqual(bookmarks(), 1, "none for a stream that does not begin")
    })
  )

  it.effect("of a parent to be made is asked for once, for raw streams too, with the ways out", () =>
    Effect.gen(function* () {
      const kit = yield* mixed({ datasets: ["tank/secret"] })
      unloadKey(kit.memory, "target", "backup")
      for (const dryRun of [true, false]) {
        const { datasets } = yield* kit.run({ dryRun })
        assert.strictEqual(
          errorOf(datasets, "tank/secret"),
          `what is missing above ${place}/secret cannot be made, since the key of backup is not loaded on this host ${load}; once it is there, raw streams need no key; or give a destination outside of backup (zipper prepare makes one)`
        )
      }
      for (const parent of ["backup/nas", place]) addDataset(kit.memory, "target", parent, { encrypted: true })
      assert.deepStrictEqual(short((yield* kit.run()).datasets), ["tank/secret sent"])
    })
  )

  it.effect("of the source stops a stream that is not raw, in a dry run too", () =>
    Effect.gen(function* () {
      const kit = yield* mixed({ mode: "plain", datasets: ["tank/secret"] })
      unloadKey(kit.memory, "source", "tank/secret")
      for (const dryRun of [true, false]) {
        assert.strictEqual(
          errorOf((yield* kit.run({ dryRun })).datasets, "tank/secret"),
          "tank/secret cannot be read, since the key of tank/secret is not loaded on nas (there: zfs load-key 'tank/secret'); send raw to do without"
        )
      }
    })
  )

  it.effect("is asked for by what is not encrypted below a raw replica, and by nothing else there", () =>
    Effect.gen(function* () {
      const kit = yield* mixed({ datasets: ["tank/secret"] })
      kit.source("tank/secret/below", ["1"], { encrypted: true })
      kit.source("tank/secret/clear", ["1"])
      for (const dryRun of [true, false]) {
        const { datasets } = yield* kit.run({ dryRun })
        assert.deepStrictEqual(short(datasets), [
          "tank/secret sent",
          "tank/secret/below sent",
          "tank/secret/clear failed"
        ])
        assert.include(errorOf(datasets, "tank/secret/clear"), `the key of ${place}/secret is not loaded on this host`)
      }
    })
  )
})
