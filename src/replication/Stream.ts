import {
  type Bookmark,
  modeProperty,
  type SendMode,
  type Snapshot,
  type SourceDataset,
  type TargetDataset
} from "../zfs/Dataset.ts"
import { type Command, commandOn, type Endpoint, type Filter, onFiltered } from "../zfs/Endpoint.ts"
import { ZfsError } from "../zfs/ZfsCommand.ts"

/** One stream from `zfs send` to `zfs receive`. Names are those of the dataset's own snapshots and bookmarks. */
export type Stream =
  /** One snapshot in full: for a target that does not exist, or, with `force`, for an untouched placeholder. */
  | { readonly _tag: "Full"; readonly to: Snapshot; readonly force: boolean }
  /** `-I`: all snapshots after `from` up to `to`. */
  | { readonly _tag: "Incremental"; readonly from: Snapshot; readonly to: Snapshot }
  /** `-i #bookmark`: to the first snapshot after the bookmark; the others need a stream of their own. */
  | { readonly _tag: "FromBookmark"; readonly from: Pick<Bookmark, "name" | "guid">; readonly to: Snapshot }
  /** `-t`: the rest of an interrupted stream; `force` as above. */
  | {
      readonly _tag: "Resume"
      readonly token: string
      readonly force: boolean
      readonly toGuid: string
      readonly toName: string
    }

/** The guid that the target's newest snapshot has when the stream has been received. */
export const endOf = (stream: Stream): string => (stream._tag === "Resume" ? stream.toGuid : stream.to.guid)

/** The snapshots that it brings, as far as the source has them. */
export const contentsOf = (stream: Stream, source: SourceDataset | undefined): ReadonlyArray<Snapshot> => {
  if (stream._tag === "Full" || stream._tag === "FromBookmark") return [stream.to]
  return (source?.snapshots ?? []).filter(({ createtxg, guid }) =>
    stream._tag === "Resume"
      ? guid === stream.toGuid
      : createtxg > stream.from.createtxg && createtxg <= stream.to.createtxg
  )
}
/** How blocks go: `raw` (-w), as programs read them (`plain`), or the same as the source has compressed them (`compressed`: -Lc). */
export type SendFormat = SendMode | "compressed"

/**
 * The format of streams into `place`: the target, or the nearest dataset above it. No encrypted dataset takes the embedded
 * blocks that -w sends of what is not encrypted. -L stays: a replica that received large blocks takes no stream without them.
 */
export const formatOf = (
  { encrypted }: Pick<SourceDataset, "encrypted">,
  place: Pick<TargetDataset, "key"> | undefined,
  mode: SendMode
): SendFormat => (mode === "raw" && !encrypted && place?.key !== undefined ? "compressed" : mode)

export interface TransferRequest {
  readonly source: string
  readonly target: string
  readonly kind: SourceDataset["kind"]
  readonly stream: Stream
  readonly mode: SendMode
  readonly format: SendFormat
  /** The user property that the target gets, with the mode; left out: {@link modeProperty}. */
  readonly mark?: string | undefined
  readonly onProgress: (progress: StreamProgress) => void
}

export interface StreamProgress {
  readonly sent: number
  /** As zfs estimates it, never less than `sent`; undefined while zfs has printed no estimate. */
  readonly total: number | undefined
}

type Range = Exclude<Stream, { readonly _tag: "Resume" }>

/** What a stream goes on from, with its sign; undefined for a full one. */
const baseOf = (stream: Range): string | undefined =>
  stream._tag === "Full" ? undefined : `${stream._tag === "Incremental" ? "@" : "#"}${stream.from.name}`

/** For messages: `tank/a@1..@3`. */
export const describeStream = (dataset: string, stream: Stream): string => {
  if (stream._tag === "Resume") return `the rest of ${stream.toName}`
  const base = baseOf(stream)
  return `${dataset}${base === undefined ? "" : `${base}..`}@${stream.to.name}`
}

/** For messages that name the dataset elsewhere: `@1 to @3`. */
export const describeRange = (stream: Stream): string => {
  if (stream._tag === "Resume") return `the rest of ${stream.toName}`
  const base = baseOf(stream)
  return base === undefined ? `@${stream.to.name} in full` : `${base} to @${stream.to.name}`
}

/** `-vP`: progress on stderr, for machines. */
export const sendArguments = (dataset: string, stream: Stream, format: SendFormat): ReadonlyArray<string> =>
  // A resume token contains the format of its stream.
  stream._tag === "Resume"
    ? ["send", "-vP", "-t", stream.token]
    : ["send", ...formatFlags[format], "-vP", ...rangeOf(dataset, stream)]

const formatFlags = { raw: ["-w"], plain: [], compressed: ["-Lc"] } as const

const rangeOf = (dataset: string, stream: Range): ReadonlyArray<string> => {
  const to = `${dataset}@${stream.to.name}`
  const base = baseOf(stream)
  return base === undefined ? [to] : [stream._tag === "Incremental" ? "-I" : "-i", `${dataset}${base}`, to]
}

export const estimateArguments = (dataset: string, stream: Stream, format: SendFormat): ReadonlyArray<string> =>
  sendArguments(dataset, stream, format).map((argument) => (argument === "-vP" ? "-nvP" : argument))

/** `-u` mounts nothing, `-s` makes a cut stream resumable, canmount=off (no property of volumes) prevents a later mount. */
export const receiveArguments = (
  target: string,
  stream: Stream,
  { kind, mark = modeProperty, mode }: Pick<TransferRequest, "kind" | "mark" | "mode">
): ReadonlyArray<string> => [
  ...["receive", "-u", "-s"],
  ...((stream._tag === "Full" || stream._tag === "Resume") && stream.force ? ["-F"] : []),
  ...(kind === "filesystem" ? ["-o", "canmount=off"] : []),
  ...["-o", `${mark}=${mode}`],
  target
]

/**
 * What a failure of `zfs send` means: a snapshot that is missing when the stream is made existed when the stream was planned,
 * and a block that cannot be read stays so.
 */
export const sourceFailure = (error: ZfsError): ZfsError => {
  const { message, reason } = error
  const isGone = reason === "NotFound" || (reason === "Other" && /not an earlier snapshot/.test(message))
  const isUnreadable = /Input\/output error|Invalid exchange|Integrity check failed/.test(message)
  if (!isGone && !isUnreadable) return error
  return new ZfsError({ reason: isGone ? "Vanished" : "Unreadable", message, transient: false, cause: error })
}

export interface Ends {
  readonly source: Endpoint
  readonly target: Endpoint
  readonly compress: "none" | "zstd"
  readonly limit: { readonly program: "pv" | "mbuffer"; readonly bytesPerSecond: number } | undefined
}

export type Part = "source" | "compress" | "limit" | "decompress" | "target"

interface Stage extends Command {
  readonly part: Part
  /** Two programs run in one ssh: its exit status is that of the last one, and a line of stderr has the other's. */
  readonly double: boolean
}

/** The programs, in order. On another machine, zstd runs within the ssh of zfs; the limit applies on this machine. */
export const stagesOf = (
  { compress, limit, source, target }: Ends,
  send: ReadonlyArray<string>,
  receive: ReadonlyArray<string>
): ReadonlyArray<Stage> => {
  const zstd = compress === "zstd"
  const single = (part: Part, command: Command): Stage => ({ part, double: false, ...command })
  const end = (part: Part, endpoint: Endpoint, args: ReadonlyArray<string>, filter: Filter): Stage => {
    const command = { program: "zfs", args }
    return zstd && endpoint._tag === "Remote"
      ? { part, double: true, ...onFiltered(endpoint, command, filter) }
      : single(part, commandOn(endpoint, command))
  }
  const filter = (part: Part, endpoint: Endpoint, ...args: ReadonlyArray<string>) =>
    zstd && endpoint._tag === "Local" ? [single(part, { program: "zstd", args })] : []
  return [
    end("source", source, send, { at: "out", line: "zstd -q -c" }),
    ...filter("compress", source, "-q", "-c"),
    ...(limit === undefined ? [] : [single("limit", limiterOf(limit))]),
    ...filter("decompress", target, "-q", "-dc"),
    end("target", target, receive, { at: "in", line: "zstd -q -dc" })
  ]
}

const limiterOf = ({ bytesPerSecond, program }: NonNullable<Ends["limit"]>): Command => ({
  program,
  args: ["-q", program === "pv" ? "-L" : "-r", String(bytesPerSecond)]
})
