import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Progress, type ProgressFigures } from "../system/Progress.ts"
import { bytes, byteUnits, count, cutTo, duration, padded, widthOf, withoutControls } from "../text/Text.ts"
import { Output } from "./output.ts"
import { isUtf8, type Terminal } from "./terminal.ts"

export interface Figures extends Pick<ProgressFigures, "done" | "total" | "isGuess"> {
  readonly label: string
  /** Bytes a second; undefined before it can be estimated. */
  readonly rate: number | undefined
  /** The part that the bar has shown (0 to 1): it does not go back when the total grows. */
  readonly shown?: number
}

interface Room {
  readonly width: number
  readonly lines: number
  readonly ascii: boolean
}

/**
 * The lines of progress bars, each at most `width` wide and one below the other in columns:
 *
 *     3 of 14 folders  42% [████░░░░] 1.2/~2.9 GiB, 120 MiB/s
 *     ABCD             17% [█░░░░░░░] 120/700 MiB, 60.1 MiB/s, 9 s left
 *
 * `~` marks a total that is a guess, or that turned out to be too small.
 * Where one of them is too wide, the bars go first, then the amounts; a label that is still too long loses its
 * beginning. The last line sums up those that there is no room for.
 */
export const progressLines = (all: ReadonlyArray<Figures>, room: Room): ReadonlyArray<string> => {
  const rows = fitted(all, room.lines).map(rowOf)
  const widestLabel = Math.max(...rows.map(({ label }) => widthOf(label)))
  const widestText = Math.max(...rows.map(({ text }) => text.length))
  const percents = rows.some(({ percent }) => percent !== "")
  const start = widestLabel + (percents ? 5 : 0)
  if (start + 1 + widestText > room.width) return rows.map((row) => shortened(row, widestLabel, room))

  // In steps, so that it does not change with every digit of the text behind it.
  const width = Math.min(Math.floor((room.width - start - widestText - 4) / step) * step, widest)
  const drawn = ({ part }: Row) =>
    !percents || width < step ? "" : ` ${part === undefined ? " ".repeat(width + 2) : bar(part, width, room.ascii)}`
  return rows.map(
    (row) => `${padded(row.label, widestLabel)}${percents ? row.percent.padStart(5) : ""}${drawn(row)} ${row.text}`
  )
}

type Row = ReturnType<typeof rowOf>

/** The parts of a line. `text` is amount, rate and time left; `short` the last of these. */
const rowOf = (figures: Figures) => {
  const part = partOf(figures)
  const pace = paceOf(figures)
  const percent = part === undefined ? "" : `${Math.floor(part * 100)}%`.padStart(4)
  return {
    label: figures.label,
    percent,
    part,
    text: [amountOf(figures), ...pace].join(", "),
    short: percent === "" ? amountOf(figures) : (pace.at(-1) ?? "")
  }
}

const shortened = ({ label, percent, short }: Row, widestLabel: number, { ascii, width }: Room): string => {
  const words = [percent, short].filter((word) => word !== "").join(" ")
  const whole = `${padded(label, widestLabel)} ${words}`.trimEnd()
  if (widthOf(whole) <= width) return whole
  if (widthOf(`${label} ${words}`) <= width) return `${label} ${words}`
  const tail = words.trimStart()
  const left = width - tail.length - 1
  if (left < 2) return tail.slice(0, Math.max(0, width))
  return `${cutTo(label, left, "start", ascii ? "~" : "…")} ${tail}`
}

/** At most `lines` figures; the last one is the sum of those that are too many. */
const fitted = (all: ReadonlyArray<Figures>, lines: number): ReadonlyArray<Figures> => {
  if (all.length <= lines) return all
  const rest = all.slice(lines - 1)
  const sum = (key: "done" | "total" | "rate") =>
    rest.reduce<number | undefined>(
      (so, { [key]: one }) => (so === undefined || one === undefined ? undefined : so + one),
      0
    )
  const label = lines === 1 ? count(rest.length, "at work", "at work") : `${rest.length} more`
  const isGuess = rest.some(isUnsure)
  const sums = { label, done: sum("done") ?? 0, total: sum("total"), rate: sum("rate"), isGuess }
  return [...all.slice(0, lines - 1), sums]
}

const isUnsure = ({ done, isGuess = false, total = done }: Pick<Figures, "done" | "isGuess" | "total">): boolean =>
  isGuess || done > total

/** Below 1 for a guess: when all is done is not known. */
const partOf = ({ shown = 0, ...figures }: Omit<Figures, "label" | "rate">): number | undefined => {
  const { done, total } = figures
  if (total === undefined || total <= 0) return undefined
  return Math.min(Math.max(done / total, shown, 0), isUnsure(figures) ? 0.99 : 1)
}

/** `1.2/2.9 GiB`, `0.1/~2.9 GiB`, `12.3 MiB`. */
const amountOf = (figures: Figures): string => {
  const { done, total } = figures
  if (total === undefined) return size(done)
  const all = size(Math.max(total, done))
  const power = byteUnits.findIndex((unit) => all.endsWith(` ${unit}`))
  const some = (done / 1024 ** power).toFixed(power === 0 ? 0 : 1).replace(/(\d{3,})\.\d/, "$1")
  return `${some}/${isUnsure(figures) ? "~" : ""}${all}`
}

/** At most three digits: `12.3 MiB`, `123 MiB`. */
const size = (count: number): string => bytes(count).replace(/(\d{3,})\.\d/, "$1")

const paceOf = (figures: Figures): ReadonlyArray<string> => {
  const { done, rate, total } = figures
  if (rate === undefined) return []
  const speed = `${size(rate)}/s`
  return total === undefined || rate < 1 || done >= total || isUnsure(figures)
    ? [speed]
    : [speed, `${leftOf((total - done) / rate)} left`]
}

const leftOf = (seconds: number): string => {
  const whole = Math.ceil(seconds)
  return whole < 10 ? `${whole} s` : duration(whole * 1000)
}

const step = 4
const widest = 28

const bar = (part: number, width: number, ascii: boolean): string => {
  const [full, empty] = ascii ? ["#", "."] : ["█", "░"]
  const filled = Math.floor(part * width)
  return `[${full.repeat(filled)}${empty.repeat(width - filled)}]`
}

/** The rate over the last readings of how much is done. */
export const makeRate = () => {
  let readings: ReadonlyArray<{ readonly at: number; readonly done: number }> = []
  return (at: number, done: number): number | undefined => {
    const before = readings.at(-1)
    const usable = before !== undefined && done < before.done ? [] : readings
    readings = [...usable.filter((reading) => at - reading.at <= memoryMillis), { at, done }]
    const first = readings[0]
    return first === undefined || at - first.at < leastMillis
      ? undefined
      : ((done - first.done) * 1000) / (at - first.at)
  }
}

const memoryMillis = 20_000
const leastMillis = 500

/** Bars on the last lines of the terminal behind standard error; none without a terminal, on a dumb one, and when quiet. */
export const layer: Layer.Layer<Progress, never, Output> = Layer.unwrapEffect(
  Effect.map(Output, ({ options, terminal }) =>
    options.quiet || !terminal.isTerminal("stderr") || (terminal.env["TERM"] ?? "dumb") === "dumb"
      ? Progress.layerNone
      : Layer.sync(Progress, () => makeDisplay(terminal, options.ascii || !isUtf8(terminal.env)))
  )
)

const frameMillis = 200
const leastMillisBetween = 150
const mostLines = 6

const makeDisplay = (terminal: Terminal, ascii: boolean): typeof Progress.Service => {
  const lines: Array<Line> = []
  let notBefore = 0

  const draw = () => {
    const now = Date.now()
    const figures = lines.map((line) => line.read(now))
    if (now < notBefore) return
    notBefore = now + leastMillisBetween
    // One column stays free: a line that fills them all wraps on some terminals.
    const width = terminal.columns() - 1
    terminal.status(
      progressLines(figures, { width, lines: Math.max(1, Math.min(mostLines, terminal.rows() - 1)), ascii })
    )
  }
  const wipe = () => terminal.status([])
  // The shell writes where the cursor is.
  const pause = () => {
    wipe()
    process.kill(process.pid, "SIGSTOP")
  }
  // While the user makes the window smaller, each frame would be wrapped and push its rows up.
  const resized = () => {
    wipe()
    notBefore = Date.now() + leastMillisBetween
  }
  const begin = () => {
    notBefore = Date.now() + leastMillisBetween
    const frames = setInterval(draw, frameMillis)
    const stopListening = terminal.onResize(resized)
    process.on("exit", wipe)
    process.on("SIGTSTP", pause)
    return () => {
      clearInterval(frames)
      stopListening()
      process.off("exit", wipe)
      process.off("SIGTSTP", pause)
      wipe()
    }
  }
  let end = () => {}
  const add = (label: string): Line => {
    if (lines.length === 0) end = begin()
    const line = makeLine(label)
    lines.push(line)
    return line
  }
  const remove = (line: Line) => {
    lines.splice(lines.indexOf(line), 1)
    if (lines.length === 0) end()
    else draw()
  }
  return {
    start: (label) =>
      Effect.acquireRelease(
        Effect.sync(() => add(label)),
        (line) => Effect.sync(() => remove(line))
      ).pipe(Effect.map(({ update }) => update))
  }
}

type Line = ReturnType<typeof makeLine>

const makeLine = (label: string) => {
  let figures: ProgressFigures = { done: 0, total: undefined }
  let name = label
  let rate = makeRate()
  let shown = 0
  return {
    update: (now: ProgressFigures): void => {
      if (now.done < figures.done) {
        rate = makeRate()
        shown = 0
      }
      name = now.label ?? name
      figures = now
    },
    read: (at: number): Figures => {
      shown = partOf({ ...figures, shown }) ?? shown
      const label = withoutControls(name).replaceAll("\n", " ")
      return { ...figures, label, rate: rate(at, figures.done), shown }
    }
  }
}
