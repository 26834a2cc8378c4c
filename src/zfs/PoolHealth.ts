import * as Either from "effect/Either"
import * as RawPath from "../text/RawPath.ts"
import { count, firstNames, shellWord } from "../text/Text.ts"
import { dayMillis } from "../text/Time.ts"

/** What a pool says of itself. */
export interface PoolHealth {
  readonly pool: string
  /** `ONLINE`, `DEGRADED`, `FAULTED`, `SUSPENDED`, … */
  readonly state: string
  /** Each device that is not as it should be: `sdb FAULTED, 3 read, 0 write, 12 checksum errors`. */
  readonly devices: ReadonlyArray<string>
  /** What has blocks that the pool cannot repair: `tank/a@1:/docs/x`, `/mnt/a/docs/x`, `<0xa4>:<0x3>`. */
  readonly errors: ReadonlyArray<string>
  /** There are such blocks, and only root gets to see of what. */
  readonly unnamed: boolean
  /** The last scrub or resilver in zfs's words: the pool remembers no other. Undefined: there was none. */
  readonly scan: string | undefined
}

/** Arguments of zpool for {@link readPool}. OpenZFS 2.1 and 2.3 print the same, 2.3 no list of errors to other users than root. */
export const poolArguments = (pool: string): ReadonlyArray<string> => ["status", "-vp", pool]

/** Left: the line that is not what zpool prints. */
export const readPool = (text: string): Either.Either<PoolHealth, string> => {
  const pool = /^\s*pool: (.+)$/m.exec(text)?.[1]
  const state = /^\s*state: ([A-Z]+)$/m.exec(text)?.[1]
  if (pool === undefined || state === undefined) return Either.left(text.split("\n", 1)[0] ?? "")
  const scan = /^\s*scan: (.+)$/m.exec(text)?.[1]
  const errors = /^errors: (.*)$/m.exec(text)?.[1] ?? (/data\s+corruption/.test(text) ? "not shown" : none)
  const names = (text.split(/^errors: Permanent errors .*$/m)[1] ?? "")
    .split("\n")
    .flatMap((line) => (line.startsWith("        ") ? [RawPath.display(RawPath.fromLatin1(line.trim()))] : []))
  return Either.right({
    pool,
    state,
    devices: devicesIn(text),
    errors: names,
    unnamed: errors !== none && names.length === 0,
    scan: scan === "none requested" ? undefined : scan
  })
}

/** What is wrong with the pool, to be read after its name and that of its host. */
export const poolProblems = ({ devices, errors, pool, state, unnamed }: PoolHealth): ReadonlyArray<string> => {
  const named = shellWord(pool)
  const of = devices.length === 0 ? "" : ` (${firstNames(devices, mostNamed)})`
  const advice = `there: zpool status -v ${named}`
  return [
    ...(state === "ONLINE" ? [] : [`is ${state}${of}; ${advice}`]),
    ...(state === "ONLINE" && devices.length > 0
      ? [`has devices with errors${of}; ${advice} says what to do, and zpool clear ${named} forgets them`]
      : []),
    ...(errors.length > 0
      ? [`has blocks that it cannot repair in ${count(errors.length, "place")}: ${firstNames(errors, mostNamed)}`]
      : []),
    ...(unnamed ? [`has blocks that it cannot repair; root is shown of what, ${advice}`] : [])
  ]
}

/** Why no stream can be received into the pool, to be read after its name and that of its host; undefined when one may. */
export const receiveProblem = ({ pool, state }: PoolHealth, readOnly: boolean): string | undefined => {
  const named = shellWord(pool)
  if (readOnly) return `is imported read-only; there: zpool export ${named} && zpool import ${named}`
  return state === "ONLINE" || state === "DEGRADED" ? undefined : `is ${state}; there: zpool status -v ${named}`
}

/** Of what the blocks are that cannot be read, as far as the pool says. */
export const unreadableIn = (health: PoolHealth | undefined, pool: string): string =>
  health === undefined || health.errors.length === 0
    ? `zpool status -v ${shellWord(pool)}, there and as root, names what cannot be read`
    : `the pool ${pool} cannot read ${firstNames(health.errors, mostNamed)}`

/** A scrub each month, and some days for one that came late. */
const longestUnscrubbed = 35

/** Why it is not known that all blocks of the pool are readable, to be read after its name. `now`: milliseconds since 1970. */
export const scrubRemark = ({ pool, scan }: PoolHealth, now: number): string | undefined => {
  const command = `there: zpool scrub ${shellWord(pool)}`
  if (scan === undefined) return `was never scrubbed: blocks that nothing reads may be damaged; ${command}`
  // In the time zone of the host, which matters little to an age in days.
  const at = Date.parse(/ (?:on|since) (.+)$/.exec(scan)?.[1] ?? "")
  const isYoung = now - at <= longestUnscrubbed * dayMillis
  if (isYoung && !/^scrub (?:paused|canceled)/.test(scan)) return undefined
  return `had no whole scrub in the last ${longestUnscrubbed} days, as far as it knows (${scan}); ${command}`
}

const none = "No known data errors"

const mostNamed = 5

/** A row has the more blanks the deeper its device lies; a mirror is one of the rows, and its devices follow. */
const devicesIn = (text: string): ReadonlyArray<string> => {
  const table = text.split(/^(?:config:|errors: .*)$/m)[1] ?? ""
  const rows = [...table.matchAll(deviceRow)]
  return rows.flatMap(([, indent = "", name, state = "", read = "0", write = "0", checksum = "0", note], index) => {
    const hasDevices = (rows[index + 1]?.[1]?.length ?? 0) > indent.length
    const failed = [read, write, checksum].some((figure) => figure !== "0")
    if (index === 0 || (healthy.has(state) && !failed) || (hasDevices && !failed)) return []
    const counts = failed ? `, ${read} read, ${write} write, ${checksum} checksum errors` : ""
    return [`${name} ${state}${counts}${note === undefined ? "" : `, ${note}`}`]
  })
}

const deviceRow = /^\t( *)(?!NAME )(\S.*?) +([A-Z]+)(?: +(\d+) +(\d+) +(\d+))?(?: +(\S.*))?$/gm

const healthy: ReadonlySet<string> = new Set(["ONLINE", "AVAIL", "INUSE"])
