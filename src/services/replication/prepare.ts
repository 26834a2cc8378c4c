import * as Effect from "effect/Effect"
import { ancestorsOf, parentOf, poolOf } from "../../domain/replication/DatasetName.ts"
import { rows } from "../../domain/ZfsList.ts"
import { type Commands, complaint } from "../zfs/command.ts"
import { listing } from "./end.ts"

/** See Receiver.prepare. */
export const prepare = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  properties: Readonly<Record<string, string>>
) {
  const purpose = `prepare ${dataset}`
  const assignments = (names: ReadonlyArray<string>) =>
    names.map((name) => `${name}=${properties[name] ?? ""}`)
  const path = [...ancestorsOf(dataset), dataset]
  const listed = yield* listing(commands, purpose, path, ["list", "-H", "-o", "name", ...path])
  const there = new Set(rows(listed).map(([name]) => name))
  const pool = poolOf(dataset)
  if (!there.has(pool)) {
    // zfs says best that there is no such pool.
    yield* commands.run(purpose, pool, ["list", "-H", "-o", "name", pool], "prepare")
  }
  for (const missing of path.filter((name) => name !== pool && !there.has(name))) {
    const wanted = missing === dataset ? assignments(Object.keys(properties)) : ["canmount=off"]
    const created = yield* commands.attempt([
      ...["create", ...wanted.flatMap((assignment) => ["-o", assignment]), missing]
    ])
    if (created.exitCode !== 0 && !/dataset already exists/.test(complaint(created))) {
      return yield* commands.failure(`create ${missing}`, parentOf(missing) ?? missing, created, "prepare")
    }
  }
  if (!there.has(dataset)) return { created: true, changed: [] }
  const changed = yield* differing(commands, purpose, dataset, properties)
  if (changed.length > 0) {
    yield* commands.run(purpose, dataset, ["set", ...assignments(changed), dataset], "prepare")
  }
  return { created: false, changed }
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
