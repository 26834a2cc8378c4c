import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import { Instant } from "../text/Time.ts"
import type { FolderState } from "./FolderState.ts"

/**
 * What `verify` found of a folder's archives the last time: `<state folder>/verified/ABCD.json`. A result is about one archive:
 * once another is published in its place, it says nothing any more. Times are UTC, `2025-01-01T12:00:00Z`.
 */

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** Which archive it was, as far as its own files say. */
const identity = {
  zip_sha256: optional(Schema.String),
  /** FolderState.archived_at_utc, of a current archive. */
  archived_at_utc: optional(Schema.String)
}
const ArchiveIdentity = Schema.Struct(identity)
export type ArchiveIdentity = typeof ArchiveIdentity.Type

/** The archive that a folder's state is of. */
export const identityOfState = (state: FolderState | undefined): ArchiveIdentity =>
  state === undefined ? {} : { zip_sha256: state.zip_sha256, archived_at_utc: state.archived_at_utc }

/** The last result for one archive. */
export const Verified = Schema.Struct({
  ...identity,
  verified_at_utc: Instant,
  result: Schema.Literal("good", "foreign", "damaged", "missing", "unsettled"),
  /** The first thing that is wrong with it. */
  problem: optional(Schema.String)
})
export type Verified = typeof Verified.Type

export const FolderVerification = Schema.Struct({
  version: Schema.Literal(1),
  folder: FolderName,
  current: optional(Verified),
  previous: optional(Verified)
})
export type FolderVerification = typeof FolderVerification.Type

const isSame = (a: ArchiveIdentity, b: ArchiveIdentity): boolean =>
  a.zip_sha256 === b.zip_sha256 && a.archived_at_utc === b.archived_at_utc

/** Damaged, or not there. */
export const isBad = ({ result }: Pick<Verified, "result">): boolean => result === "damaged" || result === "missing"

/**
 * What is known with one more result. That nothing could be said, perhaps not even of which archive, does not make a damaged one a
 * good one; and only a look that tells which archive it was shows that another one is current by now.
 */
export const withResult = (
  before: FolderVerification | undefined,
  folder: FolderName,
  which: "current" | "previous",
  found: Verified
): FolderVerification => {
  const known = before?.[which]
  const next =
    found.result === "unsettled" &&
    known !== undefined &&
    isBad(known) &&
    (found.zip_sha256 === undefined || isSame(known, found))
      ? known
      : found
  const rotated =
    which === "current" &&
    known?.zip_sha256 !== undefined &&
    found.zip_sha256 !== undefined &&
    known.zip_sha256 !== found.zip_sha256
  return {
    ...before,
    version: 1,
    folder,
    // What was current then is the one before now.
    ...(rotated ? { previous: known } : {}),
    [which]: next
  }
}

/** The result for the archive that is current now. */
export const ofCurrent = (known: FolderVerification | undefined, now: ArchiveIdentity): Verified | undefined =>
  known?.current !== undefined && isSame(known.current, now) ? known.current : undefined

/** The result for the archive before the current one, by its digest: it may have been looked at when it was current. */
export const ofPrevious = (known: FolderVerification | undefined, sha256: string | undefined): Verified | undefined =>
  sha256 === undefined
    ? undefined
    : [known?.previous, known?.current]
        .filter((each) => each !== undefined)
        .find(({ zip_sha256 }) => zip_sha256 === sha256)
