import * as Effect from "effect/Effect"
import { type Endpoint, label, local } from "../../domain/replication/Endpoint.ts"
import { type Limiter, stagesOf } from "../../domain/replication/Pipeline.ts"
import { parseLine, SendMeter } from "../../domain/replication/SendOutput.ts"
import * as Ssh from "../../domain/replication/Ssh.ts"
import { receiveArguments, sendArguments } from "../../domain/replication/ZfsArguments.ts"
import type { Process } from "../Process.ts"
import { failure, notRun, userName } from "../zfs/command.ts"
import { ZfsError } from "../zfs/contract.ts"
import type { TransferRequest, TransferService } from "./contract.ts"
import { standstill } from "./standstill.ts"
import { type EndedPart, remarks, verdict } from "./verdict.ts"

/** Between which ends streams go, and how. */
export interface TransferSettings {
  readonly source: Endpoint
  readonly target: Endpoint
  readonly compress: "none" | "zstd"
  /** Bytes a second; undefined is no limit. */
  readonly bandwidth: number | undefined
}

/** OpenZFS on both ends. */
export const makeTransfer = (
  process: typeof Process.Service,
  settings: TransferSettings
): TransferService => {
  // Once is enough for all streams of a run.
  let tools: Tools | undefined
  const toolsNow = Effect.suspend(() =>
    tools === undefined
      ? Effect.tap(findTools(process, settings), (found) => {
          tools = found
        })
      : Effect.succeed(tools)
  )
  return {
    tools: Effect.asVoid(toolsNow),
    send: Effect.fn("Transfer.send")(function* (request: TransferRequest) {
      const { limiter } = yield* toolsNow
      return yield* transfer(process, settings, limiter, request)
    })
  }
}

const transfer = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  settings: TransferSettings,
  limiter: Limiter | undefined,
  request: TransferRequest
) {
  const { mode, onProgress, source, stream, target } = request
  const limit =
    settings.bandwidth === undefined || limiter === undefined
      ? undefined
      : { program: limiter, bytesPerSecond: settings.bandwidth }
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
  const stages = stagesOf(
    { ...settings, limit },
    sendArguments(source, stream, mode),
    receiveArguments(target, stream, request)
  )
  const [first, second, ...more] = stages.map(({ args, part, program }) =>
    part === "source" ? { program, args, onStderr: onSent } : { program, args }
  )
  if (first === undefined || second === undefined) return yield* Effect.dieMessage("a pipe of one program")
  // All of them start here, ssh too.
  const ended = yield* Effect.raceFirst(
    Effect.mapError(process.pipe([first, second, ...more]), notRun({ endpoint: local, role: "send" })),
    Effect.interruptible(standstill(() => ({ lines, sent: meter.now.sent })))
  )
  const parts = ended.flatMap((end, index): ReadonlyArray<EndedPart> => {
    const stage = stages[index]
    if (stage === undefined) return []
    const { double, part } = stage
    // Hours of progress have pushed what zfs had to say out of the end of stderr that is kept.
    return [{ ...end, part, double, stderr: part === "source" ? words.text : end.stderr }]
  })
  const error = verdict(request, settings, parts)
  if (error !== undefined) return yield* error
  for (const remark of remarks(parts)) yield* Effect.logWarning(`zfs says: ${remark}`)
  const bytes = meter.end
  onProgress({ sent: bytes, total: bytes })
  return { bytes }
})

/** The first and the last lines: where there are many, the beginning says why, and the end how it ended. */
class Words {
  #first: Array<string> = []
  #last: Array<string> = []

  add(line: string): void {
    if (this.#first.length < 20) this.#first.push(line)
    else this.#last = [...this.#last.slice(-19), line]
  }

  get text(): string {
    return [...this.#first, ...this.#last].join("\n")
  }
}

interface Tools {
  readonly limiter: Limiter | undefined
}

/** Looks for the programs besides zfs, where they are to run, before anything is sent. */
const findTools = Effect.fnUntraced(function* (process: typeof Process.Service, settings: TransferSettings) {
  if (settings.compress === "zstd") {
    for (const endpoint of [settings.source, settings.target]) {
      if (!(yield* isThere(process, endpoint, "zstd", "--version"))) {
        const where = label(endpoint)
        return yield* missing(
          `--compress zstd needs the program zstd on ${where}: install it there, or leave the option out`
        )
      }
    }
  }
  if (settings.bandwidth === undefined) return { limiter: undefined } satisfies Tools
  for (const limiter of ["pv", "mbuffer"] as const) {
    if (yield* isThere(process, local, limiter, "--version")) return { limiter } satisfies Tools
  }
  return yield* missing(
    "--bandwidth needs the program pv or mbuffer on this host: install one of them, or leave the option out"
  )
})

const missing = (message: string) => new ZfsError({ reason: "NotInstalled", message, transient: false })

const isThere = Effect.fnUntraced(function* (
  process: typeof Process.Service,
  endpoint: Endpoint,
  program: string,
  argument: string
) {
  const completed = yield* process.run(Ssh.on(endpoint, { program, args: [argument] })).pipe(
    Effect.catchIf(
      (error) => error.reason === "NotFound" && error.program === program,
      () => Effect.succeed({ exitCode: 127, stdout: "", stderr: "" })
    ),
    Effect.mapError(notRun({ endpoint, role: "send" }))
  )
  if (completed.exitCode === 0) return true
  if (completed.exitCode === 127) return false
  return yield* failure(`run ${program}`, "", completed, { endpoint, role: "send", user: userName })
})
