/**
 * Times in archives. The UT field holds signed 32-bit seconds, and readers disagree about negative ones, so a
 * time before 1970 is written as 1970-01-01T00:00:00Z and one after 2038-01-19T03:14:07Z as that.
 */
const latest = 0x7fff_ffff

/** Seconds since 1970 as an archive holds them: fractions cut off, clamped. */
export const archiveSeconds = (mtimeNs: bigint): number => {
  if (mtimeNs <= 0n) return 0
  const seconds = Number(mtimeNs / 1_000_000_000n)
  return Math.min(seconds, latest)
}

/**
 * The same time in DOS form, which knows no time zone: in UTC, so that an archive's bytes do not depend on
 * where it was made. Readers that know the UT field ignore it. Even seconds, from 1980 on.
 */
export const dosTime = (seconds: number): { readonly date: number; readonly time: number } => {
  const at = new Date(seconds * 1000)
  const year = at.getUTCFullYear()
  if (year < 1980) return { date: (1 << 5) | 1, time: 0 }
  return {
    date: ((year - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1)
  }
}
