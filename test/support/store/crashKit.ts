import * as fs from "node:fs"
import * as path from "node:path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import { Store, type StoreSettings } from "../../../src/store/Store.ts"
import * as DiskFaults from "./diskFaults.ts"
import { inspect } from "./storeCheck.ts"
import { archive, copyTree, emptyPlace, fastTmp, placeIn, storeOn } from "./storeKit.ts"

// All of one size: sizes must not distinguish archives.
const contents = ["archive 1", "archive 2", "archive 3", "archive 4"]
const quiet = Logger.remove(Logger.defaultLogger)

/** How many archives have been published before the one that is disturbed. */
export const scenarios = [0, 1, 2]
/** The content of the archive that is disturbed, and both sets before and after it. */
export const newest = (scenario: number) => contents[scenario] ?? ""
export const before = (scenario: number) => ({
  current: contents[scenario - 1],
  previous: contents[scenario - 2]
})
export const afterwards = (scenario: number) => ({
  current: newest(scenario),
  previous: contents[scenario - 1]
})

let root = ""
let places = 0

/** A new place as it is before the disturbed publication, or as it was left in another place. */
export const placeLike = (template: string): StoreSettings & { readonly tmpDir: string; readonly root: string } => {
  places += 1
  const copy = path.join(root, `place-${places}`)
  copyTree(template, copy)
  return { ...placeIn(copy), root: copy }
}
/** How a scenario begins. */
export const template = (scenario: number) => path.join(root, `template-${scenario}`)

/** Runs it on the store of that place, with something happening around each operation on the disk. */
export const run = <A, E>(effect: Effect.Effect<A, E, Store>, place: StoreSettings, hooks: DiskFaults.Hooks = {}) =>
  Effect.runPromiseExit(effect.pipe(Effect.provide(storeOn(place, DiskFaults.layer(hooks))), Effect.provide(quiet)))

export const recover = Effect.flatMap(Store, (store) => store.recover)

/** Recovery by a process that nothing disturbs, and what must be true then; `harmless` may be left. */
export const recoverAndCheck = async (
  place: StoreSettings,
  scenario: number,
  what: string,
  harmless: ReadonlyArray<string> = []
) => {
  const exit = await run(recover, place)
  assert.isTrue(Exit.isSuccess(exit), what)
  if (Exit.isSuccess(exit)) assert.deepStrictEqual(exit.value.broken, [], what)
  return checkSets(place, scenario, what, harmless)
}

/** Both sets are whole, of before or after the publication, and there is nothing else. */
export const checkSets = (
  place: StoreSettings,
  scenario: number,
  what: string,
  harmless: ReadonlyArray<string> = []
) => {
  const found = inspect(place)
  assert.deepStrictEqual(found.problems, [], what)
  assert.deepStrictEqual(
    found.leftovers.filter((name) => !harmless.includes(name)),
    [],
    what
  )
  const sets = { current: found.current, previous: found.previous }
  assert.deepInclude([before(scenario), afterwards(scenario)], sets, what)
  return sets
}

/** ABCD.zip is there and whole after each operation, from its first publication on. */
export const watch = (place: StoreSettings, scenario: number): (() => void) => {
  const zip = path.join(place.targetPath, "ABCD", "ABCD.zip")
  const allowed = [before(scenario).current, newest(scenario)]
  return () => {
    if (scenario > 0 || fs.existsSync(zip)) assert.include(allowed, fs.readFileSync(zip, "utf8"))
  }
}

/** Both of these after each change. */
export const both = (first: () => void, hooks: DiskFaults.Hooks): DiskFaults.Hooks => ({
  ...hooks,
  after: (operation) => {
    if (operation.changes) first()
    return hooks.after?.(operation)
  }
})

/** Before all tests of a file: the places that the scenarios start from. Gives the folder that holds everything. */
export const setUp = async (): Promise<string> => {
  root = fs.mkdtempSync(path.join(fastTmp(), "zipper-crash-"))
  for (const scenario of scenarios) {
    const place = emptyPlace(template(scenario))
    for (const content of contents.slice(0, scenario)) await run(archive(content), place)
  }
  return root
}

/** After all tests of a file. */
export const tearDown = (): void => fs.rmSync(root, { recursive: true, force: true })

/** What an undisturbed publication does, operation by operation. */
export const operationsOf = async (scenario: number): Promise<ReadonlyArray<DiskFaults.Operation>> => {
  const operations: Array<DiskFaults.Operation> = []
  const hooks = { before: (operation: DiskFaults.Operation) => void operations.push(operation) }
  const place = placeLike(template(scenario))
  assert.isTrue(Exit.isSuccess(await run(archive(newest(scenario)), place, both(watch(place, scenario), hooks))))
  assert.deepStrictEqual(checkSets(place, scenario, "undisturbed"), afterwards(scenario))
  return operations
}

/** From its Nth change on, nothing reaches the disk any more: what a process leaves that ends there. */
export const dieAt = (ordinal: number) => {
  let changes = 0
  return {
    hooks: {
      before: (operation: DiskFaults.Operation) => {
        if (operation.changes) changes += 1
        return changes >= ordinal ? "EIO" : undefined
      }
    },
    reached: () => changes >= ordinal
  }
}

/** The last rename of the publication itself, before the index, which is no part of it. Everything before it has to be undone. */
export const lastStepOf = async (scenario: number): Promise<number> => {
  const operations = await operationsOf(scenario)
  const last = operations.findLast(({ name, path: file }) => name === "rename" && !file.includes("/index/"))
  return last?.number ?? 0
}

/** Stops recovery of what `crashed` holds at each of its own changes; another recovery puts it right. */
export const stopRecovery = async (crashed: string, scenario: number, what: string) => {
  for (let second = 1; ; second++) {
    const place = placeLike(crashed)
    const recovery = dieAt(second)
    await run(recover, place, both(watch(place, scenario), recovery.hooks))
    await recoverAndCheck(place, scenario, `${what}, in recovery ${second}`)
    fs.rmSync(place.root, { recursive: true })
    if (!recovery.reached()) break
  }
}

const writing = ({ changes, name }: DiskFaults.Operation) => changes || name === "sync"

// To fail after it was carried out is something else only for what writes.
const faults = [
  { when: "before", lasting: false, code: "EIO", where: () => true },
  { when: "after", lasting: false, code: "EIO", where: writing },
  { when: "before", lasting: true, code: "ENOSPC", where: writing },
  { when: "after", lasting: true, code: "ENOSPC", where: writing },
  {
    when: "before",
    lasting: false,
    code: "EPERM",
    where: ({ name }: DiskFaults.Operation) => name === "link"
  }
] as const

/** Everything that is tried with single operations that fail. */
export const faultCases = scenarios.flatMap((scenario) => faults.map((fault) => ({ scenario, ...fault })))

/** One of them: each operation fails once, and what is left is as before it or as after it. */
export const checkFault = async ({ scenario, where, ...fault }: (typeof faultCases)[number]) => {
  const numbers = (await operationsOf(scenario)).filter(where).map((operation) => operation.number)
  for (const number of numbers) {
    const place = placeLike(template(scenario))
    const { hooks } = DiskFaults.failAt({ number, ...fault })
    const exit = await run(archive(newest(scenario)), place, both(watch(place, scenario), hooks))
    const what = `operation ${number}`
    if (Exit.isFailure(exit)) assert.notInclude(String(exit.cause), "AssertionError", what)
    if (Exit.isFailure(exit) && !fault.lasting) {
      // Everything is as it was, before any recovery.
      assert.deepStrictEqual(checkSets(place, scenario, what), before(scenario), what)
    }
    const sets = await recoverAndCheck(place, scenario, what)
    if (Exit.isSuccess(exit)) assert.deepStrictEqual(sets, afterwards(scenario), what)
    fs.rmSync(place.root, { recursive: true })
  }
}
