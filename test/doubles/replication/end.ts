import * as Effect from "effect/Effect"
import type { End } from "../../../src/replication/End.ts"
import { ancestorsOf, isWithin } from "../../../src/zfs/DatasetName.ts"
import { type MemoryDataset, operation, type ReplicationMemory, zfsError } from "./world.ts"

/** What both ends can do, in memory. */
export const makeMemoryEnd = (
  memory: ReplicationMemory,
  side: "source" | "target",
  role: "sender" | "receiver"
): End => {
  const end = memory[side]
  return {
    label: end.label,
    account: operation(memory, `account ${role}`, () => Effect.succeed(end.account)),
    allowed: (dataset) =>
      operation(memory, `allowed ${role} ${dataset}`, () =>
        end.datasets.has(dataset)
          ? Effect.succeed(
              [dataset, ...[...ancestorsOf(dataset)].reverse()].map((name) => end.allow.get(name) ?? "").join("")
            )
          : Effect.fail(notThere(dataset))
      ),
    grant: (user, permissions, dataset) =>
      operation(memory, `grant ${role} ${dataset}`, () => {
        if (!end.datasets.has(dataset)) return Effect.fail(notThere(dataset))
        end.allow.set(dataset, (end.allow.get(dataset) ?? "") + allowTable(dataset, user, permissions))
        return Effect.void
      }),
    pool: (name) =>
      operation(memory, `pool ${role} ${name}`, () =>
        Effect.succeed({ ...wellPool, pool: name, ...end.pools.get(name) })
      ),
    isReadOnly: (name) =>
      operation(memory, `isReadOnly ${role} ${name}`, () => Effect.succeed(end.pools.get(name)?.readOnly === true)),
    readBlocks: (snapshot, onProgress) =>
      operation(memory, `readBlocks ${role} ${snapshot}`, () => {
        const [dataset = "", name] = snapshot.split("@")
        const found = end.datasets.get(dataset)?.snapshots.find((each) => each.name === name)
        if (found === undefined)
          return Effect.fail(zfsError("Vanished", `cannot open '${snapshot}': it does not exist`))
        onProgress({ sent: found.bytes, total: found.bytes })
        return Effect.succeed({ bytes: found.bytes })
      })
  }
}

const wellPool = {
  state: "ONLINE",
  devices: [],
  errors: [],
  unnamed: false,
  scan: "scrub repaired 0B in 00:00:01 with 0 errors on Thu Jan  1 00:00:00 1970"
}

/** What `zfs allow` prints of a dataset where a user may do this, there and below. */
export const allowTable = (dataset: string, user: string, permissions: ReadonlyArray<string>): string =>
  `---- Permissions on ${dataset} ${"-".repeat(Math.max(4, 52 - dataset.length))}\nLocal+Descendent permissions:\n\tuser ${user} ${permissions.join(",")}\n`

/** Each root and all below it, parents first. */
export const within = (
  datasets: ReadonlyMap<string, MemoryDataset>,
  roots: ReadonlyArray<string>
): ReadonlyArray<MemoryDataset> => {
  const names = [...datasets.keys()].sort(byName)
  const found = new Set(roots.flatMap((root) => names.filter((name) => isWithin(name, root))))
  return [...found].flatMap((name) => datasets.get(name) ?? [])
}

// As `zfs list -r` has them: all of `a` before `a b`.
const byName = (a: string, b: string): number => {
  const left = a.replaceAll("/", "\0")
  const right = b.replaceAll("/", "\0")
  return left < right ? -1 : left > right ? 1 : 0
}

export const notThere = (dataset: string) => zfsError("NotFound", `cannot open '${dataset}': dataset does not exist`)
