import * as FastCheck from "effect/FastCheck"
import { plan } from "../../../src/replication/Plan.ts"
import {
  addSnapshot,
  type MemoryDataset,
  type MemorySnapshot,
  Refused,
  type ReplicationMemory,
  removeSnapshot,
  rollBackTo,
  write
} from "../../doubles/replication/world.ts"
import { ModelWorld } from "./zfsModel.ts"

/** Something that happens to a source or its replica. `at` picks one of what there is. */
export type Event =
  | { readonly _tag: "Snapshot"; readonly end: End; readonly name: string; readonly creation: number }
  | { readonly _tag: "Destroy" | "Rollback" | "Clone" | "Hold"; readonly end: End; readonly at: number }
  | { readonly _tag: "Rename" | "Bookmark"; readonly end: End; readonly at: number; readonly name: string }
  /** A bookmark takes the place of a snapshot. */
  | { readonly _tag: "Retire"; readonly end: "source"; readonly at: number }
  | { readonly _tag: "Write"; readonly end: End }
  | { readonly _tag: "Replicate"; readonly rollback: boolean; readonly cutAfter: number }
  | { readonly _tag: "CreateTarget"; readonly placeholder: boolean }
  | { readonly _tag: "DestroyTarget" }

type End = "source" | "target"

/** Few, so that they meet again; a snapshot may be called 0, or like another one was. */
const name = FastCheck.constantFrom("0", "daily", "a", "aa", "x y")
const end = FastCheck.constantFrom<End>("source", "target")
const at = FastCheck.nat(20)
const creation = FastCheck.integer({ min: -5, max: 5 })

const event: FastCheck.Arbitrary<Event> = FastCheck.oneof(
  {
    weight: 8,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Snapshot" as const),
      end: FastCheck.constantFrom<End>("source", "source", "source", "target"),
      name,
      creation
    })
  },
  {
    weight: 3,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constantFrom("Destroy" as const, "Destroy" as const, "Rollback" as const),
      end,
      at
    })
  },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constantFrom("Clone" as const, "Hold" as const),
      end,
      at
    })
  },
  {
    weight: 2,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constantFrom("Rename" as const, "Bookmark" as const),
      end,
      at,
      name
    })
  },
  {
    weight: 3,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Retire" as const),
      end: FastCheck.constant("source" as const),
      at
    })
  },
  { weight: 2, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Write" as const), end }) },
  {
    weight: 8,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Replicate" as const),
      rollback: FastCheck.boolean(),
      cutAfter: FastCheck.constantFrom(0, 1, 2, 99, 99, 99)
    })
  },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("CreateTarget" as const),
      placeholder: FastCheck.boolean()
    })
  },
  { weight: 1, arbitrary: FastCheck.constant({ _tag: "DestroyTarget" as const }) }
)

/** What may have happened to a source and its replica before we come. */
export const history: FastCheck.Arbitrary<ReadonlyArray<Event>> = FastCheck.array(event, {
  maxLength: 40,
  size: "max"
})

/** The world after these events; what zfs refuses did not happen. */
export const worldAfter = (events: ReadonlyArray<Event>): ModelWorld => {
  const world = new ModelWorld()
  for (const each of events) {
    try {
      happen(world, each)
    } catch (error) {
      if (!(error instanceof Refused) || each._tag === "Replicate") throw error
    }
  }
  return world
}

const happen = (world: ModelWorld, each: Event): void => {
  switch (each._tag) {
    case "Replicate": {
      const options = { mode: "plain", rollback: each.rollback } as const
      world.carryOut(plan(world.sourceState, world.targetState, options), each.cutAfter)
      return
    }
    case "CreateTarget":
      if (world.target === undefined) world.createTarget(each.placeholder)
      return
    case "DestroyTarget":
      world.destroyTarget()
      return
    default: {
      const dataset = each.end === "source" ? world.source : world.target
      if (dataset !== undefined) happenTo(world.memory, dataset, each)
    }
  }
}

type DatasetEvent = Exclude<Event, { readonly _tag: "Replicate" | "CreateTarget" | "DestroyTarget" }>

const happenTo = (memory: ReplicationMemory, dataset: MemoryDataset, each: DatasetEvent): void => {
  if (each._tag === "Write") {
    write(dataset, 4096)
    return
  }
  if (each._tag === "Snapshot") {
    addSnapshot(memory, dataset, each.name, { creation: each.creation })
    return
  }
  const snapshot = dataset.snapshots[each.at % Math.max(1, dataset.snapshots.length)]
  if (snapshot === undefined) return
  const change = (to: Partial<MemorySnapshot>) => {
    dataset.snapshots = dataset.snapshots.map((one) => (one === snapshot ? { ...one, ...to } : one))
  }
  const bookmark = (name: string) => {
    if (dataset.bookmarks.some((one) => one.name === name)) throw new Refused(`${name} exists`)
    const { createtxg, guid } = snapshot
    dataset.bookmarks = [...dataset.bookmarks, { name, guid, createtxg }]
  }
  switch (each._tag) {
    case "Destroy":
      removeSnapshot(dataset, snapshot.name)
      return
    case "Rollback":
      rollBackTo(dataset, snapshot)
      return
    case "Retire":
      bookmark(`was ${snapshot.guid}`)
      removeSnapshot(dataset, snapshot.name)
      return
    case "Bookmark":
      bookmark(each.name)
      return
    case "Rename":
      if (dataset.snapshots.some(({ name }) => name === each.name)) throw new Refused(`${each.name} exists`)
      change({ name: each.name })
      return
    case "Hold":
      change({ holds: 1 })
      return
    case "Clone":
      change({ clones: ["tank/clone"] })
  }
}
