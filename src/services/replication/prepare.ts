import * as Effect from "effect/Effect"
import { ancestorsOf, parentOf, poolOf } from "../../domain/replication/DatasetName.ts"
import { rows } from "../../domain/ZfsList.ts"
import { type Commands, complaint } from "../zfs/command.ts"
import type { Preparation } from "./contract.ts"
import { listing } from "./end.ts"

/** See Receiver.unprepared. */
export const unprepared = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  properties: Readonly<Record<string, string>>
) {
  const purpose = purposeOf(dataset)
  const above = ancestorsOf(dataset)
  const path = [...above, dataset]
  const listed = yield* listing(commands, purpose, path, ["list", "-H", "-o", "name", ...path])
  const there = new Set(rows(listed).map(([name]) => name))
  const pool = poolOf(dataset)
  if (!there.has(pool)) {
    // zfs says best that there is no such pool.
    yield* commands.run(purpose, pool, ["list", "-H", "-o", "name", pool], "prepare")
  }
  const created = dataset !== pool && !there.has(dataset)
  const found: Preparation = {
    created,
    parents: above.filter((name) => name !== pool && !there.has(name)),
    changed: created ? [] : yield* differing(commands, purpose, dataset, properties)
  }
  return found
})

/** See Receiver.prepare. */
export const prepare = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  properties: Readonly<Record<string, string>>
) {
  const assignments = (names: ReadonlyArray<string>) =>
    names.map((name) => `${name}=${properties[name] ?? ""}`)
  const todo = yield* unprepared(commands, dataset, properties)
  for (const parent of todo.parents) yield* create(commands, parent, ["canmount=off"])
  if (todo.created) yield* create(commands, dataset, assignments(Object.keys(properties)))
  if (todo.changed.length > 0) {
    yield* commands.run(
      purposeOf(dataset),
      dataset,
      ["set", ...assignments(todo.changed), dataset],
      "prepare"
    )
  }
  return todo
})

const purposeOf = (dataset: string): string => `prepare ${dataset}`

/** Makes a dataset; one that somebody else made in the meantime is no failure. */
const create = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  assignments: ReadonlyArray<string>
) {
  const created = yield* commands.attempt([
    ...["create", ...assignments.flatMap((assignment) => ["-o", assignment]), dataset]
  ])
  if (created.exitCode === 0 || /dataset already exists/.test(complaint(created))) return
  return yield* commands.failure(`create ${dataset}`, parentOf(dataset) ?? dataset, created, "prepare")
})

/** Those of the properties that have another value. */
const differing = Effect.fnUntraced(function* (
  commands: Commands,
  purpose: string,
  dataset: string,
  properties: Readonly<Record<string, string>>
) {
  const names = Object.keys(properties)
  if (names.length === 0) return []
  const got = yield* commands.run(purpose, dataset, [
    ...["get", "-H", "-p", "-o", "property,value", names.join(","), dataset]
  ])
  const values = new Map(rows(got).map(([name = "", value = ""]) => [name, value] as const))
  return names.filter((name) => plain(values.get(name)) !== plain(properties[name]))
})

/** One value has two names: OpenZFS 2.0 and before say `posixacl`. */
const plain = (value: string | undefined): string | undefined => (value === "posixacl" ? "posix" : value)
