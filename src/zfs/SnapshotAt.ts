import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Scope from "effect/Scope"
import type { FolderName } from "../source/FolderName.ts"
import { Process } from "../system/Process.ts"
import * as RawPath from "../text/RawPath.ts"
import { nearest, quoted } from "../text/Text.ts"
import { parseMoment, utcSeconds } from "../text/Time.ts"
import type { Snapshot } from "./Dataset.ts"
import { local } from "./Endpoint.ts"
import { readTarget, takenBefore } from "./TargetSnapshots.ts"
import { hold, inSnapshot } from "./Zfs.ts"
import { makeCommands, readOutput, ZfsError } from "./ZfsCommand.ts"
import { datasetOf, listing, readSnapshots, rows, shortName, snapshotColumns } from "./ZfsList.ts"

/** No snapshot is what `--at` asks for; the message says which there are. */
class NoSuchSnapshot extends Data.TaggedError("NoSuchSnapshot")<{ readonly message: string }> {}

/** A snapshot of the target, mounted until the scope closes. */
export interface TargetView {
  /** The target in the snapshot, without symlinks. */
  readonly root: string
  /** Where a folder of it is read. Fails where that cannot be read. */
  readonly home: (folder: FolderName) => Effect.Effect<string, ZfsError>
}

const remedies = {
  plain: "there is no snapshot of it to read",
  frozen: "leave --at out, or name the folder in the dataset itself"
}

/** Opens the snapshot that `at` asks for, a name or a time, and says which that is. */
export const openTargetAt = Effect.fn("openTargetAt")(function* (target: string, at: string) {
  const process = yield* Process
  const commands = makeCommands(process, local, { role: "target" })
  const layout = yield* Effect.mapError(readTarget({ commands, process }, target, remedies), (error) =>
    error.reason === "NotZfs" ? new NoSuchSnapshot({ message: `--at: ${error.message}` }) : error
  )
  if (layout === undefined) return yield* new NoSuchSnapshot({ message: `the target ${target} does not exist` })
  const { dataset, mountpoint, places, within } = layout
  const purpose = `list the snapshots of ${dataset}`
  const listed = yield* commands.run(purpose, dataset, [
    ...["list", "-H", "-p", "-d", "1", "-t", "snapshot", "-o", snapshotColumns],
    dataset
  ])
  const all = (yield* readOutput(commands, purpose, readSnapshots(listed))).get(dataset)?.snapshots ?? []
  const ours = new Set((yield* takenBefore({ commands }, [dataset], undefined)).map(({ name }) => name))
  const { moment, snapshot } = yield* Effect.mapError(
    chooseAt({ dataset, all, ours, now: yield* Clock.currentTimeMillis }, at),
    (message) => new NoSuchSnapshot({ message: `--at: ${message}` })
  )
  const asked = moment === undefined ? "" : `, the newest of zipper's that is not younger than ${utcSeconds(moment)}`
  yield* Effect.logInfo(`reading ${dataset}@${snapshot.name} of ${utcSeconds(snapshot.creation * 1000)}${asked}`)
  yield* hold(inSnapshot(mountpoint, snapshot.name), `the snapshot ${dataset}@${snapshot.name}`)
  const root = RawPath.join(inSnapshot(mountpoint, snapshot.name), within)
  const names = [...places.values()].flatMap((place) =>
    place.dataset === undefined ? [] : [`${place.dataset}@${snapshot.name}`]
  )
  // Those that the datasets of folders do not have make the exit status 1; the others are listed all the same.
  const found = names.length === 0 ? "" : (yield* commands.attempt(listing("snapshot", "name", names))).stdout
  const there = new Set(rows(found).map(([name = ""]) => datasetOf(name)))
  const scope = yield* Effect.scope
  const home = yield* Effect.cachedFunction(
    Effect.fnUntraced(function* (folder: FolderName) {
      const place = places.get(folder)
      // Without a snapshot of its own, the folder was none or a plain one then.
      if (place?.dataset === undefined || !there.has(place.dataset))
        return RawPath.display(RawPath.join(root, RawPath.fromText(folder)))
      const what = `the snapshot ${place.dataset}@${snapshot.name}`
      if (!place.mounted)
        return yield* new ZfsError({
          reason: "Unmounted",
          message: `${what} cannot be read: ${place.problem}`,
          transient: false
        })
      const top = inSnapshot(place.mountpoint, snapshot.name)
      yield* Scope.extend(hold(top, what), scope)
      return RawPath.display(top)
    })
  )
  return { root: RawPath.display(root), home } satisfies TargetView
})

interface Known {
  readonly dataset: string
  readonly all: ReadonlyArray<Snapshot>
  readonly ours: ReadonlySet<string>
  /** In milliseconds since 1970. */
  readonly now: number
}

interface Chosen {
  readonly snapshot: Snapshot
  /** The time that was asked for, in milliseconds since 1970. */
  readonly moment: number | undefined
}

/** The snapshot of that name, else the newest of ours that is not younger than that time; left: why there is none. */
export const chooseAt = ({ all, dataset, now, ours }: Known, at: string): Either.Either<Chosen, string> => {
  const named = all.find(({ name }) => at === name || at === `${dataset}@${name}`)
  if (named !== undefined) return Either.right({ snapshot: named, moment: undefined })
  const moment = parseMoment(at, now)
  if (moment === undefined) return Either.left(unknownName(dataset, all, at))
  const dated = all.filter(({ name }) => ours.has(name)).sort((a, b) => a.creation - b.creation)
  const snapshot = dated.findLast(({ creation }) => creation * 1000 <= moment)
  if (snapshot !== undefined) return Either.right({ snapshot, moment })
  const [first] = dated
  const asked = `${at} is ${utcSeconds(moment)}`
  return Either.left(
    first === undefined
      ? `${asked}, and ${dataset} has no snapshot that zipper took (target_snapshots); others are read by their names`
      : `${asked}, before the first snapshot of ${dataset}: ${first.name} of ${utcSeconds(first.creation * 1000)}`
  )
}

const mostNames = 3

const unknownName = (dataset: string, all: ReadonlyArray<Snapshot>, at: string): string => {
  const names = all.map(({ name }) => name)
  const near = nearest(shortName(at), names).slice(0, mostNames).join(", ")
  const there = near === "" ? "it has none at all" : `the nearest are ${near}`
  return `${dataset} has no snapshot ${quoted(at)}, and that is no time such as 2026-11-28, 2026-11-28T10:00 or 3d; ${there}`
}
