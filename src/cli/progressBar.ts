import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Progress } from "../services/Progress.ts"
import { Output } from "./Output.ts"
import { makeRate, progressText } from "./progressText.ts"
import { isUtf8, type Terminal } from "./Terminal.ts"

/**
 * A progress bar on the last line of the terminal behind standard error. Without a terminal there, on one that cannot take
 * a line back, and when quiet: nothing.
 */
export const layer: Layer.Layer<Progress, never, Output> = Layer.effect(
  Progress,
  Effect.map(Output, ({ options, terminal }) =>
    options.quiet || !terminal.isTerminal("stderr") || (terminal.env["TERM"] ?? "dumb") === "dumb"
      ? Progress.of({ start: () => Effect.succeed(() => {}) })
      : Progress.of({ start: (label) => started(label, terminal, options.ascii || !isUtf8(terminal.env)) })
  )
)

// The library is loaded when there is something to draw: no other command has to wait for it.
const started = (label: string, terminal: Terminal, ascii: boolean) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const { SingleBar } = (await import("cli-progress")).default
      const rate = makeRate()
      let figures: { readonly done: number; readonly total: number | undefined } = {
        done: 0,
        total: undefined
      }
      let pace: number | undefined
      const bar = new SingleBar({
        stream: process.stderr,
        fps: 5,
        // Our own handling of signals closes the scope, and with it the bar.
        gracefulExit: false,
        format: () => {
          // One column stays free: a line that fills them all wraps on some terminals.
          const width = terminal.columns() - 1
          return progressText(label, { ...figures, rate: pace }, { width, ascii })
        },
        ...drawnOn(terminal)
      })
      bar.start(0, 0)
      return {
        stop: () => bar.stop(),
        update: (now: typeof figures) => {
          figures = now
          pace = rate(Date.now(), now.done)
          bar.setTotal(now.total ?? 0)
          bar.update(now.done)
        }
      }
    }),
    ({ stop }) => Effect.sync(stop)
  ).pipe(Effect.map(({ update }) => update))

/**
 * The bar's library writes through this instead of a stream: the terminal keeps the line apart from the log's. It knows
 * `terminal` as an option, though its types do not.
 */
const drawnOn = (terminal: Terminal) => ({
  terminal: {
    cursorSave: nothing,
    cursorRestore: nothing,
    cursor: nothing,
    lineWrapping: nothing,
    cursorTo: nothing,
    clearRight: nothing,
    newline: nothing,
    clearLine: () => terminal.status(undefined),
    write: (text: string) => terminal.status(text),
    isTTY: () => true,
    getWidth: () => terminal.columns()
  },
  clearOnComplete: true
})

const nothing = (): void => {}
