import { bytes, duration } from "../domain/Units.ts"

/** How far something is. */
export interface Figures {
  readonly done: number
  /** Undefined when nobody knows. */
  readonly total: number | undefined
  /** Bytes a second; undefined before there is anything to go by. */
  readonly rate: number | undefined
}

/**
 * The line of a progress bar, at most `width` wide: `tank/data  42% [████░░░░] 1.2 GiB of 2.9 GiB, 12.3 MiB/s, 2 m 05 s left`.
 * Where that is too wide, the bar goes first, then the amounts; a label that is still too long loses its beginning.
 */
export const progressText = (
  label: string,
  figures: Figures,
  options: { readonly width: number; readonly ascii: boolean }
): string => {
  const part = partOf(figures)
  const percent = part === undefined ? [] : [`${Math.floor(part * 100)}%`.padStart(4)]
  const pace = paceOf(figures)
  const amounts = [amountOf(figures), ...pace].join(", ")
  const fits = (words: ReadonlyArray<string>) => words.join(" ").length <= options.width

  const whole = [label, ...percent, amounts]
  if (fits(whole)) {
    const room = options.width - whole.join(" ").length - 3
    const drawn =
      part === undefined || room < narrowest ? [] : [bar(part, Math.min(room, widest), options.ascii)]
    return [label, ...percent, ...drawn, amounts].join(" ")
  }
  const short = [...percent, percent.length === 0 ? amountOf(figures) : (pace.at(-1) ?? "")].filter(
    (word) => word !== ""
  )
  if (fits([label, ...short])) return [label, ...short].join(" ")
  const tail = short.join(" ").trimStart()
  const left = options.width - tail.length - 2
  if (left < 1) return tail.slice(0, Math.max(0, options.width))
  return `${options.ascii ? "~" : "…"}${label.slice(-left)} ${tail}`
}

/** An estimate can be too low. */
const partOf = ({ done, total }: Figures): number | undefined =>
  total === undefined || total <= 0 ? undefined : Math.min(Math.max(done / total, 0), 1)

const amountOf = ({ done, total }: Figures): string =>
  total === undefined ? bytes(done) : `${bytes(done)} of ${bytes(total)}`

const paceOf = ({ rate, done, total }: Figures): ReadonlyArray<string> => {
  if (rate === undefined) return []
  const speed = `${bytes(rate)}/s`
  return total === undefined || rate < 1 || done >= total
    ? [speed]
    : [speed, `${duration(((total - done) / rate) * 1000)} left`]
}

const narrowest = 8
const widest = 30

const bar = (part: number, width: number, ascii: boolean): string => {
  const [full, empty] = ascii ? ["#", "."] : ["█", "░"]
  const filled = Math.floor(part * width)
  return `[${full.repeat(filled)}${empty.repeat(width - filled)}]`
}

/** How fast it has been lately, from readings of how much was done when. */
export const makeRate = () => {
  let readings: ReadonlyArray<{ readonly at: number; readonly done: number }> = []
  return (at: number, done: number): number | undefined => {
    const before = readings.at(-1)
    // What begins anew has a pace of its own.
    const usable = before !== undefined && done < before.done ? [] : readings
    readings = [...usable.filter((reading) => at - reading.at <= memoryMillis), { at, done }].slice(
      -maxReadings
    )
    const first = readings[0]
    return first === undefined || at - first.at < leastMillis
      ? undefined
      : ((done - first.done) * 1000) / (at - first.at)
  }
}

const memoryMillis = 20_000
const leastMillis = 500
const maxReadings = 200
