import * as fs from "node:fs"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import {
  afterwards,
  both,
  checkFault,
  checkSets,
  faultCases,
  lastStepOf,
  newest,
  placeLike,
  recoverAndCheck,
  run,
  setUp,
  tearDown,
  template,
  watch
} from "../support/store/crashKit.ts"
import type * as DiskFaults from "../support/store/diskFaults.ts"
import { archive } from "../support/store/storeKit.ts"

beforeAll(setUp)
afterAll(tearDown)

describe("an operation of a publication fails", () => {
  // The others are in StoreCrash.long.test.ts.
  const cases = faultCases.filter(({ code, lasting, scenario, when }) =>
    scenario === 2
      ? when === "after" || code === "EPERM"
      : scenario === 0 && code === "EIO" && when === "before" && !lasting
  )

  it.each(cases)(
    "archives before it: $scenario; the operation fails: $when it is carried out, code: $code, lasting: $lasting",
    checkFault
  )

  it("an archive that cannot be linked is copied", async () => {
    const place = placeLike(template(2))
    const hooks = { before: ({ name }: DiskFaults.Operation) => (name === "link" ? "ENOTSUP" : undefined) }
    assert.isTrue(Exit.isSuccess(await run(archive(newest(2)), place, hooks)))
    assert.deepStrictEqual(checkSets(place, 2, "no links"), afterwards(2))
  })
})

describe("undoing fails too", () => {
  it.each([0, 2])(
    "archives before it: %i; one of its operations fails, and everything works again",
    async (scenario) => {
      const last = await lastStepOf(scenario)
      for (let second = last + 1; ; second++) {
        const place = placeLike(template(scenario))
        let reached = false
        const hooks: DiskFaults.Hooks = {
          before: ({ number }) => {
            if (number === second) reached = true
            return number === last || number === second ? "EIO" : undefined
          }
        }
        const exit = await run(archive(newest(scenario)), place, both(watch(place, scenario), hooks))
        assert.isTrue(Exit.isFailure(exit))
        // What cleans up after the attempt must leave alone what recovery needs.
        await recoverAndCheck(place, scenario, `operation ${second}`)
        fs.rmSync(place.root, { recursive: true })
        if (!reached) break
      }
    }
  )
})
