import type { Outcome } from "../runs/Run.ts"
import { count, number, withoutControls } from "../text/Text.ts"
import type { Day } from "./Jobs.ts"

/** Markup. Only the functions of this file make it, so that foreign text is never taken for markup. */
export interface Html {
  readonly _tag: "Html"
  readonly text: string
}

type Content = string | number | Html | ReadonlyArray<Html> | undefined

/** A template of markup: what is put into it is text, unless it is markup of another template. */
export const html = (parts: TemplateStringsArray, ...contents: ReadonlyArray<Content>): Html =>
  ownText(parts.reduce((text, part, index) => text + textOf(contents[index - 1]) + part))

/** Markup from the project's own build: a program, a style sheet. */
export const ownText = (text: string): Html => ({ _tag: "Html", text })

/** A value as JSON in an element of its own, for a program to read: no `<` can end the element. */
export const dataElement = (id: string, value: unknown): Html =>
  ownText(
    `<script type="application/json" id="${escaped(id)}">${JSON.stringify(value).replaceAll("<", "\\u003c")}</script>`
  )

const textOf = (content: Content): string => {
  if (content === undefined) return ""
  if (typeof content === "string") return escaped(content)
  if (typeof content === "number") return String(content)
  return "text" in content ? content.text : content.map(({ text }) => text).join("")
}

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** Text as it has to be written in HTML, between tags or in a quoted attribute; what cannot be seen becomes visible. */
const escaped = (text: string): string => withoutControls(text).replace(/[&<>"']/g, (char) => escapes[char] ?? char)

/** `2025-01-01 12:00`, in UTC, from milliseconds since 1970. */
export const utc = (at: number): string => new Date(at).toISOString().slice(0, 16).replace("T", " ")

/** A time, with what a program needs to show it in the reader's own zone. */
export const time = (at: number | undefined): Html =>
  at === undefined
    ? html`<span class="none">never</span>`
    : html`<time datetime="${new Date(at).toISOString()}">${utc(at)}</time>`

/** A time with its age (`7 h ago`), or "never". */
export const timeAndAge = (at: number | undefined, now: number): Html => {
  if (at === undefined) return time(at)
  const age = at > now + 60_000 ? `in ${roughly(at - now)}` : `${roughly(now - at)} ago`
  return html`${time(at)} <span class="age">${age}</span>`
}

/** A length of time in one unit, as a person would say it: "59 m", "7 h", "3 d". */
export const roughly = (millis: number): string => {
  const minutes = Math.round(Math.abs(millis) / 60_000)
  if (minutes < 60) return `${minutes} m`
  const hours = Math.round(minutes / 60)
  return hours < 48 ? `${hours} h` : `${number(Math.round(hours / 24))} d`
}

type Colour = "good" | "bad" | "warn" | "idle"

/** A word in colour. The sign before it says the same without the colour. */
export const badge = (colour: Colour, word: string): Html => html`<span class="badge ${colour}">${word}</span>`

const outcomes: Readonly<Record<Outcome, readonly [Colour, string]>> = {
  ok: ["good", "ok"],
  failed: ["bad", "failed"],
  not_started: ["bad", "could not begin"],
  interrupted: ["warn", "interrupted"]
}

export const outcome = (value: Outcome): Html => badge(...outcomes[value])

const longest = 1000

/** A message, cut to a length that can be read. */
export const message = (text: string): Html =>
  html`<span class="message">${text.length > longest ? `${text.slice(0, longest)}…` : text}</span>`

export interface Column<A> {
  readonly title: string
  /** How it is aligned, where lines may break, and how much room it has on a narrow page. */
  readonly kind?: "figure" | "name" | "short" | "state" | "text"
  readonly cell: (item: A) => string | Html
}

/** At most `most` rows; more are only counted. Where the page is too narrow, each row is a card, without its empty cells. */
export const table = <A>(
  label: string,
  columns: ReadonlyArray<Column<A>>,
  items: ReadonlyArray<A>,
  { all = items.length, most, noun }: { readonly all?: number; readonly most: number; readonly noun: string }
): Html => {
  const kindOf = ({ kind }: Column<A>): Html | undefined => (kind === undefined ? kind : html` class="${kind}"`)
  const shown = items.slice(0, most)
  const rest = all - shown.length
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${label}"><table>
<thead><tr>${columns.map((column) => html`<th scope="col"${kindOf(column)}>${column.title}</th>`)}</tr></thead>
<tbody>
${shown.map(
  (
    item
  ) => html`<tr>${columns.map((column) => html`<td${kindOf(column)} data-title="${column.title}">${column.cell(item)}</td>`)}</tr>
`
)}</tbody></table></div>${rest > 0 ? html`<p class="note">${number(rest)} more ${noun} are not shown.</p>` : undefined}`
}

/** Values, each of which holds until the next, as a filled line from zero; null: none yet. Nothing where there are fewer than two. */
export const stepLine = (label: string, values: ReadonlyArray<number | null>): Html => {
  const most = Math.max(1, ...values.map((value) => value ?? 0))
  const height = (value: number) => 100 - Math.round((value / most) * 96)
  const begin = values.findIndex((value) => value !== null)
  if (begin < 0 || values.length < 2) return html``
  const steps = values.flatMap((value, index) => {
    if (value === null || (index > begin && value === values[index - 1])) return []
    return [index === begin ? `M${index} ${height(value)}` : `H${index}V${height(value)}`]
  })
  const end = values.length - 1
  const line = `${steps.join("")}H${end}`
  return html`<svg class="line" viewBox="0 0 ${end} 100" preserveAspectRatio="none" role="img" aria-label="${label}"><path class="area" d="${line}V100H${begin}Z"/><path d="${line}"/></svg>`
}

const dayBars: Readonly<Record<Day["worst"], readonly [word: string, inset: number]>> = {
  none: ["no run", 9],
  ok: ["all well", 4],
  interrupted: ["interrupted", 0],
  failed: ["something failed", 0],
  not_started: ["could not begin", 0]
}

const barWidth = 8
const barStep = 10
const barHeight = 22

/** One bar a day, the latest at the right. A day on which something was wrong is taller, so that it is seen without colour. */
export const strip = (days: ReadonlyArray<Day>): Html => {
  const width = Math.max(1, days.length * barStep - (barStep - barWidth))
  const bad = days.filter(({ worst }) => worst !== "ok" && worst !== "none").length
  return html`<svg class="strip" viewBox="0 0 ${width} ${barHeight}" preserveAspectRatio="none" role="img" aria-label="${count(days.length, "day")}, ${bad} with something wrong">${days.map(
    ({ at, runs, worst }, index) => {
      const [word, inset] = dayBars[worst]
      return html`<rect class="${worst}" x="${index * barStep}" y="${inset}" width="${barWidth}" height="${barHeight - 2 * inset}" rx="1"><title>${utc(at).slice(0, 10)}: ${word}${runs > 0 ? `, ${count(runs, "run")}` : ""}</title></rect>`
    }
  )}</svg>`
}
