import { isDecimal } from "../ZfsList.ts"
import { isSnapshot } from "./DatasetName.ts"

/** What `zfs send -vP` and `-nvP` say, and the resume token they print. */

/** One line of it. */
type SendLine =
  /** A snapshot that the stream will hold, with the bytes that it is taken to have. */
  | { readonly _tag: "Part"; readonly snapshot: string; readonly bytes: number }
  /** Bytes of the whole stream, as estimated. */
  | { readonly _tag: "Size"; readonly bytes: number }
  /** Once a second: bytes of this snapshot so far. */
  | { readonly _tag: "Progress"; readonly snapshot: string; readonly bytes: number }
  /** What a resume token holds, line by line. */
  | { readonly _tag: "Token" }
  /** Anything else, in words. */
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

/** How much of a stream has been sent. */
interface Sent {
  readonly sent: number
  /** Never less than what was sent; undefined while zfs has not said. */
  readonly total: number | undefined
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

  /** How far it is now; undefined when the line is not about that. */
  add(line: SendLine): Sent | undefined {
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

  /** How far it is. */
  get now(): Sent {
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

/** The size in what `zfs send -nvP` printed. */
export const sizeIn = (text: string): number | undefined => {
  for (const line of text.split("\n")) {
    const parsed = parseLine(line)
    if (parsed._tag === "Size") return parsed.bytes
  }
  return undefined
}

/** What a resume token is for, in what `zfs send -nvP -t` printed; undefined when it is not all there. */
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
