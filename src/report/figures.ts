import type uPlot from "uplot"
import { bytes, duration } from "../domain/Units.ts"

/** Ticks and their texts. Bytes count in powers of 1024, seconds as a clock does. */

export const tickBytes: Array<number> = Array.from({ length: 61 }, (_, power) => 2 ** power)

const minute = 60
const hour = 60 * minute
const day = 24 * hour

export const tickSeconds: Array<number> = [
  0.1,
  0.2,
  0.5,
  1,
  2,
  5,
  10,
  15,
  30,
  ...[1, 2, 5, 10, 15, 30].map((n) => n * minute),
  ...[1, 2, 3, 6, 12].map((n) => n * hour),
  ...[1, 2, 7, 14, 28].map((n) => n * day)
]

/** `512 MiB`, `1.5 GiB`: as short as it can be without saying something else. */
export const axisBytes = (value: number): string => bytes(value).replace(".0 ", " ")

/** `0`, `0.5 s`, `90 s`, `1 h 30 m`. */
export const axisSeconds = (value: number): string =>
  value === 0
    ? "0"
    : duration(value * 1000)
        .replace(".0 ", " ")
        .replace(/ 00 [smh]$/, "")

export const exactBytes = bytes

export const exactSeconds = (value: number): string => duration(value * 1000)

/**
 * Texts of the time axis, for a day of 24 hours and dates that are read alike everywhere: uPlot's own are American.
 * A line: from how many seconds between ticks on; the text; what is added when year, month, day, hour, minute or second changed; mode 1 joins.
 */
export const clock: uPlot.Axis.Values = [
  [365 * day, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * day, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [day, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [minute, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1]
]
