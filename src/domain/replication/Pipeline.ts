import type { Endpoint } from "./Endpoint.ts"
import * as Ssh from "./Ssh.ts"

/** Whose work a program of the pipe does. */
export type Part = "source" | "compress" | "limit" | "decompress" | "target"

/** One program of the pipe from `zfs send` to `zfs receive`. */
interface Stage extends Ssh.Command {
  readonly part: Part
  /** Two programs in one ssh: the status of the one that is not the last is told by a line of stderr. */
  readonly double: boolean
}

/** A program that limits the rate, and takes bytes a second. */
export type Limiter = "pv" | "mbuffer"

export interface Ends {
  readonly source: Endpoint
  readonly target: Endpoint
  readonly compress: "none" | "zstd"
  readonly limit: { readonly program: Limiter; readonly bytesPerSecond: number } | undefined
}

/**
 * The programs, in their order. What a stream is compressed with runs on the machine it is compressed on: on another one within
 * the same ssh. The rate is limited here, of what goes over the network.
 */
export const stagesOf = (
  { compress, limit, source, target }: Ends,
  send: ReadonlyArray<string>,
  receive: ReadonlyArray<string>
): ReadonlyArray<Stage> => {
  const zstd = compress === "zstd"
  const single = (part: Part, command: Ssh.Command): Stage => ({ part, double: false, ...command })
  const end = (part: Part, endpoint: Endpoint, args: ReadonlyArray<string>, filter: Ssh.Filter): Stage => {
    const command = { program: "zfs", args }
    return zstd && endpoint._tag === "Remote"
      ? { part, double: true, ...Ssh.onFiltered(endpoint, command, filter) }
      : single(part, Ssh.on(endpoint, command))
  }
  const filter = (part: Part, endpoint: Endpoint, ...args: ReadonlyArray<string>) =>
    zstd && endpoint._tag === "Local" ? [single(part, { program: "zstd", args })] : []
  return [
    end("source", source, send, { at: "out", line: "zstd -q -c" }),
    ...filter("compress", source, "-q", "-c"),
    ...(limit === undefined ? [] : [single("limit", limiter(limit.program, String(limit.bytesPerSecond)))]),
    ...filter("decompress", target, "-q", "-dc"),
    end("target", target, receive, { at: "in", line: "zstd -q -dc" })
  ]
}

const limiter = (program: Limiter, rate: string): Ssh.Command => ({
  program,
  args: program === "pv" ? ["-q", "-L", rate] : ["-q", "-r", rate]
})
