import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Ref from "effect/Ref"
import { failFolder } from "../../src/archive/ArchiveFolder.ts"
import { emptyStore, type MemoryStore, memoryStore } from "../doubles/Store.ts"
import { abcd } from "../support/store/storeKit.ts"

describe("a folder that fails", () => {
  it.effect("is noted with the reason, however long the path before it", () =>
    Effect.gen(function* () {
      const ref = yield* Ref.make<MemoryStore>(emptyStore)
      const reason = `cannot read ABCD/${"x".repeat(5000)}: permission denied (EACCES)`
      const result = yield* failFolder("r1", abcd, reason).pipe(
        Effect.provide(memoryStore(ref)),
        Effect.provide(Logger.remove(Logger.defaultLogger))
      )
      const { error } = result
      assert.isBelow(error.length, 2100)
      assert.match(error, /^cannot read ABCD\/x.*\[…\] x+: permission denied \(EACCES\)$/)
      assert.strictEqual((yield* Ref.get(ref)).failures.get(abcd)?.error, error)
    })
  )
})
