import uPlot from "uplot"
import { bytes, duration } from "../../text/Text.ts"
import type { Chart } from "../Chart.ts"

/** The program in the report: it draws the charts and says what depends on when and where the page is read. */

const minute = 60
const hour = 60 * minute
const day = 24 * hour

/** How figures of a unit are written: at ticks (`1.5 GiB`, `1 h 30 m`: as short as they can be) and in the legend. */
interface Unit {
  readonly ticks: Array<number>
  readonly short: (value: number) => string
  readonly exact: (value: number) => string
}

const inSeconds = (value: number): string => duration(value * 1000)

/** Bytes count in powers of 1024, seconds as a clock does. */
const units: Readonly<Record<Chart["unit"], Unit>> = {
  bytes: {
    ticks: Array.from({ length: 61 }, (_, power) => 2 ** power),
    short: (value) => bytes(value).replace(".0 ", " "),
    exact: bytes
  },
  seconds: {
    ticks: [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30].concat(
      [1, 2, 5, 10, 15, 30].map((n) => n * minute),
      [1, 2, 3, 6, 12].map((n) => n * hour),
      [1, 2, 7, 14, 28].map((n) => n * day)
    ),
    short: (value) => {
      const text = inSeconds(value).replace(".0 ", " ")
      return value === 0 ? "0" : text.replace(/ 00 [smh]$/, "")
    },
    exact: inSeconds
  }
}

/**
 * Texts of the time axis, for a day of 24 hours and dates that are read alike everywhere: uPlot's own are American.
 * A line: from how many seconds between ticks on; the text; what is added when year, month, day, hour, minute or second changed; mode 1 joins.
 */
const clock: uPlot.Axis.Values = [
  [365 * day, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * day, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [day, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [minute, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1]
]

const height = 220
const font = "12px system-ui, sans-serif"

/** Draws a chart into its place, as wide as that is, now and when it changes. Gives what removes it. */
const drawChart = (chart: Chart, place: HTMLElement, palette: Palette): (() => void) => {
  const plot = new uPlot(optionsOf(chart, palette, place.clientWidth), dataOf(chart), place)
  place.setAttribute("data-drawn", "")
  const watcher = new ResizeObserver(() => {
    if (place.clientWidth > 0 && place.clientWidth !== plot.width) {
      plot.setSize({ width: place.clientWidth, height })
    }
  })
  watcher.observe(place)
  return () => {
    watcher.disconnect()
    plot.destroy()
    place.removeAttribute("data-drawn")
  }
}

/** Of a stack, each bar is painted with all that is below it: those after it cover all but its own part. */
const dataOf = ({ kind, series, times }: Chart): uPlot.AlignedData => [
  [...times],
  ...series.map(({ values }, layer) =>
    kind === "stack"
      ? times.map((_, at) => series.slice(layer).reduce((sum, below) => sum + (below.values[at] ?? 0), 0))
      : [...values]
  )
]

const optionsOf = (chart: Chart, palette: Palette, width: number): uPlot.Options => {
  const unit = units[chart.unit]
  const grid = { stroke: palette.grid, width: 1 }
  const axis: uPlot.Axis = { stroke: palette.text, font, grid, ticks: { show: false } }
  // The legend, while there is no pointer.
  const showLatest = (plot: uPlot) => plot.setLegend({ idx: chart.times.length - 1 })
  return {
    width,
    height,
    tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), "Etc/UTC"),
    scales: {
      x: { range: (_, from, to) => rangeOf(chart, from, to) },
      y: { range: (_, __, most) => [0, top(most)] }
    },
    axes: [
      { ...axis, space: 64, values: clock },
      { ...axis, size: 68, gap: 6, space: 36, incrs: unit.ticks, values: (_, splits) => splits.map(unit.short) }
    ],
    series: [
      { label: "time", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
      ...chart.series.map((_, layer) => seriesOf(chart, layer, palette, unit))
    ],
    legend: { markers: { width: 0, fill: (_, index) => colourOf(index - 1, palette) } },
    cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
    hooks: {
      ready: [showLatest],
      setCursor: [(plot) => (plot.cursor.idx ?? undefined) === undefined && showLatest(plot)]
    }
  }
}

const colourOf = (layer: number, { series, text }: Palette): string => series[layer % series.length] ?? text

const seriesOf = (chart: Chart, layer: number, palette: Palette, { exact }: Unit): uPlot.Series => {
  const colour = colourOf(layer, palette)
  const series = chart.series[layer]
  const common: uPlot.Series = {
    label: series?.label ?? "",
    stroke: colour,
    // What a layer stands for, not how high it is painted.
    value: (_, __, ___, index) => {
      const value = index === null ? null : series?.values[index]
      return value === null || value === undefined ? "–" : exact(value)
    }
  }
  const { bars, stepped } = uPlot.paths
  const points = { show: false }
  switch (chart.kind) {
    case "stack": {
      const filled = { ...common, width: 0, fill: colour, points }
      return bars === undefined ? filled : { ...filled, paths: bars({ size: [0.8, 48], align: 1 }) }
    }
    case "steps": {
      const line = { ...common, width: 2, points }
      return stepped === undefined ? line : { ...line, paths: stepped({ align: 1 }) }
    }
    case "points": {
      const width = layer === 0 ? 2 : 1.5
      return { ...common, width, spanGaps: true, points: { show: chart.times.length <= 60, size: 5 } }
    }
  }
}

/** A single time has no width of its own, and a bar stands to the right of its time. */
const rangeOf = ({ kind, step }: Chart, from: number, to: number): uPlot.Range.MinMax => {
  const end = kind === "stack" ? to + step : to
  return end > from ? [from, end] : [from - 1800, from + 1800]
}

const top = (most: number | null): number => (most !== null && most > 0 ? most * 1.08 : 1)

interface Palette {
  readonly text: string
  readonly grid: string
  readonly series: ReadonlyArray<string>
}

const names = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6", "--line-7"]

const paletteOf = (element: Element): Palette => {
  const style = getComputedStyle(element)
  const colour = (name: string): string => style.getPropertyValue(name).trim()
  return { text: colour("--muted"), grid: colour("--grid"), series: names.map(colour) }
}

const chartsOf = (): ReadonlyArray<Chart> => JSON.parse(document.getElementById("charts")?.textContent ?? "[]")

/** Draws every chart anew: the colours are taken from the style sheet as it is now. */
const makeDrawing = (charts: ReadonlyArray<Chart>) => {
  let drawn: ReadonlyArray<() => void> = []
  return () => {
    for (const remove of drawn) remove()
    const palette = paletteOf(document.documentElement)
    drawn = charts.flatMap((chart) => {
      const place = document.getElementById(`chart-${chart.id}`)
      if (place === null) return []
      place.replaceChildren()
      return [drawChart(chart, place, palette)]
    })
  }
}

/** What is read long after it was made says so. */
const warnWhenOld = (): void => {
  const note = document.getElementById("stale")
  const age = Date.now() - Date.parse(document.body.dataset["made"] ?? "")
  if (note === null || !(age > staleMillis)) return
  note.textContent = `This page is ${duration(age)} old: what happened since is not in it.`
  note.hidden = false
}
const staleMillis = 26 * 3_600_000

/** Times stay UTC, as in the log; a tooltip shows the reader's local time. */
const showLocalTimes = (): void => {
  for (const element of document.querySelectorAll("time")) {
    const at = new Date(element.dateTime)
    if (!Number.isNaN(at.getTime())) element.title = `here: ${at.toLocaleString()}`
  }
}

const redraw = makeDrawing(chartsOf())
redraw()
warnWhenOld()
showLocalTimes()

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw)
// Paper is white: the style sheet alone cannot change what is painted already.
addEventListener("beforeprint", () => {
  document.documentElement.classList.add("paper")
  redraw()
})
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("paper")
  redraw()
})
