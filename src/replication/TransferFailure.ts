import type { StageEnd } from "../system/Process.ts"
import { isSnapshot, parentOf } from "../zfs/DatasetName.ts"
import { type Endpoint, statusOf } from "../zfs/Endpoint.ts"
import {
  complaint,
  failure,
  isConnectionComplaint,
  isZfsMessage,
  messageLines,
  userAt,
  ZfsError
} from "../zfs/ZfsCommand.ts"
import { isDecimal } from "../zfs/ZfsList.ts"
import { describeStream, type Part, type StreamProgress, sourceFailure, type TransferRequest } from "./Stream.ts"

/** One line of what `zfs send -vP` and `-nvP` print. */
type SendLine =
  /** A snapshot of the stream, with its estimated bytes. */
  | { readonly _tag: "Part"; readonly snapshot: string; readonly bytes: number }
  /** Bytes of the whole stream, as estimated. */
  | { readonly _tag: "Size"; readonly bytes: number }
  /** Once a second: bytes of this snapshot so far. */
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
  /** What is estimated of all before it, by snapshot: there may be a hundred thousand of them. */
  #estimates = new Map<string, number>()
  #estimated = 0
  #total: number | undefined
  #before = 0
  #current: { readonly snapshot: string; readonly bytes: number } | undefined
  #sent = 0

  /** Undefined when the line does not change it. */
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

  /** It has ended well: the last lines came up to a second before the last bytes. */
  get end(): number {
    return Math.max(this.#sent, this.#total ?? 0)
  }

  #advance(progress: { readonly snapshot: string; readonly bytes: number }) {
    if (this.#current?.snapshot !== progress.snapshot) {
      // Small ones in between may have had no line at all: what was estimated stands for them.
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
export const tokenIn = (
  text: string
):
  | {
      readonly toGuid: string
      readonly toName: string
      readonly fromGuid: string | undefined
      /** Its stream is raw, of an encrypted dataset: those of others are no different from plain ones. */
      readonly raw: boolean
    }
  | undefined => {
  const field = (name: string) => new RegExp(`^\\t${name} = (.+)$`, "m").exec(text)?.[1]
  const toGuid = decimal(field("toguid"))
  const toName = field("toname")
  return toGuid === undefined || toName === undefined || !isSnapshot(toName)
    ? undefined
    : { toGuid, toName, fromGuid: decimal(field("fromguid")), raw: /^\trawok( = 1)?$/m.test(text) }
}

const decimal = (guid: string | undefined): string | undefined =>
  guid !== undefined && /^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(guid) ? String(BigInt(guid)) : undefined

export interface EndedPart extends StageEnd {
  readonly part: Part
  /** Two programs in one ssh, whose status is only the last one's: the other one's has to be in stderr. */
  readonly double: boolean
}

interface Fault {
  readonly part: Part
  /**
   * `cause`: it says what was wrong. `silent`: it failed and does not say why. `effect`: it only noticed that
   * another part has ended.
   */
  readonly weight: "cause" | "silent" | "effect"
  readonly error: ZfsError
}

/** The failure of a pipe, as the program that knows the cause tells it. */
export const pipeFailure = (
  request: TransferRequest,
  ends: { readonly source: Endpoint; readonly target: Endpoint },
  parts: ReadonlyArray<EndedPart>
): ZfsError | undefined => {
  const received = parts.some((part) => part.part === "target" && separate(part).status === 0)
  const faults = parts.flatMap((part) => {
    const fault = faultOf(request, ends, part)
    // The program was only slow to end, and we ended it: a receiver without the whole stream would complain.
    if (fault === undefined || (received && part.ended && fault.weight !== "cause")) return []
    return [fault]
  })
  const order = (["cause", "silent", "effect"] as const).flatMap((weight) =>
    faults.filter((fault) => fault.weight === weight)
  )
  const [first, ...others] = order
  if (first === undefined) return undefined
  const also = others.filter(({ weight }) => weight === "cause").map(({ error }) => error.message)
  const kept = parts.some(({ stderr }) => /Partially received snapshot is saved/.test(stderr))
    ? ["what was received is kept; the next run goes on from there"]
    : []
  return changed(first.error, { message: [first.error.message, ...also, ...kept].join("; ") })
}

const faultOf = (
  request: TransferRequest,
  ends: { readonly source: Endpoint; readonly target: Endpoint },
  ended: EndedPart
): Fault | undefined => {
  const { part } = ended
  if (part === "source") return sourceFault(request, ends.source, ended)
  if (part === "target") return targetFault(request, ends.target, ended)
  if (ended.exitCode === 0) return undefined
  const said = complaint(ended).replace(/^zfs ended/, "it ended")
  const error = new ZfsError({
    reason: /no space left/i.test(said) ? "NoSpace" : "Other",
    message: `cannot ${part} the stream of ${describeStream(request.source, request.stream)}: ${said}`,
    transient: true
  })
  return { part, error, weight: ended.ended || isPipeEnd(ended.exitCode, said) ? "effect" : "silent" }
}

const sourceFault = ({ source, stream }: TransferRequest, endpoint: Endpoint, ended: EndedPart): Fault | undefined => {
  const { lines, status } = separate(ended)
  const words = lines.filter((line) => !isBrokenPipe(line))
  // The start-up files of a login may say anything; that must not take the place of what the receiver says.
  const telling = words.filter((line) => isZfsMessage(line) || isConnectionComplaint(line))
  const said = telling.length > 0 ? telling : words
  // Without the permission to hold snapshots, zfs says so, sends nothing, and exits with 0.
  const denied = telling.some((line) => /^(warning: )?cannot (send|hold)/.test(line))
  if (status === 0 && !denied) return undefined
  const exitCode = status === 0 ? 1 : status
  const error = sourceFailure(
    failure(
      `send ${describeStream(source, stream)}`,
      source,
      { exitCode, stdout: "", stderr: said.join("\n") },
      { endpoint, role: "send", user: () => userAt(endpoint) }
    )
  )
  if (telling.length > 0) return { part: "source", error, weight: "cause" }
  const gone = ended.ended || lines.length > 0 || isPipeEnd(exitCode, "")
  return { part: "source", error: changed(error, { transient: true }), weight: gone ? "effect" : "silent" }
}

const targetFault = (
  { source, stream, target }: TransferRequest,
  endpoint: Endpoint,
  ended: EndedPart
): Fault | undefined => {
  const { lines, status } = separate(ended)
  if (status === 0) return undefined
  const said = lines.filter(
    (line) => !/^(Partially received snapshot is saved|A resuming stream can be|zfs send -t )/.test(line)
  )
  const fresh = stream._tag === "Full" && !stream.force
  const base = failure(
    `receive ${describeStream(source, stream)} into ${target}`,
    // What does not exist has no permissions of its own.
    fresh ? (parentOf(target) ?? target) : target,
    { exitCode: status, stdout: "", stderr: said.join("\n") },
    { endpoint, role: "receive", user: () => userAt(endpoint) }
  )
  const cut = said.some((line) =>
    /checksum mismatch or incomplete stream|failed to read from stream|premature end/.test(line)
  )
  const overPlaceholder = /cannot be used to destroy an encrypted filesystem/.test(base.message)
  const error = new ZfsError({
    reason: base.reason,
    message: overPlaceholder
      ? `${base.message}; rename ${target} out of the way by hand (zfs rename; what is below it goes along), and start anew`
      : base.message,
    // Nothing is wrong with either end: the stream did not come through as it was.
    transient: base.transient || cut
  })
  return { part: "target", error, weight: cut ? "effect" : said.length === 0 ? "silent" : "cause" }
}

/** The lines that a program printed, and its exit status, with that of a first program inside ssh. */
const separate = ({ double, exitCode, stderr }: EndedPart) => {
  const lines: Array<string> = []
  let inner = double ? 1 : 0
  for (const line of stderr.split("\n").map((each) => each.trim())) {
    const told = statusOf(line)
    if (told !== undefined) inner = told
    else if (line !== "") lines.push(line)
  }
  return { lines, status: exitCode === 0 ? inner : exitCode }
}

const changed = (
  { cause, message, reason, transient }: ZfsError,
  to: { readonly message?: string; readonly transient?: boolean }
): ZfsError => new ZfsError({ reason, message, transient, ...(cause === undefined ? {} : { cause }), ...to })

const isBrokenPipe = (line: string): boolean =>
  // On Linux, node's pipes are sockets: a writer whose reader has gone hears of a reset.
  /Broken pipe|signal received|cannot send .*: Connection reset by peer|^Killed by signal|^Terminated/.test(line)

const isPipeEnd = (exitCode: number, said: string): boolean =>
  exitCode === 141 || exitCode === 143 || isBrokenPipe(said)

/** What either end said although all went well; a receiver that may not set a property says so, and exits with 0. */
export const warningsIn = (parts: ReadonlyArray<EndedPart>): ReadonlyArray<string> =>
  parts.flatMap((part) => messageLines(separate(part).lines.join("\n")))
