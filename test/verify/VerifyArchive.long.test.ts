import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { flipEach, published, reading } from "../support/program/verify.ts"

const eight = [0, 1, 2, 3, 4, 5, 6, 7]

describe("examine", () => {
  for (const which of ["current", "previous"] as const) {
    it.scoped(`finds every flipped bit of the ${which} archive, and names its file`, () =>
      Effect.gen(function* () {
        const place = yield* published
        yield* flipEach(place, which, () => eight).pipe(Effect.provide(reading(place.targetPath)))
      })
    )
  }
})
