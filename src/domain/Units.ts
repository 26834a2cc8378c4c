/** Figures as a person reads them. Pure, and the same in every locale. */

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const

/** A number of bytes: "0 B", "1023 B", "1.5 GiB". At most one digit after the point, never "1024.0 KiB". */
export const bytes = (count: number): string => {
  const size = Math.abs(count)
  const sign = count < 0 ? "-" : ""
  let unit = 0
  let value = size
  while (unit < byteUnits.length - 1 && tenths(value) >= 1024) {
    value /= 1024
    unit += 1
  }
  return `${sign}${unit === 0 ? Math.round(value) : tenths(value).toFixed(1)} ${byteUnits[unit] ?? "B"}`
}

const tenths = (value: number): number => Math.round(value * 10) / 10

/** A length of time given in milliseconds: "0.4 s", "12 s", "2 m 05 s", "3 h 07 m", "2 d 04 h". */
export const duration = (millis: number): string => {
  const seconds = Math.max(0, millis) / 1000
  if (tenths(seconds) < 10) return `${tenths(seconds).toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`
  const hours = Math.floor(minutes / 60)
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`
}

const two = (value: number): string => String(value).padStart(2, "0")

/** A number with its noun: "1 folder", "1,204 files", "2 entries". Without `plural`, an s is added. */
export const count = (n: number, noun: string, plural: string = `${noun}s`): string =>
  `${number(n)} ${n === 1 ? noun : plural}`

/** Digits in groups of three: "1,234,567". */
export const number = (n: number): string => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, ",")
