import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { isFlocked } from "../../src/system/SocketLock.ts"

// A list as Linux 6.1 writes it: a lease, a record lock, one that waits, a large minor number.
const recorded = `1: FLOCK  ADVISORY  WRITE 2711 fe:00:2187993 0 EOF
1: -> FLOCK  ADVISORY  WRITE 2712 fe:00:51 0 EOF
2: POSIX  ADVISORY  READ 812 00:1a:42 128 128
3: LEASE  ACTIVE    READ 913 00:1a:43 0 EOF
4: FLOCK  ADVISORY  READ -1 00:11f:7 0 EOF
`

describe("isFlocked", () => {
  it("finds a file by device and inode among the locks that are held", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-locks-"))
    const list = path.join(folder, "locks")
    fs.writeFileSync(list, recorded)
    const device = (major: number, minor: number): bigint =>
      (BigInt(minor) & 0xffn) | (BigInt(major) << 8n) | ((BigInt(minor) & ~0xffn) << 12n)
    const stat = fs.statSync(list, { bigint: true })
    const ask = (dev: bigint, ino: bigint) => isFlocked(Object.assign(stat, { dev, ino }), list)
    assert.isTrue(await ask(device(0xfe, 0), 2187993n))
    assert.isTrue(await ask(device(0, 0x11f), 7n))
    assert.isFalse(await ask(device(0xfe, 1), 2187993n), "another device")
    assert.isFalse(await ask(device(0xfe, 0), 218799n), "another inode")
    assert.isFalse(await ask(device(0xfe, 0), 51n), "it waits")
    assert.isFalse(await ask(device(0, 0x1a), 42n), "a record lock")
    assert.isFalse(await isFlocked(stat, path.join(folder, "none")), "no such list")
    fs.rmSync(folder, { recursive: true })
  })
})
