import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import { optional } from "../text/Document.ts"
import { Instant } from "../text/Time.ts"
import type { FolderState } from "./FolderState.ts"

const identity = {
  zip_sha256: optional(Schema.String),
  /** FolderState.archived_at_utc, of a current archive. */
  archived_at_utc: optional(Schema.String)
}
export type ArchiveIdentity = Pick<Verified, keyof typeof identity>

export const identityOfState = (state: FolderState | undefined): ArchiveIdentity =>
  state === undefined ? {} : { zip_sha256: state.zip_sha256, archived_at_utc: state.archived_at_utc }

export const Verified = Schema.Struct({
  ...identity,
  verified_at_utc: Instant,
  result: Schema.Literal("good", "foreign", "damaged", "missing", "unsettled"),
  problem: optional(Schema.String)
})
export type Verified = typeof Verified.Type

/** `<state folder>/verified/ABCD.json`: the last results of `verify`. They say nothing of an archive that is published later. */
export const FolderVerification = Schema.Struct({
  version: Schema.Literal(1),
  folder: FolderName,
  current: optional(Verified),
  previous: optional(Verified)
})
export type FolderVerification = typeof FolderVerification.Type

const isSame = (a: ArchiveIdentity, b: ArchiveIdentity): boolean =>
  a.zip_sha256 === b.zip_sha256 && a.archived_at_utc === b.archived_at_utc

export const isBad = ({ result }: Pick<Verified, "result">): boolean => result === "damaged" || result === "missing"

/** An unsettled result does not replace a bad one, unless another archive is current, which only a digest shows. */
export const withResult = (
  before: FolderVerification | undefined,
  folder: FolderName,
  which: "current" | "previous",
  found: Verified
): FolderVerification => {
  const known = before?.[which]
  if (known === undefined) return { ...before, version: 1, folder, [which]: found }
  const isKnown = found.zip_sha256 !== undefined
  const stays = found.result === "unsettled" && isBad(known) && (!isKnown || isSame(known, found))
  const rotated =
    which === "current" && isKnown && known.zip_sha256 !== undefined && known.zip_sha256 !== found.zip_sha256
  return { ...before, version: 1, folder, ...(rotated ? { previous: known } : {}), [which]: stays ? known : found }
}

export const ofCurrent = (known: FolderVerification | undefined, now: ArchiveIdentity): Verified | undefined =>
  known?.current !== undefined && isSame(known.current, now) ? known.current : undefined

/** The result for the archive before the current one, by its digest: it may be from when that one was current. */
export const ofPrevious = (known: FolderVerification | undefined, sha256: string | undefined): Verified | undefined =>
  sha256 === undefined ? undefined : [known?.previous, known?.current].find((result) => result?.zip_sha256 === sha256)
