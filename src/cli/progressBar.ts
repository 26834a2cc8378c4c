import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { harmless } from "../domain/Text.ts"
import { Progress, type ProgressFigures } from "../services/Progress.ts"
import { Output } from "./Output.ts"
import { type Figures, makeRate, partOf, progressLines } from "./progressText.ts"
import { isUtf8, type Terminal } from "./Terminal.ts"

/**
 * Progress bars on the last lines of the terminal behind standard error. Without a terminal there, on one that cannot take
 * lines back, and when quiet: nothing.
 */
export const layer: Layer.Layer<Progress, never, Output> = Layer.effect(
  Progress,
  Effect.gen(function* () {
    const { options, terminal } = yield* Output
    if (options.quiet || !terminal.isTerminal("stderr") || (terminal.env["TERM"] ?? "dumb") === "dumb") {
      return Progress.of({ start: () => Effect.succeed(() => {}) })
    }
    // The library is loaded when there is something to draw: no other command has to wait for it.
    const display = yield* Effect.cached(
      Effect.promise(async () =>
        makeDisplay(terminal, options.ascii || !isUtf8(terminal.env), await library())
      )
    )
    return Progress.of({
      start: Effect.fnUntraced(function* (label) {
        const { add } = yield* display
        const { update } = yield* Effect.acquireRelease(
          Effect.sync(() => add(label)),
          ({ remove }) => Effect.sync(remove)
        )
        return update
      })
    })
  })
)

const library = async () => (await import("cli-progress")).default
type Library = Awaited<ReturnType<typeof library>>

const framesPerSecond = 5
/** What came and went sooner is not worth a look. */
const leastMillisBetween = 150
/** More lines than this would be a report. */
const mostLines = 6

/** All bars of a terminal, which are drawn at the library's pace. */
const makeDisplay = (terminal: Terminal, ascii: boolean, { MultiBar }: Library) => {
  const lines: Array<Line> = []
  let written: Array<string> = []
  let notBefore = 0

  const room = () => ({
    // One column stays free: a line that fills them all wraps on some terminals.
    width: terminal.columns() - 1,
    lines: Math.max(1, Math.min(mostLines, terminal.rows() - 1)),
    ascii
  })
  const bars = new MultiBar({
    stream: process.stderr,
    fps: framesPerSecond,
    // Also where it is the text of the frame before: the terminal knows better what stands there.
    forceRedraw: true,
    // Our own handling of signals closes the scope, and with it the bars.
    gracefulExit: false,
    format: (_options, _params, line: Line) => line.text(),
    ...writingTo((text) => written.push(text), terminal)
  })
  bars.on("redraw-pre", () => {
    written = []
    const now = Date.now()
    const texts = progressLines(
      lines.map((line) => line.read(now)),
      room()
    )
    for (const [index, line] of lines.entries()) line.show(texts[index] ?? "")
  })
  bars.on("redraw-post", () => {
    const now = Date.now()
    if (now < notBefore) return
    notBefore = now + leastMillisBetween
    terminal.status(written.filter((text) => text !== ""))
  })

  const wipe = () => terminal.status([])
  // The shell writes where the cursor is: nothing may stand there.
  const pause = () => {
    wipe()
    process.kill(process.pid, "SIGSTOP")
  }
  // While the window is drawn smaller, bars would be wrapped again and again, and each time their rows pushed up.
  const resized = () => {
    wipe()
    notBefore = Date.now() + leastMillisBetween
  }
  let stopListening = nothing
  const begin = () => {
    notBefore = Date.now() + leastMillisBetween
    const off = terminal.onResize(resized)
    process.on("exit", wipe)
    process.on("SIGTSTP", pause)
    stopListening = () => {
      off()
      process.off("exit", wipe)
      process.off("SIGTSTP", pause)
    }
  }
  const end = () => {
    bars.stop()
    wipe()
    stopListening()
  }

  return {
    /** Begins a line; gives what takes its figures, and what ends it. */
    add: (label: string) => {
      if (lines.length === 0) begin()
      const line = makeLine(label)
      lines.push(line)
      const bar = bars.create(0, 0, line)
      return {
        update: line.update,
        remove: (): void => {
          lines.splice(lines.indexOf(line), 1)
          bars.remove(bar)
          if (lines.length === 0) end()
        }
      }
    }
  }
}

type Line = ReturnType<typeof makeLine>

/** The figures of one bar, and what is drawn of them. */
const makeLine = (label: string) => {
  let figures: ProgressFigures = { done: 0, total: undefined }
  let name = label
  let rate = makeRate()
  let shown = 0
  let text = ""
  return {
    /** Called for every piece of work: it only notes the figures. */
    update: (now: ProgressFigures): void => {
      if (now.done < figures.done) {
        rate = makeRate()
        shown = 0
      }
      name = now.label ?? name
      figures = now
    },
    /** Called for every frame. */
    read: (at: number): Figures => {
      const { done, total } = figures
      shown = partOf({ done, total, shown }) ?? shown
      return { label: harmless(name).replaceAll("\n", " "), done, total, rate: rate(at, done), shown }
    },
    show: (now: string): void => {
      text = now
    },
    text: (): string => text
  }
}

/**
 * The library writes through this instead of a stream: its lines come together, to be drawn in one go. It knows
 * `terminal` as an option, though its types do not.
 */
const writingTo = (write: (text: string) => void, terminal: Terminal) => ({
  terminal: {
    cursor: nothing,
    cursorTo: nothing,
    cursorRelativeReset: nothing,
    lineWrapping: nothing,
    clearLine: nothing,
    clearRight: nothing,
    clearBottom: nothing,
    newline: nothing,
    write,
    isTTY: () => true,
    getWidth: () => terminal.columns()
  }
})

const nothing = (): void => {}
