import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { archiveJobKey, jobFileName } from "../../src/config/ReplicationJob.ts"
import { archiveMessages } from "../../src/runs/MessageTexts.ts"
import { TargetSnapshots, type TargetUpdate } from "../../src/zfs/TargetSnapshots.ts"
import { ZfsError } from "../../src/zfs/ZfsCommand.ts"
import type { HooksMemory } from "../doubles/Hooks.ts"
import { makeKit, twoFolders } from "../support/program/job.ts"

const well: TargetUpdate = {
  taken: "auto-zip-target-20261128100000",
  destroyed: 1,
  count: 7,
  oldest_utc: "2026-11-01T10:00:00Z",
  newest_utc: "2026-11-28T10:00:00Z"
}

const answering = (update: TargetUpdate, asked: Array<ReadonlyMap<string, string>> = []) =>
  Layer.succeed(TargetSnapshots, {
    probe: Effect.succeed(undefined),
    update: (_, archives) =>
      Effect.as(
        Effect.sync(() => asked.push(archives)),
        update
      )
  })

describe("the archive job with target_snapshots", () => {
  it.effect("names all archives that there are, those of this run and those of earlier ones", () =>
    Effect.gen(function* () {
      const asked: Array<ReadonlyMap<string, string>> = []
      const kit = yield* makeKit(twoFolders(), { targetSnapshots: answering(well, asked) })
      const first = yield* kit.run()
      assert.deepStrictEqual(first.target_snapshots, well)
      yield* TestClock.adjust("1 hour")
      kit.tree["EFGH"] = { "b/c.txt": { content: "three" } }
      yield* kit.run({ folders: ["EFGH"] })
      assert.deepStrictEqual(
        asked.map((archives) => [...archives.keys()].sort()),
        [
          ["ABCD", "EFGH"],
          ["ABCD", "EFGH"]
        ]
      )
      assert.strictEqual(asked[0]?.get("ABCD"), asked[1]?.get("ABCD"))
      assert.notStrictEqual(asked[0]?.get("EFGH"), asked[1]?.get("EFGH"))
      const state = (yield* Ref.get(kit.state.jobStates)).states.get(jobFileName(archiveJobKey))
      assert.deepStrictEqual(state?.kind === "archive" && state.target_snapshots, {
        count: 7,
        oldest_utc: well.oldest_utc,
        newest_utc: well.newest_utc
      })
    })
  )

  it.effect("fails as a whole when none could be taken, with a message, and keeps what was published", () =>
    Effect.gen(function* () {
      const error = "cannot take a snapshot of tank/safe: out of space"
      const failing = answering({ taken: null, destroyed: 0, count: 0, oldest_utc: null, newest_utc: null, error })
      const hooks: HooksMemory = { ran: [] }
      const kit = yield* makeKit(twoFolders(), { targetSnapshots: failing, hooks })
      const summary = yield* kit.run()
      assert.deepStrictEqual([summary.archived, summary.failed], [2, 0])
      assert.strictEqual(hooks.ran.at(-1)?.outcome, "failed")
      assert.strictEqual((yield* Ref.get(kit.store)).published.size, 2)
      assert.isTrue(kit.lines.includes(`ERROR snapshots of the target: ${error}`), kit.lines.join("\n"))
      assert.isTrue(kit.lines.some((line) => /2 archived.*; the snapshots of the target failed$/.test(line)))
      const sent = yield* Ref.get(kit.sent)
      assert.strictEqual(sent[0]?.title, "zipper: archived, but snapshots of the target failed on nas")
      assert.include(sent[0]?.message, "out of space")
      const state = (yield* Ref.get(kit.state.jobStates)).states.get(jobFileName(archiveJobKey))
      assert.deepStrictEqual([state?.last_run.outcome, state?.last_run.failures], ["failed", 1])
    })
  )

  it.effect("does not begin where none can be taken", () =>
    Effect.gen(function* () {
      const message = "/mnt/safe/archives is not on ZFS but on ext4"
      const refused = Layer.succeed(TargetSnapshots, {
        probe: Effect.fail(new ZfsError({ reason: "NotZfs", message, transient: false })),
        update: () => Effect.die("the run began")
      })
      const kit = yield* makeKit(twoFolders(), { targetSnapshots: refused })
      const error = yield* Effect.flip(kit.run())
      assert.deepStrictEqual([error._tag, error.message], ["PreflightError", message])
      assert.strictEqual((yield* Ref.get(kit.store)).published.size, 0)
    })
  )

  it.effect("reports a folder and the snapshots each by its name", () =>
    Effect.gen(function* () {
      const kit = yield* makeKit(twoFolders(), { targetSnapshots: answering({ ...well, error: "busy" }) })
      const summary = yield* kit.run()
      const { covers, failing } = archiveMessages({ host: "nas", notify_on: ["failure"], run: "ab12cd" }, false)
      assert.deepStrictEqual(failing(summary), [{ name: "snapshots of the target", reason: "busy" }])
      assert.isTrue(covers(summary, "snapshots of the target"))
      assert.isFalse(covers(summary, "MAIL"))
    })
  )
})
