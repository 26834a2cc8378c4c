import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { archiveJobKey } from "../../src/config/ReplicationJob.ts"
import { readJob } from "../../src/runs/JobOverview.ts"
import { Lock } from "../../src/runs/Lock.ts"
import { type MemoryJobStates, memoryJobStates, noJobStates } from "../doubles/JobStates.ts"
import { noMarker } from "../support/program/supervised.ts"

/** `ended`: the run ends between the reading of its marker and of its lock. */
const activity = (ended: boolean) =>
  Effect.gen(function* () {
    const marker = { ...noMarker, run: "r", started_at_utc: "2025-01-01T12:00:00Z" }
    const states = yield* Ref.make<MemoryJobStates>({ ...noJobStates, markers: new Map([["archive", marker]]) })
    const lock = Layer.mock(Lock, {
      holder: () => Effect.as(ended ? Ref.set(states, { ...noJobStates, markers: new Map() }) : Effect.void, undefined)
    })
    const found = yield* readJob(archiveJobKey).pipe(Effect.provide(Layer.mergeAll(memoryJobStates(states), lock)))
    return found.activity._tag
  })

describe("a job", () => {
  it.effect("whose run ends while it is looked at was not killed", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* activity(true), "Idle")
      assert.strictEqual(yield* activity(false), "Died")
    })
  )
})
