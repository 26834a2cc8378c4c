/** `auto-zip-20250101120000`: prefix and time in UTC. `millis` is in milliseconds since 1970. */
export const format = (prefix: string, millis: number): string =>
  `${prefix}-${new Date(millis).toISOString().slice(0, 19).replace(/[-T:]/g, "")}`

/** The time in milliseconds since 1970 that a name holds; undefined unless it is exactly one that {@link format} gives. */
export const parse = (prefix: string, name: string): number | undefined => {
  if (!name.startsWith(`${prefix}-`)) return undefined
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(name.slice(prefix.length + 1))
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  const millis = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(millis) || format(prefix, millis) !== name ? undefined : millis
}
