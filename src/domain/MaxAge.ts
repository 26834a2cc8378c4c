const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `90m`, `26h` or `2d` in milliseconds; undefined for anything else, and for no time at all. */
export const parse = (text: string): number | undefined => {
  const match = /^([0-9]{1,6})(s|m|h|d)$/.exec(text)
  const unit = match?.[2]
  if (match === null || (unit !== "s" && unit !== "m" && unit !== "h" && unit !== "d")) return undefined
  const millis = Number(match[1]) * units[unit]
  return millis > 0 ? millis : undefined
}
