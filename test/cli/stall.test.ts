import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { stallWithDocument } from "../../src/cli/layers.ts"
import { Output } from "../../src/cli/output.ts"
import { Stall } from "../../src/runs/Stall.ts"
import { fakeTerminal } from "../support/program/log.ts"

describe("a run that hangs and was asked for a document", () => {
  it.effect("prints one before it leaves", () =>
    Effect.gen(function* () {
      const place = fakeTerminal({})
      let printed = ""
      const inner = Layer.succeed(Stall, {
        found: Effect.never,
        leave: () =>
          Effect.suspend(() => {
            printed = place.written.stdout
            return Effect.interrupt
          })
      })
      const output = Output.layer({ quiet: true, debug: false, ascii: true, json: true }, place)
      yield* Effect.flatMap(Stall, ({ leave }) => leave("given up: zfs has hung")).pipe(
        Effect.provide(Layer.provide(stallWithDocument, Layer.merge(inner, output))),
        Effect.exit
      )
      assert.deepStrictEqual(JSON.parse(printed), { version: 1, errors: ["given up: zfs has hung"] })
    })
  )
})
