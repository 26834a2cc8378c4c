import { assert, describe, it } from "@effect/vitest"
import { holderOf, isMissing, notMounted } from "../../src/store/Mounts.ts"
import { parseMountInfo } from "../../src/system/MountTable.ts"
import * as RawPath from "../../src/text/RawPath.ts"

const raw = RawPath.fromText
const mounts = parseMountInfo(`22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/usb rw - autofs systemd-1 rw
31 30 8:17 / /mnt/usb rw - ext4 /dev/sdb1 rw
32 22 0:41 / /mnt/auto rw - autofs systemd-1 rw
33 22 8:17 /safe /mnt/usb2 rw - ext4 /dev/sdb1 rw
`)

describe("what a folder lies on", () => {
  it("is the mount with the longest mount point above it, and never what only waits for a mount", () => {
    assert.deepStrictEqual(holderOf(mounts, raw("/mnt/usb/backup/zips")), {
      mountpoint: "/mnt/usb",
      type: "ext4"
    })
    assert.deepStrictEqual(holderOf(mounts, raw("/mnt/usb2")), { mountpoint: "/mnt/usb2", type: "ext4" })
    assert.deepStrictEqual(holderOf(mounts, raw("/mnt/usb3")), { mountpoint: "/", type: "ext4" })
    assert.deepStrictEqual(holderOf(mounts, raw("/mnt/auto/x")), { mountpoint: "/", type: "ext4" })
    assert.deepStrictEqual(holderOf([], raw("/x")), { mountpoint: "/", type: "" })
  })

  it("is missing when only what is above it is mounted", () => {
    const at = (mountpoint: string) => ({ mountpoint, type: "ext4" })
    assert.isTrue(isMissing(at("/mnt/usb"), at("/")))
    assert.isTrue(isMissing(at("/mnt/usb"), at("/mnt")))
    assert.isFalse(isMissing(at("/mnt/usb"), at("/mnt/usb")))
    assert.isFalse(isMissing(at("/mnt/usb"), at("/mnt/usb/zips")))
    assert.isFalse(isMissing(at("/"), at("/")))
    assert.isFalse(isMissing(at("/mnt/usb"), at("/mnt/us")))
    assert.strictEqual(
      notMounted("target_path", "/mnt/usb/zips", at("/mnt/usb"), "/var/log/zipper.ab.mounts"),
      "target_path /mnt/usb/zips lay on the ext4 file system that was mounted at /mnt/usb at the last run, and nothing is mounted there now: mount it; or, if it is not to be mounted any more, remove /var/log/zipper.ab.mounts"
    )
  })
})
