/** A bookmark: can be the base of an incremental stream, holds no data. Its guid is that of its snapshot. */
export interface Bookmark {
  /** The part after the `#`, or the `@` of a snapshot. */
  readonly name: string
  /** Decimal; the same on every machine that the snapshot was received on. */
  readonly guid: string
  /** Orders events of one pool: no clock can turn the transaction group back. */
  readonly createtxg: bigint
}

export interface Snapshot extends Bookmark {
  /** Seconds since 1970. */
  readonly creation: number
  readonly holds: number
  /** Datasets that are clones of it; `DATASET/%recv` while half of a stream that goes on from it waits for its rest. */
  readonly clones: ReadonlyArray<string>
  /** Bytes written since the snapshot before it; undefined where that was not asked for. */
  readonly written?: number | undefined
}

export const byCreatetxg = (a: { readonly createtxg: bigint }, b: { readonly createtxg: bigint }): number =>
  a.createtxg < b.createtxg ? -1 : a.createtxg > b.createtxg ? 1 : 0

export type DatasetKind = "filesystem" | "volume"

/** How streams of a dataset are made: raw (`zfs send -w`: as it is on disk, encrypted stays encrypted) or plain. */
export type SendMode = "raw" | "plain"

/** By createtxg. */
export interface Own {
  readonly snapshots: ReadonlyArray<Snapshot>
  readonly bookmarks: ReadonlyArray<Bookmark>
}

interface Dataset extends Own {
  readonly name: string
  readonly kind: DatasetKind
  readonly guid: string
}

export interface SourceDataset extends Dataset {
  readonly encrypted: boolean
  /** What opens it now, and raw streams bring along; undefined when it is not encrypted. */
  readonly key: Key | undefined
}

/** `pbkdf2salt`: new with each passphrase, so that equal salts mean the same one. "0": no passphrase. */
export type Salt = string

export interface Key {
  /** The dataset whose key zfs asks for: itself, or one above it that it was joined to or made below. */
  readonly root: string
  readonly salt: Salt | undefined
  /** Equal to `salt` while the key of the dataset is wrapped with that of `root`. Undefined when it was not read. */
  readonly rootSalt: Salt | undefined
  /** Whether the key of `root` is there, for files to be read and written. */
  readonly loaded: boolean
}

export interface TargetKey extends Key {
  readonly dependents: ReadonlyArray<{ readonly name: string; readonly salt: Salt | undefined }>
}

export interface TargetDataset extends Dataset {
  /** Bytes written since its newest snapshot, or since it was made when it has none. */
  readonly written: number
  readonly resumeToken: string | undefined
  /** How its streams were made so far, as {@link modeProperty} says; undefined when we never received it. */
  readonly mode: SendMode | undefined
  /** We made it to hold the datasets below it, and it cannot have been mounted or written to since. */
  readonly made: boolean
  /** {@link made}, and no program took a snapshot of it. */
  readonly placeholder: boolean
  readonly canmount: string | undefined
  readonly key: TargetKey | undefined
  /** Of a clone: its snapshot. When a clone of a replica is promoted, the replica becomes the clone. */
  readonly origin?: string
}

/** User property of a replica: its {@link SendMode}. Only a local value counts: children inherit it. */
export const modeProperty = "zipper:send"

/** User property of a dataset that we made as a parent only: the bytes it referenced when it was new. */
export const placeholderProperty = "zipper:placeholder"
