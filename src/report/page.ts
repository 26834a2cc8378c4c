import type { Chart } from "../domain/report/Chart.ts"
import { duration } from "../domain/Units.ts"
import { drawn } from "./draw.ts"
import { paletteOf } from "./palette.ts"

/*
 * The program in the report: it draws the charts and says what depends on when and where the page is read. Everything else is
 * in the page already.
 */

const chartsOf = (): ReadonlyArray<Chart> =>
  JSON.parse(document.getElementById("charts")?.textContent ?? "[]")

/** Draws every chart anew: the colours are taken from the style sheet as it is now. */
const makeDrawing = (charts: ReadonlyArray<Chart>) => {
  let current: ReadonlyArray<ReturnType<typeof drawn>> = []
  return () => {
    for (const chart of current) chart.remove()
    const palette = paletteOf(document.documentElement)
    current = charts.flatMap((chart) => {
      const place = document.getElementById(`chart-${chart.id}`)
      if (place === null) return []
      place.replaceChildren()
      return [drawn(chart, place, palette)]
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

/** Times stay UTC, as in the log; the reader's own is told where the pointer rests. */
const tellLocalTimes = (): void => {
  for (const element of document.querySelectorAll("time")) {
    const at = new Date(element.dateTime)
    if (!Number.isNaN(at.getTime())) element.title = `here: ${at.toLocaleString()}`
  }
}

const redraw = makeDrawing(chartsOf())
redraw()
warnWhenOld()
tellLocalTimes()

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
