import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { poolProblems, readPool, scrubRemark } from "../../src/zfs/PoolHealth.ts"

const corrupt = `status: One or more devices has experienced an error resulting in data
\tcorruption.  Applications may be affected.
action: Restore the file in question if possible.  Otherwise restore the
\tentire pool from backup.
   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-8A
`

const scrubbed = "scrub repaired 0B in 00:00:01 with 0 errors on Sat Nov 28 18:12:24 2026"
const afterScrub = Date.parse("2026-12-03T00:00:00Z")

/** As both versions print it. */
const status = (parts: {
  readonly state?: string
  readonly why?: string
  readonly scan?: string
  readonly rows: string
  readonly errors?: string
}): string =>
  `  pool: t1
 state: ${parts.state ?? "ONLINE"}
${parts.why ?? ""}${parts.scan === undefined ? "" : `  scan: ${parts.scan}\n`}config:

\tNAME        STATE     READ WRITE CKSUM
${parts.rows}
${parts.errors ?? "errors: No known data errors\n"}`

const oneDisk = (checksums = 0) =>
  `\tt1          ONLINE       0     0     0\n\t  /tmp/d1   ONLINE       0     0     ${checksums}\n`

const read = (text: string) => Either.getOrThrowWith(readPool(text), (line) => new Error(line))

describe("PoolHealth", () => {
  it("finds nothing wrong with a pool that is well, and knows its last scrub", () => {
    const health = read(status({ rows: oneDisk(), scan: scrubbed }))
    assert.deepStrictEqual(health, {
      pool: "t1",
      state: "ONLINE",
      devices: [],
      errors: [],
      unnamed: false,
      scan: scrubbed
    })
    assert.deepStrictEqual(poolProblems(health), [])
    assert.isUndefined(scrubRemark(health, afterScrub))
  })

  it("names what cannot be repaired, on 2.1 and on 2.3", () => {
    const of21 =
      "errors: Permanent errors have been detected in the following files:\n\n        t1/sp ace@s1:/th ree\n        t1/vol@s1:<0x1>\n        <0xa4>:<0x3>\n"
    const of23 =
      "errors: Permanent errors have been detected in the following files:\n\n        /t1/a/b/tw\xc3\xb6\n        t1/a@s1:/one\n"
    const old = read(status({ why: corrupt, rows: oneDisk(10), errors: of21 }))
    assert.deepStrictEqual(old.errors, ["t1/sp ace@s1:/th ree", "t1/vol@s1:<0x1>", "<0xa4>:<0x3>"])
    assert.deepStrictEqual(old.devices, ["/tmp/d1 ONLINE, 0 read, 0 write, 10 checksum errors"])
    assert.deepStrictEqual(read(status({ why: corrupt, rows: oneDisk(), errors: of23 })).errors, [
      "/t1/a/b/twö",
      "t1/a@s1:/one"
    ])
    assert.include(
      poolProblems(old).join("\n"),
      "cannot repair in 3 places: t1/sp ace@s1:/th ree, t1/vol@s1:<0x1>, <0xa4>:<0x3>"
    )
  })

  it("knows that there are errors which only root is shown", () => {
    // Both versions, to another user: the line that begins with errors is on stderr.
    const health = read(status({ why: corrupt, rows: oneDisk(), errors: "" }))
    assert.isTrue(health.unnamed)
    assert.match(poolProblems(health).join("\n"), /root is shown of what, there: zpool status -v t1/)
    assert.isTrue(read(status({ rows: oneDisk(), errors: "errors: 5 data errors, use '-v' for a list\n" })).unnamed)
  })

  it("names the devices of a pool that is not whole, and not the mirrors above them", () => {
    const rows = `\tt1              DEGRADED     0     0     0
\t  mirror-0      DEGRADED     0     0     0
\t    /tmp/d2     ONLINE       0     0     0
\t    1234567890  UNAVAIL      0     0     0  was /tmp/d3
\t  mirror-1      ONLINE       0     0     0
\t    my disk     ONLINE       3     0     8
\t    spare-1     ONLINE       0     0     0
\t      /tmp/d5   ONLINE       0     0     0
\tlogs\t
\t  /tmp/d6       FAULTED      0     1     0  too many errors
\tspares
\t  /tmp/d4       AVAIL   
`
    const health = read(status({ state: "DEGRADED", rows }))
    assert.deepStrictEqual(health.devices, [
      "1234567890 UNAVAIL, was /tmp/d3",
      "my disk ONLINE, 3 read, 0 write, 8 checksum errors",
      "/tmp/d6 FAULTED, 0 read, 1 write, 0 checksum errors, too many errors"
    ])
    assert.match(poolProblems(health).join("\n"), /^is DEGRADED \(1234567890 UNAVAIL, was \/tmp\/d3, my disk/)
  })

  it("asks for a scrub where none has read all blocks in the last 35 days", () => {
    const remark = (scan: string | undefined, now = afterScrub) =>
      scrubRemark(read(status({ rows: oneDisk(), ...(scan === undefined ? {} : { scan }) })), now)
    assert.match(remark(undefined) ?? "", /^was never scrubbed: .*zpool scrub t1$/)
    assert.match(remark("none requested") ?? "", /^was never scrubbed/)
    assert.isUndefined(remark("scrub in progress since Sat Nov 28 18:21:07 2026"))
    assert.isUndefined(remark("resilvered 20.2M in 00:00:04 with 0 errors on Sat Nov 28 18:21:19 2026"))
    const late = Date.parse("2027-01-04T00:00:00Z")
    assert.match(remark(scrubbed, late) ?? "", /^had no whole scrub in the last 35 days, .*Sat Nov 28/)
    assert.isUndefined(remark(scrubbed, Date.parse("2027-01-01T00:00:00Z")))
    for (const scan of ["scrub paused since Sat Nov 28 18:21:09 2026", "scrub canceled on Sat Nov 28 18:21:10 2026"]) {
      assert.match(remark(scan) ?? "", /^had no whole scrub/, scan)
    }
    assert.match(remark("scrub of another version") ?? "", /^had no whole scrub/)
  })

  it("takes nothing else for the health of a pool", () => {
    assert.deepStrictEqual(
      readPool("cannot open 'nope': no such pool\n"),
      Either.left("cannot open 'nope': no such pool")
    )
    assert.isTrue(Either.isLeft(readPool("")))
  })
})
