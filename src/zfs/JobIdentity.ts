import * as Schema from "effect/Schema"
import { optional } from "../text/Document.ts"
import { Instant } from "../text/Time.ts"

/** `<target>/.zipper/job.json`: the archive job that the target belongs to. */
export const JobIdentity = Schema.Struct({
  version: Schema.Literal(1),
  /** Random, made once: in the marks of the job's snapshots, so it stays when target or source get another path. */
  id: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{16}$/)),
  /** What else snapshots of this job are marked with: versions before this file derived it from the two paths. */
  former_ids: Schema.Array(Schema.String),
  source_path: Schema.String,
  /** The dataset of the source, and the path of the source inside that dataset; a live source has neither. */
  dataset: optional(Schema.String),
  within: optional(Schema.String),
  /** When this was written. A copy of a target has the original at this path, one that moved has not. */
  target_path: Schema.String,
  since_utc: Instant
})
export type JobIdentity = typeof JobIdentity.Type

export interface SourceName {
  readonly source_path: string
  readonly dataset?: string | undefined
  readonly within?: string | undefined
}

export interface Owner extends SourceName {
  readonly since_utc: string
}

export interface JobIds {
  readonly id: string
  readonly former: ReadonlyArray<string>
}

/** Whether both name one source: the same path, or the same place in a dataset whose mount point has changed. */
export const isSameSource = (a: SourceName, b: SourceName): boolean =>
  a.source_path === b.source_path ||
  (a.dataset !== undefined && a.dataset === b.dataset && (a.within ?? "") === (b.within ?? ""))

/** A source for a message: `/mnt/tank/data (dataset tank/data)`. */
export const describeSource = ({ dataset, source_path }: SourceName): string =>
  dataset === undefined ? source_path : `${source_path} (dataset ${dataset})`
