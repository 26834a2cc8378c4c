import type * as Effect from "effect/Effect"
import type { Rollback } from "../../domain/replication/Plan.ts"
import type { SendMode, SourceDataset, TargetDataset } from "../../domain/replication/State.ts"
import type { Stream } from "../../domain/replication/Stream.ts"
import type { ZfsError } from "../zfs/contract.ts"

/** Who runs zfs on an end. */
export interface Account {
  readonly user: string
  readonly groups: ReadonlyArray<string>
  /** Root needs no delegation. */
  readonly root: boolean
}

/** What both ends can do. Every failure names the end (this host, nas, backup@nas) and what zfs said. */
export interface End {
  /** Name of the end for messages. */
  readonly label: string
  /** Who we are there. Fails as Unreachable, with what ssh said, when nobody answers. */
  readonly account: Effect.Effect<Account, ZfsError>
  /** What `zfs allow DATASET` prints; the dataset must exist. */
  readonly allowed: (dataset: string) => Effect.Effect<string, ZfsError>
  /** Runs `zfs allow -u USER permissions dataset`. */
  readonly grant: (
    user: string,
    permissions: ReadonlyArray<string>,
    dataset: string
  ) => Effect.Effect<void, ZfsError>
}

/** See the tag Sender. */
export interface SenderService extends End {
  /**
   * Each root and all below it, with snapshots and bookmarks, in the order in which `zfs list -r` gives them:
   * parents before children. `missing` are the roots that are not there.
   */
  readonly tree: (
    roots: ReadonlyArray<string>
  ) => Effect.Effect<
    { readonly datasets: ReadonlyArray<SourceDataset>; readonly missing: ReadonlyArray<string> },
    ZfsError
  >
  /** One dataset as it is now; undefined when it is gone. */
  readonly read: (dataset: string) => Effect.Effect<SourceDataset | undefined, ZfsError>
  /** What a resume token is for; `Gone` when its snapshot is not there any more, or nobody can read it. */
  readonly resumable: (token: string) => Effect.Effect<Resumable, ZfsError>
  /** Bytes that the stream would have, by `zfs send -nvP`. */
  readonly estimate: (dataset: string, stream: Stream, mode: SendMode) => Effect.Effect<number, ZfsError>
}

export type Resumable =
  | {
      readonly _tag: "Resumable"
      readonly toGuid: string
      readonly toName: string
      /** Its stream is raw, of an encrypted dataset. */
      readonly raw: boolean
    }
  | { readonly _tag: "Gone"; readonly reason: string }

/** See the tag Receiver. */
export interface ReceiverService extends End {
  /** Nothing is changed, only told and remembered: a dry run. Only wording goes by this. */
  readonly rehearsal?: boolean
  /** `roots` and all below them that exist, by name; a root that does not exist is no failure. */
  readonly tree: (roots: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, TargetDataset>, ZfsError>
  /** One dataset as it is now; undefined when there is none. */
  readonly read: (dataset: string) => Effect.Effect<TargetDataset | undefined, ZfsError>
  /**
   * Makes a parent that does not exist (its own parent does): canmount=off, marked as a placeholder. One that
   * somebody else made in the meantime is no failure.
   */
  readonly createParent: (dataset: string) => Effect.Effect<void, ZfsError>
  /** Throws away what an interrupted receive left (`zfs receive -A`). */
  readonly abort: (dataset: string) => Effect.Effect<void, ZfsError>
  /**
   * Goes back to a snapshot; looks again before that, and fails when more than `rollback.destroys` would be destroyed.
   * Never destroys clones, nor snapshots that are held.
   */
  readonly rollback: (dataset: string, rollback: Rollback) => Effect.Effect<void, ZfsError>
  /** Destroys one snapshot (`name` after the @) if it still has that guid, no hold and no clone; gone is no failure. */
  readonly destroySnapshot: (
    dataset: string,
    snapshot: { readonly name: string; readonly guid: string }
  ) => Effect.Effect<void, ZfsError>
  /** Looks what there is to do for `prepare`; does nothing. */
  readonly unprepared: (
    dataset: string,
    properties: Readonly<Record<string, string>>
  ) => Effect.Effect<Preparation, ZfsError>
  /**
   * Makes the dataset with these properties, or sets those that differ; missing parents are made too (canmount=off).
   * Gives what it did.
   */
  readonly prepare: (
    dataset: string,
    properties: Readonly<Record<string, string>>
  ) => Effect.Effect<Preparation, ZfsError>
}

/** What it takes to have a dataset with certain properties. */
export interface Preparation {
  /** It is not there: it is made with all of them. */
  readonly created: boolean
  /** Those above it that are not there, from the top down. */
  readonly parents: ReadonlyArray<string>
  /** Names of the properties that it has with another value. */
  readonly changed: ReadonlyArray<string>
}

/** How far a stream is. */
export interface StreamProgress {
  /** Bytes sent so far. */
  readonly sent: number
  /** Bytes in all, as zfs estimates them; undefined while it has not said. */
  readonly total: number | undefined
}

/** One stream, from where to where. */
export interface TransferRequest {
  readonly source: string
  readonly target: string
  readonly kind: SourceDataset["kind"]
  readonly stream: Stream
  readonly mode: SendMode
  readonly onProgress: (progress: StreamProgress) => void
}

/** See the tag Transfer. */
export interface TransferService {
  /** Whether the programs are there that streams pass through besides zfs (zstd, pv or mbuffer), where they are to run. */
  readonly tools: Effect.Effect<void, ZfsError>
  /**
   * Pipes one stream from the sender to the receiver, and returns when both have ended well. What was received of a stream
   * that is cut can be resumed. Fails with what either end said; Vanished when a snapshot of the stream is gone.
   */
  readonly send: (request: TransferRequest) => Effect.Effect<{ readonly bytes: number }, ZfsError>
}
