import { randomBytes } from "node:crypto"
import { basename, join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Disk } from "../system/Disk.ts"
import { isSameSource, JobIdentity, type JobIds, type Owner, type SourceName } from "../zfs/JobIdentity.ts"
import type { Layout } from "./Layout.ts"
import { utcSeconds } from "./Metadata.ts"
import { type Corrupt, cursor, jsonFile, load, makeJobFolder, replace } from "./Records.ts"
import { isFolder, isSameInode } from "./SafeFolder.ts"

const { decode, encode } = jsonFile(JobIdentity)

const identity = Effect.fnUntraced(function* (layout: Layout, corrupt: Corrupt) {
  if (!(yield* isFolder(layout.job))) return undefined
  return yield* load(
    layout.identity,
    decode,
    corrupt,
    "snapshots that this job took earlier are not recognised any more; zipper check names them"
  )
})

/** The source that the target belongs to: a target of a version without `job.json` belongs to the source of its cursor. */
export const owner = Effect.fnUntraced(function* (layout: Layout, corrupt: Corrupt) {
  const known = yield* identity(layout, corrupt)
  if (known !== undefined) return known satisfies Owner
  const found = yield* cursor(layout, corrupt)
  return found && ({ source_path: found.source_path, since_utc: found.advanced_at_utc } satisfies Owner)
})

/** The identity that `source` has here: the one in the target, with what has changed; a new one where there is none. */
const identityOf = Effect.fnUntraced(function* (layout: Layout, source: SourceName, corrupt: Corrupt) {
  const now = utcSeconds(yield* Clock.currentTimeMillis)
  const found = yield* identity(layout, corrupt)
  const { dataset, source_path, within } = source
  const place = {
    source_path,
    ...(dataset === undefined ? {} : { dataset }),
    ...(within === undefined ? {} : { within }),
    target_path: layout.target
  }
  const known = found === undefined || (yield* isCopy(layout, found)) ? undefined : found
  const next: JobIdentity = {
    version: 1,
    id: known?.id ?? randomBytes(8).toString("hex"),
    former_ids: known?.former_ids ?? [layout.pathId],
    ...place,
    since_utc: known !== undefined && isSameSource(known, source) ? known.since_utc : now
  }
  return { found, next }
})

/** Whether the target is a copy of one that is still there: with one id, the two would destroy each other's snapshots. */
const isCopy = Effect.fnUntraced(
  function* (layout: Layout, found: JobIdentity) {
    if (found.target_path === layout.target) return false
    const disk = yield* Disk
    const path = join(found.target_path, basename(layout.job), basename(layout.identity))
    if (isSameInode(yield* disk.stat(path), yield* disk.stat(layout.identity))) return false
    const content = yield* disk.read(path)
    return content !== undefined && Option.getOrUndefined(decode(content))?.id === found.id
  },
  Effect.catchAll((error) =>
    // Not known is not ours: at the worst, snapshots stay that check names.
    Effect.as(Effect.logWarning(`this target is taken for a copy, and gets a new job id: ${error.message}`), true)
  )
)

const idsOf = ({ former_ids, id }: JobIdentity): JobIds => ({ id, former: former_ids })

export const claim = Effect.fnUntraced(function* (layout: Layout, source: SourceName) {
  const { found, next } = yield* identityOf(layout, source, "set aside")
  const content = encode(next)
  if (found === undefined || encode(found) !== content) {
    yield* makeJobFolder(layout.job)
    yield* replace(layout.identity, content)
  }
  return idsOf(next)
})

export const wouldClaim = (layout: Layout, source: SourceName) =>
  Effect.map(identityOf(layout, source, "dry run"), ({ next }) => idsOf(next))
