import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Process } from "../system/Process.ts"
import { bytes, count, duration } from "../text/Text.ts"
import type { Snapshot, SourceDataset } from "../zfs/Dataset.ts"
import { parentOf } from "../zfs/DatasetName.ts"
import { commandOn, type Endpoint, isBegin, label, local, splitAtBegin } from "../zfs/Endpoint.ts"
import { beginError, failure, processFailure, userName, withoutLogin, ZfsError } from "../zfs/ZfsCommand.ts"
import { shortName } from "../zfs/ZfsList.ts"
import { DryRunTargets, keyBelow, newDataset, Receiver } from "./Receiver.ts"
import { Sender } from "./Sender.ts"
import {
  contentsOf,
  describeRange,
  type Ends,
  receiveArguments,
  type Stream,
  sendArguments,
  stagesOf,
  type TransferRequest
} from "./Stream.ts"
import { type EndedPart, parseLine, pipeFailure, SendMeter, warningsIn } from "./TransferFailure.ts"

/** Moves streams from the sender to the receiver. */
export class Transfer extends Context.Tag("zipper/Transfer")<
  Transfer,
  {
    /** Fails when a program besides zfs that streams pass through is missing where it has to run. */
    readonly tools: Effect.Effect<void, ZfsError>
    /** How many streams can be under way at once; left out: as many as are wanted. */
    readonly mostAtOnce?: number
    /** Returns when both ends have ended well. Fails with what they printed; as Vanished when a snapshot is gone. */
    readonly send: (request: TransferRequest) => Effect.Effect<{ readonly bytes: number }, ZfsError>
  }
>() {
  /** One kernel pipe between `zfs send` and `zfs receive`, either of them behind ssh. */
  static readonly layer = (settings: TransferSettings): Layer.Layer<Transfer, never, Process> =>
    Layer.effect(
      Transfer,
      Effect.map(Process, (process) => makeTransfer(process, settings))
    )

  /** Sends nothing: logs what `real` would send, and has Receiver.layerDryRun show it as received. */
  static readonly layerDryRun = <E, R>(
    real: Layer.Layer<Transfer, E, R>
  ): Layer.Layer<Transfer, E, R | Sender | Receiver | DryRunTargets> =>
    Layer.provide(Layer.effect(Transfer, makeDryRunTransfer), real)
}

export interface TransferSettings {
  readonly source: Endpoint
  readonly target: Endpoint
  readonly compress: "none" | "zstd"
  readonly bandwidth: number | undefined
}

export const makeTransfer = (process: typeof Process.Service, settings: TransferSettings): typeof Transfer.Service => {
  // One search is enough for all streams of a run; a search that failed is repeated.
  let found: Tools | undefined
  const tools = Effect.suspend(() =>
    found === undefined
      ? Effect.tap(findTools(process, settings), (now) => {
          found = now
        })
      : Effect.succeed(found)
  )
  return {
    tools: Effect.asVoid(tools),
    send: Effect.fn("Transfer.send")(function* (request: TransferRequest) {
      return yield* transfer(process, { ...settings, ...(yield* tools) }, request)
    })
  }
}

const transfer = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  settings: TransferSettings & Tools,
  request: TransferRequest
) {
  const { format, onProgress, source, stream, target } = request
  const meter = new SendMeter()
  const words = new Words()
  let lines = 0
  const onSent = (line: string) => {
    const parsed = parseLine(line)
    if (parsed._tag === "Progress") lines++
    if (parsed._tag === "Words") words.add(parsed.text)
    const figures = meter.add(parsed)
    if (figures !== undefined) onProgress(figures)
  }
  const stages = stagesOf(settings, sendArguments(source, stream, format), receiveArguments(target, stream, request))
  const [first, second, ...more] = stages.map(({ args, part, program }) =>
    part === "source" ? { program, args, onStderr: onSent } : { program, args }
  )
  if (first === undefined || second === undefined) return yield* Effect.dieMessage("a pipe of one program")
  const ended = yield* Effect.raceFirst(
    Effect.mapError(process.pipe([first, second, ...more]), processFailure({ endpoint: local, role: "send" })),
    Effect.interruptible(failOnStall(() => ({ lines, sent: meter.now.sent })))
  )
  const parts = ended.flatMap((end, index): ReadonlyArray<EndedPart> => {
    const stage = stages[index]
    if (stage === undefined) return []
    const { double, part } = stage
    const endpoint = part === "source" || part === "target" ? settings[part] : local
    // Process keeps the first and the last of stderr, which after hours is all progress.
    const stderr = part === "source" ? words.text : end.stderr
    const { login, own } = splitAtBegin(endpoint, stderr)
    return own === undefined
      ? [{ ...end, part, double, stderr: login, notBegun: beginError(endpoint, { ...end, stderr }) }]
      : [{ ...end, part, double, stderr: own }]
  })
  const error = pipeFailure(request, settings, parts)
  if (error !== undefined) return yield* error
  for (const warning of warningsIn(parts)) yield* Effect.logWarning(`zfs says: ${warning}`)
  onProgress({ sent: meter.end, total: meter.end })
  return { bytes: meter.end }
})

/** Keeps the first and the last lines: the first say why it failed, the last how it ended. */
class Words {
  #first: Array<string> = []
  #last: Array<string> = []

  add(line: string): void {
    // What a login prints may be longer than all that is kept.
    if (isBegin(line)) {
      this.#first = []
      this.#last = []
    }
    if (this.#first.length < 20) this.#first.push(line)
    else this.#last = [...this.#last.slice(-19), line]
  }

  get text(): string {
    return [...this.#first, ...this.#last].join("\n")
  }
}

// A receiver may be busy for minutes, with files that the source destroyed, say: then there is only a warning.
const tenMinutes = 600_000
const looksUntilFailure = 24

/** Warns when no byte is sent for ten minutes, and fails after four hours, unless zfs prints no progress at all. */
const failOnStall = Effect.fnUntraced(function* (movement: () => { readonly lines: number; readonly sent: number }) {
  let before = movement()
  let looks = 0
  for (;;) {
    yield* Effect.sleep(tenMinutes)
    const now = movement()
    const moved = now.sent !== before.sent || now.lines === 0
    looks = moved ? 0 : looks + 1
    before = now
    if (looks === 1) yield* Effect.logWarning(`${stillFor(looks)}; ${where}`)
    if (looks < looksUntilFailure) continue
    return yield* new ZfsError({
      reason: "Other",
      message: `${stillFor(looks)}, so the stream was ended; ${where}; what was received is kept`,
      transient: false
    })
  }
})

const stillFor = (looks: number): string => `nothing has been sent for ${duration(looks * tenMinutes)}`

const where = "see on both hosts whether a pool is suspended or very busy (zpool status, zpool iostat)"

type Tools = Pick<Ends, "limit">

const findTools = Effect.fnUntraced(function* (process: typeof Process.Service, settings: TransferSettings) {
  const { bandwidth, compress, source, target } = settings
  const missing = (message: string) => new ZfsError({ reason: "NotInstalled", message, transient: false })
  for (const endpoint of compress === "zstd" ? [source, target] : []) {
    if (yield* isInstalled(process, endpoint, "zstd")) continue
    return yield* missing(
      `--compress zstd needs the program zstd on ${label(endpoint)}: install it there, or leave the option out`
    )
  }
  if (bandwidth === undefined) return { limit: undefined } satisfies Tools
  for (const program of ["pv", "mbuffer"] as const) {
    if (!(yield* isInstalled(process, local, program))) continue
    return { limit: { program, bytesPerSecond: bandwidth } } satisfies Tools
  }
  return yield* missing(
    "--bandwidth needs the program pv or mbuffer on this host: install one of them, or leave the option out"
  )
})

const isInstalled = Effect.fnUntraced(function* (process: typeof Process.Service, endpoint: Endpoint, program: string) {
  const asked = process.run(commandOn(endpoint, { program, args: ["--version"] })).pipe(
    Effect.catchIf(
      (error) => error.reason === "NotFound" && error.program === program,
      () => Effect.succeed({ exitCode: 127, stdout: "", stderr: "" })
    )
  )
  const completed = yield* withoutLogin({ endpoint, role: "send" }, asked)
  if (completed.exitCode === 0 || completed.exitCode === 127) return completed.exitCode === 0
  return yield* failure(`run ${program}`, "", completed, { endpoint, role: "send", user: userName })
})

const makeDryRunTransfer = Effect.gen(function* () {
  const { tools } = yield* Transfer
  const [sender, receiver, targets] = [yield* Sender, yield* Receiver, yield* DryRunTargets]
  // A raw stream makes its dataset a root of its own, of which no key is loaded.
  const keyOf = ({ format, target }: TransferRequest, source: SourceDataset | undefined) =>
    format === "raw" && source?.key !== undefined
      ? Effect.succeed({ ...source.key, root: target, rootSalt: source.key.salt, loaded: false, dependents: [] })
      : Effect.map(receiver.read(parentOf(target) ?? target), keyBelow)
  const send = Effect.fn("Transfer.send")(function* (request: TransferRequest) {
    const { format, kind, mode, stream, target } = request
    const size = yield* sender.estimate(request.source, stream, format)
    const source = yield* sender.read(request.source)
    const before = (yield* receiver.read(target)) ?? newDataset(target, kind, yield* keyOf(request, source))
    const coming = contentsOf(stream, source)
    yield* Effect.logInfo(
      `would send ${dryRunText(stream)} to ${target}: ${count(coming.length, "snapshot")}, ${bytes(size)}`
    )
    let createtxg = before.snapshots.at(-1)?.createtxg ?? 0n
    const received = coming.map((snapshot): Snapshot => {
      createtxg += 1n
      return { ...snapshot, createtxg, holds: 0, clones: [] }
    })
    yield* targets.put({
      ...before,
      snapshots: [...before.snapshots, ...received],
      written: 0,
      resumeToken: undefined,
      mode,
      made: false,
      placeholder: false,
      canmount: kind === "filesystem" ? "off" : undefined
    })
    return { bytes: size }
  })
  // Each is planned by what those before it would leave.
  return { tools, mostAtOnce: 1, send }
})

const dryRunText = (stream: Stream): string => {
  if (stream._tag === "Resume") return `the rest of @${shortName(stream.toName)}`
  if (stream._tag === "Full") return `all of @${stream.to.name}`
  return `from ${stream._tag === "FromBookmark" ? "the bookmark " : ""}${describeRange(stream)}`
}
