import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { isLasting, parseMountInfo, parseMountOutput } from "../../src/system/MountTable.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { parseDatasets, rows, table } from "../../src/zfs/ZfsList.ts"

const raw = RawPath.fromLatin1

describe("ZfsList", () => {
  it("reads Linux's mountinfo, with its escapes and optional fields", () => {
    const text = [
      "33 27 0:29 / /mnt/od\\040d\\011tab\xc3\xbc rw - zfs tank/my\\040data rw,xattr,noacl",
      "36 35 98:0 /ABCD /srv rw,noatime master:1 shared:7 - zfs tank/data rw",
      "22 1 0:20 / /proc rw,nosuid - proc proc rw",
      "garbage",
      ""
    ].join("\n")
    assert.deepStrictEqual(parseMountInfo(text), [
      { device: "tank/my data", type: "zfs", mountpoint: raw("/mnt/od d\ttab\xc3\xbc"), root: raw("/") },
      { device: "tank/data", type: "zfs", mountpoint: raw("/srv"), root: raw("/ABCD") },
      { device: "proc", type: "proc", mountpoint: raw("/proc"), root: raw("/") }
    ])
  })

  it("leaves out a folder that is bound to its own place, and no other", () => {
    const text = [
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
      "30 22 0:40 / /mnt/tank rw - zfs tank rw",
      "31 22 8:17 /old /mnt/usb rw - ext4 /dev/sdb1 rw",
      // As systemd has ReadWritePaths: two folders, one in the other, one in a part of a file system, a mount as it is.
      "40 30 0:40 /zips /mnt/tank/zips rw - zfs tank rw",
      "41 40 0:40 /zips/ABCD /mnt/tank/zips/ABCD rw - zfs tank rw",
      "42 31 8:17 /old/zips /mnt/usb/zips rw - ext4 /dev/sdb1 rw",
      "43 22 8:1 /var/log /var/log rw - ext4 /dev/sda1 rw",
      "44 30 0:40 / /mnt/tank rw - zfs tank rw",
      // Another folder of the file system, and another file system that has the folder.
      "50 30 0:40 /new /mnt/tank/EFGH rw - zfs tank rw",
      "51 30 0:41 /IJKL /mnt/tank/IJKL rw - zfs tank/other rw",
      "52 99 0:40 /MNOP /mnt/tank/MNOP rw - zfs tank rw"
    ].join("\n")
    assert.deepStrictEqual(
      parseMountInfo(text).map(({ mountpoint }) => mountpoint),
      ["/", "/mnt/tank", "/mnt/usb", "/mnt/tank/EFGH", "/mnt/tank/IJKL", "/mnt/tank/MNOP"].map(raw)
    )
  })

  it("knows what stays mounted from what comes and goes by itself", () => {
    const mount = { mountpoint: raw("/mnt"), root: raw("/") }
    assert.isTrue(isLasting({ ...mount, type: "zfs", device: "tank/data" }))
    assert.isTrue(isLasting({ ...mount, type: "fuse.sshfs", device: "me@host:" }))
    assert.isFalse(isLasting({ ...mount, type: "zfs", device: "tank/data@auto-zip-20250101120000" }))
    assert.isFalse(isLasting({ ...mount, type: "autofs", device: "systemd-1" }))
  })

  it("reads what mount prints on FreeBSD and macOS", () => {
    const text = [
      "tank/data on /mnt/tank/data (zfs, local, noatime, nfsv4acls)",
      "tank/my data on /mnt/my data (old) (zfs, local)",
      "devfs on /dev (devfs)",
      "map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)",
      ""
    ].join("\n")
    assert.deepStrictEqual(
      parseMountOutput(text).map(({ device, mountpoint, type }) => [device, mountpoint, type]),
      [
        ["tank/data", "/mnt/tank/data", "zfs"],
        ["tank/my data", "/mnt/my data (old)", "zfs"],
        ["devfs", "/dev", "devfs"],
        ["map auto_home", "/System/Volumes/Data/home", "autofs"]
      ]
    )
  })

  it("reads datasets whose mount point holds a tab", () => {
    assert.deepStrictEqual(
      parseDatasets("tank/a\ton\t-\t/a\tb\nc\ntank/b\toff\tunavailable\tlegacy\n"),
      Either.right([
        { name: "tank/a", canmount: "on", keystatus: "-", mountpoint: raw("/a\tb\nc") },
        { name: "tank/b", canmount: "off", keystatus: "unavailable", mountpoint: raw("legacy") }
      ])
    )
  })

  it("takes for a list only what is one", () => {
    assert.deepStrictEqual(parseDatasets("Welcome to nas\ntank/a\ton\t-\t/a\n"), Either.left("Welcome to nas"))
    assert.deepStrictEqual(parseDatasets("tank/a\ton\t-\t/a\ntank/b\ton\t-\t/"), Either.left("tank/b\ton\t-\t/"))
    assert.deepStrictEqual(table("a\t1\nb\n", 2), Either.left("b"))
    assert.deepStrictEqual(table("a\t1\nb\t2", 2), Either.left("b\t2"))
    assert.deepStrictEqual(
      table("a\t1\nb\t2\n", 2),
      Either.right([
        ["a", "1"],
        ["b", "2"]
      ])
    )
    assert.deepStrictEqual(table("", 2), Either.right([]))
  })

  it.prop("never breaks on any text", [FastCheck.string()], ([text]) => {
    parseMountInfo(text)
    parseMountOutput(text)
    parseDatasets(text)
    rows(text)
  })
})
