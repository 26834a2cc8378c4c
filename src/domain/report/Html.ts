import { harmless } from "../Text.ts"

/** Markup: made by {@link html} alone, so that text which comes from elsewhere is never taken for it. */
export interface Html {
  readonly _tag: "Html"
  readonly text: string
}

type Content = string | number | Html | ReadonlyArray<Html> | undefined

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** Text as it has to be written in HTML, between tags or in a quoted attribute; what cannot be seen becomes visible. */
const escaped = (text: string): string => harmless(text).replace(/[&<>"']/g, (char) => escapes[char] ?? char)

const written = (content: Content): string => {
  if (content === undefined) return ""
  if (typeof content === "string") return escaped(content)
  if (typeof content === "number") return String(content)
  return "text" in content ? content.text : content.map(({ text }) => text).join("")
}

/** A template of markup: whatever is put into it is text, unless it is markup of another template. */
export const html = (parts: TemplateStringsArray, ...contents: ReadonlyArray<Content>): Html => ({
  _tag: "Html",
  text: parts.reduce((text, part, index) => text + written(contents[index - 1]) + part)
})

/** What the project itself wrote and the build handed over: a program, a style sheet. */
export const ownText = (text: string): Html => ({ _tag: "Html", text })

/** A value as JSON in an element of its own, for a program to read: no `<` can end the element. */
export const dataElement = (id: string, value: unknown): Html => ({
  _tag: "Html",
  text: `<script type="application/json" id="${escaped(id)}">${JSON.stringify(value).replaceAll("<", "\\u003c")}</script>`
})
