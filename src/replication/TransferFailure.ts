import type { StageEnd } from "../system/Process.ts"
import { isSnapshot, parentOf } from "../zfs/DatasetName.ts"
import { type Endpoint, statusOf } from "../zfs/Endpoint.ts"
import { changed, complaint, failure, linesOf, userAt, ZfsError } from "../zfs/ZfsCommand.ts"
import { isDecimal } from "../zfs/ZfsList.ts"
import { describeStream, type Part, type StreamProgress, sourceFailure, type TransferRequest } from "./Stream.ts"

/** One line of what `zfs send -vP` and `-nvP` print. */
type SendLine =
  | { readonly _tag: "Part"; readonly snapshot: string; readonly bytes: number }
  | { readonly _tag: "Size"; readonly bytes: number }
  /** Once a second: the bytes of this snapshot so far. */
  | { readonly _tag: "Progress"; readonly snapshot: string; readonly bytes: number }
  | { readonly _tag: "Token" }
  | { readonly _tag: "Words"; readonly text: string }

/** Reads one line of stderr (`-vP`) or stdout (`-nvP`). */
export const parseLine = (line: string): SendLine => {
  const columns = line.split("\t")
  const [first = "", second = ""] = columns
  const last = columns[columns.length - 1] ?? ""
  if (first === "size" && columns.length === 2 && isDecimal(second)) {
    return { _tag: "Size", bytes: Number(second) }
  }
  if (first === "full" && columns.length === 3 && isDecimal(last)) {
    return { _tag: "Part", snapshot: second, bytes: Number(last) }
  }
  if (first === "incremental" && columns.length === 4 && isDecimal(last)) {
    return { _tag: "Part", snapshot: columns[2] ?? "", bytes: Number(last) }
  }
  if (/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]$/.test(first) && columns.length === 3 && isDecimal(second)) {
    return { _tag: "Progress", snapshot: last, bytes: Number(second) }
  }
  return /^(resume token contents:|nvlist version: |\t[a-z_]+( =|$))/.test(line)
    ? { _tag: "Token" }
    : { _tag: "Words", text: line }
}

/** Adds up the lines of one stream: the bytes of `zfs send` start again at 0 with each of its snapshots. */
export class SendMeter {
  /** The estimated bytes before each snapshot. There may be a hundred thousand of them. */
  #estimates = new Map<string, number>()
  #estimated = 0
  #total: number | undefined
  #before = 0
  #current: { readonly snapshot: string; readonly bytes: number } | undefined
  #sent = 0

  add(line: SendLine): StreamProgress | undefined {
    if (line._tag === "Part") {
      this.#estimates.set(line.snapshot, this.#estimated)
      this.#estimated += line.bytes
      return undefined
    }
    if (line._tag === "Size") this.#total = line.bytes
    else if (line._tag === "Progress") this.#advance(line)
    else return undefined
    return this.now
  }

  get now(): StreamProgress {
    return {
      sent: this.#sent,
      total: this.#total === undefined ? undefined : Math.max(this.#total, this.#sent)
    }
  }

  /** All bytes of a stream that ended well: the last line comes up to a second before the last byte. */
  get end(): number {
    return Math.max(this.#sent, this.#total ?? 0)
  }

  #advance(progress: { readonly snapshot: string; readonly bytes: number }) {
    if (this.#current?.snapshot !== progress.snapshot) {
      // Small snapshots in between may have had no line: their estimates stand for them.
      const estimated = this.#estimates.get(progress.snapshot) ?? 0
      this.#before = Math.max(estimated, this.#before + (this.#current?.bytes ?? 0))
    }
    this.#current = progress
    this.#sent = Math.max(this.#sent, this.#before + progress.bytes)
  }
}

export const sizeIn = (text: string): number | undefined =>
  text
    .split("\n")
    .map(parseLine)
    .find((line) => line._tag === "Size")?.bytes

/** What `zfs send -nvP -t` printed of a resume token; undefined when it is not complete. */
export const tokenIn = (text: string) => {
  const field = (name: string) => new RegExp(`^\\t${name} = (.+)$`, "m").exec(text)?.[1]
  const toGuid = decimal(field("toguid"))
  const toName = field("toname")
  return toGuid === undefined || toName === undefined || !isSnapshot(toName)
    ? undefined
    : // Raw streams of datasets that are not encrypted are no different from plain ones, and not marked.
      { toGuid, toName, fromGuid: decimal(field("fromguid")), raw: /^\trawok( = 1)?$/m.test(text) }
}

const decimal = (guid = ""): string | undefined =>
  /^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(guid) ? String(BigInt(guid)) : undefined

export interface EndedPart extends StageEnd {
  readonly part: Part
  readonly double: boolean
  /** Why its command did not begin, on another machine. */
  readonly notBegun?: ZfsError
}

/** The failure of a transfer, as the program that knows the cause tells it; undefined when all went well. */
export const pipeFailure = (
  request: TransferRequest,
  ends: { readonly source: Endpoint; readonly target: Endpoint },
  parts: ReadonlyArray<EndedPart>
): ZfsError | undefined => {
  const received = parts.some((part) => part.part === "target" && separate(part).status === 0)
  const faults = parts.flatMap((part) => {
    const fault = faultOf(request, ends, part)
    // The program was only slow to end, and we ended it: a receiver without the whole stream would complain.
    return fault === undefined || (received && part.ended && fault.weight !== "cause") ? [] : [fault]
  })
  const by = (weight: Fault["weight"]) => faults.filter((fault) => fault.weight === weight)
  const causes = by("cause")
  const [first] = [...causes, ...by("silent"), ...by("effect")]
  if (first === undefined) return undefined
  const also = causes.slice(1).map(({ error }) => error.message)
  const isKept = first.error.reason !== "Unreadable" && parts.some(({ stderr }) => /Partially received/.test(stderr))
  const kept = isKept ? ["what was received is kept; the next run goes on from there"] : []
  return changed(first.error, { message: [first.error.message, ...also, ...kept].join("; ") })
}

interface Fault {
  /** `cause`: it says what was wrong. `silent`: it does not say why it failed. `effect`: it noticed that another ended. */
  readonly weight: "cause" | "silent" | "effect"
  readonly error: ZfsError
}

const faultOf = (
  request: TransferRequest,
  ends: { readonly source: Endpoint; readonly target: Endpoint },
  ended: EndedPart
): Fault | undefined => {
  const { notBegun, part } = ended
  if (notBegun !== undefined) {
    const gone = ended.ended || isPipeEnd(ended.exitCode, "")
    return { error: notBegun, weight: gone ? "effect" : ended.stderr === "" ? "silent" : "cause" }
  }
  if (part === "source") return sourceFault(request, ends.source, ended)
  if (part === "target") return targetFault(request, ends.target, ended)
  if (ended.exitCode === 0) return undefined
  const said = complaint(ended).replace(/^zfs ended/, "it ended")
  const error = new ZfsError({
    reason: /no space left/i.test(said) ? "NoSpace" : "Other",
    message: `cannot ${part} the stream of ${describeStream(request.source, request.stream)}: ${said}`,
    transient: true
  })
  return { error, weight: ended.ended || isPipeEnd(ended.exitCode, said) ? "effect" : "silent" }
}

const sourceFault = ({ source, stream }: TransferRequest, endpoint: Endpoint, ended: EndedPart): Fault | undefined => {
  const { lines, status } = separate(ended)
  const said = lines.filter((line) => !isBrokenPipe(line))
  // Without the permission to hold snapshots, zfs says so, sends nothing, and exits with 0.
  const denied = said.some((line) => /^(warning: )?cannot (send|hold)/.test(line))
  if (status === 0 && !denied) return undefined
  const exitCode = status === 0 ? 1 : status
  const stderr = said.join("\n")
  const purpose = `send ${describeStream(source, stream)}`
  const context = { endpoint, role: "send", user: () => userAt(endpoint) } as const
  const error = sourceFailure(failure(purpose, source, { exitCode, stdout: "", stderr }, context))
  if (said.length > 0) return { error, weight: "cause" }
  const gone = ended.ended || lines.length > 0 || isPipeEnd(exitCode, "")
  return { error: changed(error, { transient: true }), weight: gone ? "effect" : "silent" }
}

const targetFault = (request: TransferRequest, endpoint: Endpoint, ended: EndedPart): Fault | undefined => {
  const { source, stream, target } = request
  const { lines, status } = separate(ended)
  if (status === 0) return undefined
  const said = lines.filter(
    (line) => !/^(Partially received snapshot is saved|A resuming stream can be|zfs send -t )/.test(line)
  )
  // A dataset that does not exist has no permissions of its own.
  const allowed = stream._tag === "Full" && !stream.force ? (parentOf(target) ?? target) : target
  const purpose = `receive ${describeStream(source, stream)} into ${target}`
  const context = { endpoint, role: "receive", user: () => userAt(endpoint) } as const
  const error = failure(purpose, allowed, { exitCode: status, stdout: "", stderr: said.join("\n") }, context)
  const cut = said.some((line) =>
    /checksum mismatch or incomplete stream|failed to read from stream|premature end/.test(line)
  )
  // So zfs refuses the rest of a stream while another `zfs receive` has the half of it open.
  if (stream._tag === "Resume" && said.some((line) => /partially-complete state/.test(line))) {
    const message = `${error.message}; a zfs receive is at work on it, of another program or of a connection that was lost, and ends with that connection (there: pgrep -lf 'zfs receive')`
    return { error: new ZfsError({ reason: "Busy", message, transient: true }), weight: "cause" }
  }
  return {
    // After a cut, nothing is wrong with either end: the stream did not come through as it was.
    error: changed(error, { transient: error.transient || cut }),
    weight: cut ? "effect" : said.length === 0 ? "silent" : "cause"
  }
}

/** The lines that a program printed, and its exit status, or that of the first of two programs in one ssh. */
const separate = ({ double, exitCode, stderr }: EndedPart) => {
  const lines: Array<string> = []
  let inner = double ? 1 : 0
  for (const line of linesOf(stderr)) {
    const status = statusOf(line)
    if (status !== undefined) inner = status
    else lines.push(line)
  }
  return { lines, status: exitCode === 0 ? inner : exitCode }
}

// On Linux, node's pipes are sockets: a writer whose reader is gone gets a reset.
const isBrokenPipe = (line: string): boolean =>
  /Broken pipe|signal received|cannot send .*: Connection reset by peer|^Killed by signal|^Terminated/.test(line)

const isPipeEnd = (exitCode: number, said: string): boolean =>
  exitCode === 141 || exitCode === 143 || isBrokenPipe(said)

/** What the ends printed though all went well; a receiver that may not set a property says so, and exits with 0. */
export const warningsIn = (parts: ReadonlyArray<EndedPart>): ReadonlyArray<string> =>
  parts.flatMap((part) => separate(part).lines)
