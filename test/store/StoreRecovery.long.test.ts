import * as fs from "node:fs"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import {
  afterwards,
  both,
  dieAt,
  lastStepOf,
  newest,
  operationsOf,
  placeLike,
  recover,
  recoverAndCheck,
  run,
  setUp,
  stopRecovery,
  tearDown,
  template,
  watch
} from "../support/store/crashKit.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import { inspect } from "../support/store/storeCheck.ts"
import { archive } from "../support/store/storeKit.ts"

beforeAll(setUp)
afterAll(tearDown)

describe("recovery itself is stopped", () => {
  it.each([0, 2])("archives before it: %i; stopped at each change, recovery at each of its own", async (scenario) => {
    const changes = (await operationsOf(scenario)).filter((operation) => operation.changes)
    const committed = changes.findIndex((operation) => operation.path.endsWith("/commit"))
    assert.isAbove(committed, 0)
    for (let first = 1; first <= changes.length; first++) {
      // What was only prepared is thrown away; a few cases of that will do.
      if (first <= committed && first % 6 !== 0) continue
      const crashed = placeLike(template(scenario))
      await run(archive(newest(scenario)), crashed, dieAt(first).hooks)
      await stopRecovery(crashed.root, scenario, `change ${first}`)
      fs.rmSync(crashed.root, { recursive: true })
    }
  })

  it.each([0, 2])("archives before it: %i; undoing is stopped at each change, and recovery too", async (scenario) => {
    const last = await lastStepOf(scenario)
    assert.isAbove(last, 0)
    for (let extra = 1; ; extra++) {
      const place = placeLike(template(scenario))
      let changes = 0
      let dead = false
      const exit = await run(
        archive(newest(scenario)),
        place,
        both(watch(place, scenario), {
          before: (operation) => {
            if (operation.number === last) return "EIO"
            if (operation.number > last && operation.changes) changes += 1
            dead = changes >= extra
            return dead ? "EIO" : undefined
          }
        })
      )
      assert.isTrue(Exit.isFailure(exit))
      await stopRecovery(place.root, scenario, `undoing ${extra}`)
      if (!dead) break
    }
  })

  it.each([1, 2])("archives before it: %i; an operation of recovery fails once", async (scenario) => {
    // The previous set and the archive are in place, its checksums are not.
    const crashed = placeLike(template(scenario))
    let renames = 0
    await run(archive(newest(scenario)), crashed, {
      before: (operation) => {
        if (operation.name === "rename") renames += 1
        return renames > 7 ? "EIO" : undefined
      }
    })
    assert.isNotEmpty(inspect(crashed).problems)
    for (const when of ["before", "after"] as const) {
      for (let number = 1; ; number++) {
        const place = placeLike(crashed.root)
        const injected = DiskFaults.failAt({ number, when, lasting: false, code: "EIO" })
        await run(recover, place, both(watch(place, scenario), injected.hooks))
        const sets = await recoverAndCheck(place, scenario, `${when} ${number}`)
        assert.deepStrictEqual(sets, afterwards(scenario))
        fs.rmSync(place.root, { recursive: true })
        if (!injected.reached()) break
      }
    }
  })
})
