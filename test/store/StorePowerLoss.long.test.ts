import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Store } from "../../src/store/Store.ts"
import * as crash from "../support/store/crashKit.ts"
import * as DiskFaults from "../support/store/diskFaults.ts"
import * as PowerLoss from "../support/store/powerLoss.ts"
import { abcd, archive, indexOf, placeIn, publicationOf, storeOn } from "../support/store/storeKit.ts"

const { dieAt, newest, operationsOf, placeLike, recover, recoverAndCheck, run, scenarios, template } = crash

let root = ""
beforeAll(async () => {
  root = await crash.setUp()
})
afterAll(crash.tearDown)

const quiet = Logger.remove(Logger.defaultLogger)

/** Runs it in a place like that, and gives every moment of it. */
const record = async <E>(
  from: string,
  work: (recorder: ReturnType<typeof PowerLoss.recorder>) => Effect.Effect<unknown, E, Store>,
  faults: DiskFaults.Hooks = {}
) => {
  const place = placeLike(from)
  const recorder = PowerLoss.recorder(place.root)
  const disk = Layer.provide(recorder.layer, DiskFaults.layer(faults))
  const exit = await Effect.runPromiseExit(
    work(recorder).pipe(Effect.provide(storeOn(place, disk)), Effect.provide(quiet))
  )
  fs.rmSync(place.root, { recursive: true })
  return { exit, moments: recorder.moments() }
}

/** As the job does it: the Archiver writes the zip and does not sync it. */
const publishing = (content: string) => (recorder: ReturnType<typeof PowerLoss.recorder>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      const staging = yield* store.stage(abcd)
      fs.writeFileSync(staging.zip, content, { flag: "wx" })
      recorder.wroteElsewhere(staging.zip)
      return yield* store.publish(staging, { ...publicationOf(content), index: indexOf(content) })
    })
  )

let cuts = 0
/** What a cut leaves, on a real disk. */
const placeAfter = (remains: PowerLoss.Remains) => {
  cuts += 1
  const cut = path.join(root, `cut-${cuts}`)
  PowerLoss.restore(remains, cut)
  return { ...placeIn(cut), root: cut }
}

/** Before any recovery, ABCD.zip is the one or the other, from the first publication on. */
const checkCurrent = (remains: PowerLoss.Remains, scenario: number, what: string) => {
  const zip = remains.files.find((file) => file.path === "target/ABCD/ABCD.zip")?.content.toString()
  const allowed = [crash.before(scenario).current, newest(scenario)]
  assert.include(allowed, zip, what)
}

/** The note that we made the folder may be lost, and the folder not: an empty one does no harm. */
const harmless = ["ABCD, empty"]

/** What every cut at these moments leaves is put right by recovery; gives the sets that it led to. */
const checkAll = async (
  moments: ReadonlyArray<PowerLoss.Moment>,
  scenario: number,
  exhaustive: number
): Promise<ReadonlySet<string | undefined>> => {
  const random = PowerLoss.seeded(scenario)
  const seen = new Set<string>()
  const led = new Set<string | undefined>()
  for (const moment of moments) {
    for (const [index, remains] of PowerLoss.cutsAt(moment, { exhaustive, random, seen }).entries()) {
      const what = `archives before it: ${scenario}; a power cut after ${moment.after}, case ${index}`
      checkCurrent(remains, scenario, what)
      const place = placeAfter(remains)
      led.add((await recoverAndCheck(place, scenario, what, harmless)).current)
      fs.rmSync(place.root, { recursive: true })
    }
  }
  return led
}

describe("a power cut", () => {
  it.each(scenarios)(
    "at any moment of a publication; archives before it: %i",
    async (scenario) => {
      const { exit, moments } = await record(template(scenario), publishing(newest(scenario)))
      if (Exit.isFailure(exit)) assert.fail(Cause.pretty(exit.cause))
      const led = await checkAll(moments, scenario, 4)
      assert.deepStrictEqual(led, new Set([crash.before(scenario).current, newest(scenario)]))
      // What was said to be published is.
      assert.deepStrictEqual(await checkAll(moments.slice(-1), scenario, 8), new Set([newest(scenario)]))
    },
    120_000
  )

  it("in a publication right after another: what was left of the first does not disturb it", async () => {
    const { exit, moments } = await record(template(1), (recorder) =>
      Effect.zipRight(publishing(newest(1))(recorder), publishing(newest(2))(recorder))
    )
    if (Exit.isFailure(exit)) assert.fail(Cause.pretty(exit.cause))
    const second = moments.findLastIndex(({ after }) => after.endsWith("ABCD.zip, elsewhere"))
    assert.isAbove(second, 0)
    await checkAll(moments.slice(second), 2, 4)
  }, 120_000)

  it.each(scenarios)(
    "while a publication that failed is undone; archives before it: %i",
    async (scenario) => {
      const last = (await operationsOf(scenario)).findLast(
        ({ name, path: file }) => name === "rename" && !file.includes("/index/")
      )
      const faults: DiskFaults.Hooks = {
        before: ({ number }) => (number === last?.number ? "EIO" : undefined)
      }
      const { exit, moments } = await record(template(scenario), publishing(newest(scenario)), faults)
      assert.isTrue(Exit.isFailure(exit))
      const failed = moments.findIndex(({ after }) => after.endsWith("/abort"))
      assert.isAbove(failed, 0)
      await checkAll(moments.slice(failed - 1), scenario, 4)
      assert.deepStrictEqual(await checkAll(moments.slice(-1), scenario, 8), new Set([crash.before(scenario).current]))
    },
    120_000
  )

  it.each([
    { what: "finished", steps: 4 },
    { what: "thrown away", steps: -1 }
  ])(
    "while an interrupted publication is $what",
    async ({ steps }) => {
      const changes = (await operationsOf(2)).filter((operation) => operation.changes)
      const committed = changes.findIndex((operation) => operation.path.endsWith("/commit"))
      const interrupted = placeLike(template(2))
      await run(archive(newest(2)), interrupted, dieAt(committed + steps).hooks)
      const { exit, moments } = await record(interrupted.root, () => recover)
      if (Exit.isFailure(exit)) assert.fail(Cause.pretty(exit.cause))
      assert.isAbove(moments.length, 5)
      const led = await checkAll(moments, 2, 4)
      assert.deepStrictEqual(led, new Set([steps > 0 ? newest(2) : crash.before(2).current]))
    },
    120_000
  )
})
