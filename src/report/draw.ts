import uPlot from "uplot"
import type { Chart } from "../domain/report/Chart.ts"
import { axisBytes, axisSeconds, clock, exactBytes, exactSeconds, tickBytes, tickSeconds } from "./figures.ts"
import type { Palette } from "./palette.ts"

const height = 220
const font = "12px system-ui, sans-serif"

/** Draws a chart into its place, as wide as that is, now and when it changes. */
export const drawn = (
  chart: Chart,
  place: HTMLElement,
  palette: Palette
): { readonly remove: () => void } => {
  const plot = new uPlot(optionsOf(chart, palette, place.clientWidth), dataOf(chart), place)
  place.setAttribute("data-drawn", "")
  const watcher = new ResizeObserver(() => {
    if (place.clientWidth > 0 && place.clientWidth !== plot.width) {
      plot.setSize({ width: place.clientWidth, height })
    }
  })
  watcher.observe(place)
  return {
    remove: () => {
      watcher.disconnect()
      plot.destroy()
      place.removeAttribute("data-drawn")
    }
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
  const bytes = chart.unit === "bytes"
  const axis: uPlot.Axis = {
    stroke: palette.text,
    font,
    grid: { stroke: palette.grid, width: 1 },
    ticks: { show: false }
  }
  const last = chart.times.length - 1
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
      {
        ...axis,
        size: 68,
        gap: 6,
        space: 36,
        incrs: bytes ? tickBytes : tickSeconds,
        values: (_, splits) => splits.map(bytes ? axisBytes : axisSeconds)
      }
    ],
    series: [
      { label: "time", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
      ...chart.series.map((_, layer) => seriesOf(chart, layer, palette, bytes ? exactBytes : exactSeconds))
    ],
    legend: { markers: { width: 0, fill: (_, index) => colourOf(index - 1, palette) } },
    cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
    hooks: {
      // Without a pointer the legend tells the latest figures.
      ready: [(plot) => plot.setLegend({ idx: last })],
      setCursor: [
        (plot) => {
          if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: last })
        }
      ]
    }
  }
}

const colourOf = (layer: number, { series, text }: Palette): string => series[layer % series.length] ?? text

const seriesOf = (
  chart: Chart,
  layer: number,
  palette: Palette,
  exact: (value: number) => string
): uPlot.Series => {
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
  switch (chart.kind) {
    case "stack":
      return {
        ...common,
        width: 0,
        fill: colour,
        points: { show: false },
        ...(bars === undefined ? {} : { paths: bars({ size: [0.8, 48], align: 1 }) })
      }
    case "steps":
      return {
        ...common,
        width: 2,
        points: { show: false },
        ...(stepped === undefined ? {} : { paths: stepped({ align: 1 }) })
      }
    case "points":
      return {
        ...common,
        width: layer === 0 ? 2 : 1.5,
        spanGaps: true,
        points: { show: chart.times.length <= 60, size: 5 }
      }
  }
}

/** A single time has no width of its own, and a bar stands to the right of its time. */
const rangeOf = ({ kind, step }: Chart, from: number, to: number): uPlot.Range.MinMax => {
  const end = kind === "stack" ? to + step : to
  return end > from ? [from, end] : [from - 1800, from + 1800]
}

const top = (most: number | null): number => (most !== null && most > 0 ? most * 1.08 : 1)
