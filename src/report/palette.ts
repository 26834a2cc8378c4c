/** Colours of the charts, as the style sheet has them. */
export interface Palette {
  readonly text: string
  readonly grid: string
  readonly series: ReadonlyArray<string>
}

const names = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6", "--line-7"]

export const paletteOf = (element: Element): Palette => {
  const style = getComputedStyle(element)
  const colour = (name: string): string => style.getPropertyValue(name).trim()
  return { text: colour("--muted"), grid: colour("--grid"), series: names.map(colour) }
}
