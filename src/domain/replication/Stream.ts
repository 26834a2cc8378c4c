import type { Snapshot } from "./State.ts"

/** One stream from `zfs send` to `zfs receive`. Names are those of the dataset's own snapshots and bookmarks. */
export type Stream =
  /** A snapshot with all it holds: for a target that does not exist, or, with `force`, for an untouched placeholder. */
  | { readonly _tag: "Full"; readonly to: Snapshot; readonly force: boolean }
  /** `-I`: every snapshot after `from` up to `to`. */
  | { readonly _tag: "Incremental"; readonly from: Snapshot; readonly to: Snapshot }
  /** `-i #bookmark`: to the first snapshot after the bookmark; the others need a stream of their own. */
  | {
      readonly _tag: "FromBookmark"
      readonly from: { readonly name: string; readonly guid: string }
      readonly to: Snapshot
    }
  /** `-t`: the rest of a stream that was interrupted; with `force`, of one onto an untouched placeholder. */
  | {
      readonly _tag: "Resume"
      readonly token: string
      readonly force: boolean
      readonly toGuid: string
      readonly toName: string
    }

/** The guid that the target's newest snapshot has when the stream has been received. */
export const endOf = (stream: Stream): string => (stream._tag === "Resume" ? stream.toGuid : stream.to.guid)
