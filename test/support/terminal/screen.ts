/** A row of the terminal's memory. */
interface Row {
  cells: string
  /** Its text goes on in the next row: there was no room for more. */
  wrapped: boolean
}

/** What a terminal does with rows that no longer fit: `wrap` as tmux and GNOME's do, `cut` as xterm and consoles do. */
export type Resizing = "wrap" | "cut"

/**
 * A model of a terminal: what it shows after some bytes. It knows what the program uses of ECMA-48 and nothing else: anything
 * unknown is an error. Rows that scroll out at the top are kept.
 */
export const makeScreen = (options: {
  readonly columns: number
  readonly rows: number
  readonly resizing?: Resizing
}) => {
  let { columns, rows: height } = options
  let rows: Array<Row> = [{ cells: "", wrapped: false }]
  // The cursor: its row in all that is kept, and its column.
  let y = 0
  let x = 0
  let top = 0
  let wrapping = true
  let widestDrawn = 0

  const row = (at: number): Row => {
    while (rows.length <= at) rows.push({ cells: "", wrapped: false })
    const found = rows[at]
    if (found === undefined) throw new Error(`no row ${at}`)
    return found
  }
  const follow = (): void => {
    row(y)
    top = Math.max(top, y - height + 1)
  }
  const down = (): void => {
    y += 1
    follow()
  }
  const clear = (at: number): void => {
    rows[at] = { cells: "", wrapped: false }
    // As tmux does it: only a row that is cleared as a whole ends the one above.
    if (at > 0) row(at - 1).wrapped = false
  }
  const put = (char: string): void => {
    if (x === columns) {
      if (wrapping) {
        row(y).wrapped = true
        x = 0
        down()
      } else x = columns - 1
    }
    const { cells } = row(y)
    row(y).cells = `${cells.padEnd(x).slice(0, x)}${char}${cells.slice(x + 1)}`
    x += 1
    widestDrawn = Math.max(widestDrawn, x)
  }
  const control = (sequence: string): void => {
    const [, count = "", name = ""] = /^\[(\??\d*)([A-Za-z])$/.exec(sequence) ?? []
    const n = Number(count || 1)
    if (sequence === "[?7l") wrapping = false
    else if (sequence === "[?7h") wrapping = true
    else if (name === "m") return
    else if (name === "A") y = Math.max(top, y - n)
    else if (name === "C") x = Math.min(columns - 1, x + n)
    else if (name === "K" && count === "") {
      if (x === 0) clear(y)
      else row(y).cells = row(y).cells.slice(0, Math.min(x, columns - 1))
    } else if (name === "J" && count === "") {
      if (x === 0) clear(y)
      else row(y).cells = row(y).cells.slice(0, Math.min(x, columns - 1))
      for (let at = y + 1; at < rows.length; at += 1) clear(at)
    } else throw new Error(`unknown sequence: ${JSON.stringify(sequence)}`)
  }
  const trimmed = (): void => {
    while (rows.length - 1 > y && rows.at(-1)?.cells.trim() === "") rows.pop()
  }

  return {
    write: (text: string): void => {
      widestDrawn = 0
      for (const [token] of text.matchAll(/\x1b\[\??\d*[A-Za-z]|./gsu)) {
        if (token.startsWith("\x1b")) control(token.slice(1))
        else if (token === "\r") x = 0
        // The terminal's driver makes \r\n of it.
        else if (token === "\n") {
          x = 0
          down()
        } else if (token < " ") throw new Error(`unknown character: ${JSON.stringify(token)}`)
        else put(token)
      }
    },
    resize: (size: { readonly columns: number; readonly rows: number }): void => {
      height = size.rows
      trimmed()
      if (options.resizing === "cut") {
        for (const each of rows) each.cells = each.cells.slice(0, size.columns)
        x = Math.min(x, size.columns - 1)
      } else {
        const before = rows
        rows = []
        let text = ""
        let at: number | undefined
        let cursor = { y: 0, x: 0 }
        for (const [index, { cells, wrapped }] of before.entries()) {
          if (index === y) at = text.length + x
          text += wrapped ? cells.padEnd(columns) : cells
          if (wrapped) continue
          if (at !== undefined) {
            cursor = { y: rows.length + Math.floor(at / size.columns), x: at % size.columns }
            at = undefined
          }
          do {
            const rest = text.slice(size.columns)
            rows.push({ cells: text.slice(0, size.columns), wrapped: rest !== "" })
            text = rest
          } while (text !== "")
        }
        y = cursor.y
        x = cursor.x
      }
      columns = size.columns
      top = Math.max(0, rows.length - height)
      if (y < top) {
        y = top
        x = 0
      }
    },
    /** Lines above the cursor's, and from there on: rows that were wrapped joined, without empty ones at the end. */
    lines: (): { readonly above: ReadonlyArray<string>; readonly below: ReadonlyArray<string> } => {
      const joined = (part: ReadonlyArray<Row>): ReadonlyArray<string> => {
        const lines: Array<string> = []
        let text = ""
        for (const { cells, wrapped } of part) {
          text += cells
          if (wrapped) continue
          lines.push(text.trimEnd())
          text = ""
        }
        if (text !== "") lines.push(text.trimEnd())
        while (lines.at(-1) === "") lines.pop()
        return lines
      }
      return { above: joined(rows.slice(0, y)), below: joined(rows.slice(y)) }
    },
    cursor: () => ({ row: y - top, column: x }),
    /** How far to the right the last write went. */
    widest: () => widestDrawn
  }
}
