import { modeProperty, type SendMode, type SourceDataset } from "./State.ts"
import type { Stream } from "./Stream.ts"

/** Arguments of `zfs send` for a stream. `-vP`: how far it is, on stderr, for machines. */
export const sendArguments = (dataset: string, stream: Stream, mode: SendMode): ReadonlyArray<string> =>
  // A resume token says by itself whether its stream is raw.
  stream._tag === "Resume"
    ? ["send", "-vP", "-t", stream.token]
    : ["send", ...(mode === "raw" ? ["-w"] : []), "-vP", ...rangeOf(dataset, stream)]

/** Arguments of the `zfs send` that only says how big the stream would be. */
export const estimateArguments = (dataset: string, stream: Stream, mode: SendMode): ReadonlyArray<string> =>
  sendArguments(dataset, stream, mode).map((argument) => (argument === "-vP" ? "-nvP" : argument))

const rangeOf = (
  dataset: string,
  stream: Exclude<Stream, { readonly _tag: "Resume" }>
): ReadonlyArray<string> => {
  const to = `${dataset}@${stream.to.name}`
  switch (stream._tag) {
    case "Full":
      return [to]
    case "Incremental":
      return ["-I", `${dataset}@${stream.from.name}`, to]
    case "FromBookmark":
      return ["-i", `${dataset}#${stream.from.name}`, to]
  }
}

/** What a stream brings, for messages: `tank/a@1..@3`. */
export const describeStream = (dataset: string, stream: Stream): string => {
  switch (stream._tag) {
    case "Full":
      return `${dataset}@${stream.to.name}`
    case "Incremental":
      return `${dataset}@${stream.from.name}..@${stream.to.name}`
    case "FromBookmark":
      return `${dataset}#${stream.from.name}..@${stream.to.name}`
    case "Resume":
      return `the rest of ${stream.toName}`
  }
}

/**
 * Arguments of `zfs receive`. `-u`: mounts nothing; `-s`: what came of a stream that is cut can be resumed; canmount=off
 * keeps a replica from being mounted later (a volume has no such property).
 */
export const receiveArguments = (
  target: string,
  stream: Stream,
  { kind, mode }: { readonly kind: SourceDataset["kind"]; readonly mode: SendMode }
): ReadonlyArray<string> => [
  ...["receive", "-u", "-s"],
  ...((stream._tag === "Full" || stream._tag === "Resume") && stream.force ? ["-F"] : []),
  ...(kind === "filesystem" ? ["-o", "canmount=off"] : []),
  ...["-o", `${modeProperty}=${mode}`],
  target
]
