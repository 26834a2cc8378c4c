import type { Outcome } from "../History.ts"
import * as Units from "../Units.ts"
import { type Html, html } from "./Html.ts"
import type { Day } from "./Jobs.ts"

/** Small pieces of the page. */

/** `2025-01-01 12:00`, in UTC, from milliseconds since 1970. */
export const utc = (at: number): string => new Date(at).toISOString().slice(0, 16).replace("T", " ")

/** A time, with what a program needs to show it in the reader's own zone. */
export const time = (at: number | undefined): Html =>
  at === undefined
    ? html`<span class="none">never</span>`
    : html`<time datetime="${new Date(at).toISOString()}">${utc(at)}</time>`

/** A length of time in one unit, as a person would say it: "59 m", "7 h", "3 d". */
export const roughly = (millis: number): string => {
  const minutes = Math.round(Math.abs(millis) / 60_000)
  if (minutes < 60) return `${minutes} m`
  const hours = Math.round(minutes / 60)
  return hours < 48 ? `${hours} h` : `${Units.number(Math.round(hours / 24))} d`
}

/** `7 h ago`. */
const ago = (at: number, now: number): string =>
  at > now + 60_000 ? `in ${roughly(at - now)}` : `${roughly(now - at)} ago`

/** A time with its age, or "never". */
export const timeAndAge = (at: number | undefined, now: number): Html =>
  at === undefined ? time(at) : html`${time(at)} <span class="age">${ago(at, now)}</span>`

/** One column of a table: its heading, and whether it holds figures. */
interface Column {
  readonly title: string
  readonly figures?: boolean
}

/** A table whose own frame scrolls sideways where the page is narrower. */
export const table = (
  label: string,
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string | Html>>
): Html => {
  const kind = (index: number): Html | undefined =>
    columns[index]?.figures === true ? html` class="figure"` : undefined
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}"><table>
<thead><tr>${columns.map(({ title }, index) => html`<th scope="col"${kind(index)}>${title}</th>`)}</tr></thead>
<tbody>
${rows.map(
  (row) => html`<tr>${row.map((cell, index) => html`<td${kind(index)}>${cell}</td>`)}</tr>
`
)}</tbody></table></div>`
}

/** A word in colour. The sign before it is for those who do not see the colour. */
export const badge = (kind: "good" | "bad" | "warn" | "idle", word: string): Html =>
  html`<span class="badge ${kind}">${word}</span>`

/** How a run ended. */
export const outcome = (value: Outcome): Html => {
  switch (value) {
    case "ok":
      return badge("good", "ok")
    case "failed":
      return badge("bad", "failed")
    case "not_started":
      return badge("bad", "could not begin")
    case "interrupted":
      return badge("warn", "interrupted")
  }
}

const sparkWidth = 96
const sparkHeight = 20

/** Values over time (in any order: the clock may have been set) as a small line, drawn from zero; nothing where there are fewer than two. */
export const sparkline = (
  label: string,
  values: ReadonlyArray<{ readonly at: number; readonly value: number }>
): Html => {
  const points = [...values].sort((a, b) => a.at - b.at)
  const [first] = points
  const last = points.at(-1)
  if (first === undefined || last === undefined || last.at === first.at) return html``
  const most = Math.max(1, ...points.map(({ value }) => value))
  const drawn = points.map(({ at, value }) => {
    const x = ((at - first.at) / (last.at - first.at)) * sparkWidth
    const y = sparkHeight - 1 - (value / most) * (sparkHeight - 2)
    return `${x.toFixed(1)},${y.toFixed(1)}`
  })
  return html`<svg class="spark" viewBox="0 0 ${sparkWidth} ${sparkHeight}" width="${sparkWidth}" height="${sparkHeight}" role="img" aria-label="${label}"><polyline points="${drawn.join(" ")}"/></svg>`
}

const dayWords: Readonly<Record<Day["worst"], string>> = {
  none: "no run",
  ok: "all well",
  interrupted: "interrupted",
  failed: "something failed",
  not_started: "could not begin"
}

const cell = 8
const gap = 2
const height = 22

/** One bar a day, the latest at the right. A day on which something was wrong is taller, so that it is seen without colour. */
export const strip = (days: ReadonlyArray<Day>): Html => {
  const width = days.length * (cell + gap) - gap
  const bad = days.filter(({ worst }) => worst !== "ok" && worst !== "none").length
  return html`<svg class="strip" viewBox="0 0 ${Math.max(width, 1)} ${height}" preserveAspectRatio="none" role="img" aria-label="${Units.count(days.length, "day")}, ${bad} with something wrong">${days.map(
    ({ at, runs, worst }, index) => {
      const inset = worst === "none" ? 9 : worst === "ok" ? 4 : 0
      return html`<rect class="${worst}" x="${index * (cell + gap)}" y="${inset}" width="${cell}" height="${height - 2 * inset}" rx="1"><title>${utc(at).slice(0, 10)}: ${dayWords[worst]}${runs > 0 ? `, ${Units.count(runs, "run")}` : ""}</title></rect>`
    }
  )}</svg>`
}
