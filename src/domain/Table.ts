/** Tables for a person: aligned, and no wider than the terminal as far as that can be. */

/** One column. */
export interface Column {
  readonly title: string
  readonly align: "left" | "right"
  /** It may be cut where there is no room, on this side. */
  readonly cut?: "start" | "end"
}

/** No column is cut to less. */
const narrowest = 12

/**
 * The lines of a table, title first, without spaces at their ends. Columns where every row is empty are left out. Where
 * `width` does not do for them, they move together, and then the widest that may be cut are.
 */
export const render = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  options: { readonly width: number; readonly ellipsis: string }
): ReadonlyArray<string> => {
  const used = columns
    .map((column, index) => ({ column, cells: rows.map((row) => row[index] ?? "") }))
    .filter(({ cells }) => cells.some((cell) => cell !== ""))
    .map(({ cells, column }) => ({
      column,
      cells,
      width: Math.max(...[column.title, ...cells].map((cell) => cell.length))
    }))
  const roomy = total(used) + 2 * (used.length - 1) <= options.width
  const gap = roomy ? "  " : " "
  const widths = fitted(used, options.width - gap.length * (used.length - 1))
  const line = (cellOf: (column: (typeof used)[number]) => string) =>
    used
      .map((each, index) => {
        const width = widths[index] ?? 0
        const cell = shortened(cellOf(each), width, each.column.cut ?? "end", options.ellipsis)
        return each.column.align === "right" ? cell.padStart(width) : cell.padEnd(width)
      })
      .join(gap)
      .trimEnd()
  return [line(({ column }) => column.title), ...rows.map((_, row) => line(({ cells }) => cells[row] ?? ""))]
}

const total = (columns: ReadonlyArray<{ readonly width: number }>): number =>
  columns.reduce((sum, { width }) => sum + width, 0)

/** Widths whose sum is at most `room`, taken from the widest columns that may be cut. */
const fitted = (
  columns: ReadonlyArray<{ readonly column: Column; readonly width: number }>,
  room: number
): ReadonlyArray<number> => {
  const widths = columns.map(({ width }) => width)
  let over = total(columns) - room
  while (over > 0) {
    const widest = columns
      .map(({ column }, index) => ({ index, width: column.cut === undefined ? 0 : (widths[index] ?? 0) }))
      .reduce((a, b) => (b.width > a.width ? b : a), { index: -1, width: narrowest })
    if (widest.index < 0) break
    widths[widest.index] = widest.width - 1
    over -= 1
  }
  return widths
}

const shortened = (text: string, width: number, side: "start" | "end", ellipsis: string): string => {
  if (text.length <= width) return text
  const kept = Math.max(0, width - ellipsis.length)
  return side === "end" ? `${text.slice(0, kept)}${ellipsis}` : `${ellipsis}${text.slice(text.length - kept)}`
}
