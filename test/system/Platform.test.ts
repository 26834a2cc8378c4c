import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { platformOf } from "../../src/system/Platform.ts"
import { Process } from "../../src/system/Process.ts"
import { ProcessError } from "../../src/system/supervise.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { startOf } from "../../src/zfs/SnapshotPrune.ts"
import { readMounts } from "../../src/zfs/SourceLayout.ts"
import { type Answer, processFake } from "../support/program/processFake.ts"

// In the form that the manual pages of FreeBSD 13 give: no test runs there.
const mountOutput = `tank/ROOT/default on / (zfs, local, noatime, nfsv4acls)
devfs on /dev (devfs)
tank/my data on /mnt/tank/my data (zfs, local, nfsv4acls)
/dev/gpt/efi on /boot/efi (msdosfs, local)
nas:/export on /mnt/share (nfs, read-only)
`
const start = "Sat Nov 28 07:05:01 2026"

const asked = <A, E>(effect: Effect.Effect<A, E, Process>, answer: (line: string) => Answer) => {
  const fake = processFake(answer)
  return Effect.map(Effect.either(Effect.provide(effect, fake.layer)), (result) => ({ result, calls: fake.calls }))
}

describe("Platform", () => {
  it("has FreeBSD's numbers, from its headers", () => {
    const freebsd = platformOf("freebsd")
    assert.strictEqual(freebsd.name, "FreeBSD")
    assert.isFalse(freebsd.tested)
    // fcntl.h: O_EXLOCK 0x20, O_NONBLOCK 0x4.
    const { O_CREAT, O_NOFOLLOW, O_RDWR } = fs.constants
    assert.strictEqual(freebsd.lockFlags, O_RDWR | O_CREAT | O_NOFOLLOW | 0x20 | 0x4)
    assert.isTrue(freebsd.locksOnOpen)
    assert.strictEqual(freebsd.errors[97], "EINTEGRITY")
    assert.isUndefined(freebsd.mountList)
    assert.isUndefined(freebsd.openFiles)
  })

  it("takes no other system for a BSD", () => {
    const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = fs.constants
    for (const name of ["linux", "sunos"] as const) {
      const { errors, lockFlags, locksOnOpen, tested } = platformOf(name)
      assert.strictEqual(lockFlags, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK)
      assert.isFalse(locksOnOpen)
      assert.strictEqual(tested, name === "linux")
      assert.isUndefined(errors[97])
    }
  })

  it.effect("reads what is mounted from the program mount where the kernel keeps no list", () =>
    Effect.gen(function* () {
      const read = Effect.flatMap(Process, (runner) => readMounts(runner, platformOf("freebsd")))
      const { calls, result } = yield* asked(read, () => ({ stdout: mountOutput }))
      assert.deepStrictEqual(calls, ["mount"])
      assert.deepStrictEqual(
        result._tag === "Right"
          ? result.right.map(({ device, mountpoint, type }) => [device, RawPath.display(mountpoint), type])
          : [],
        [
          ["tank/ROOT/default", "/", "zfs"],
          ["devfs", "/dev", "devfs"],
          ["tank/my data", "/mnt/tank/my data", "zfs"],
          ["/dev/gpt/efi", "/boot/efi", "msdosfs"],
          ["nas:/export", "/mnt/share", "nfs"]
        ]
      )
      const failed = yield* asked(read, () => ({ exitCode: 1, stderr: "mount: getmntinfo: Input/output error\n" }))
      assert.include(
        failed.result._tag === "Left" ? failed.result.left.message : "",
        "cannot read the list of mounted file systems: mount: getmntinfo: Input/output error"
      )
    })
  )

  it.effect("asks ps when a process started, where /proc does not say", () =>
    Effect.gen(function* () {
      const ask = Effect.flatMap(Process, (runner) => startOf(runner, 812, platformOf("freebsd")))
      const { calls, result } = yield* asked(ask, () => ({ stdout: `${start}    \n` }))
      assert.deepStrictEqual(calls, ["ps -o lstart= -p 812"])
      assert.deepStrictEqual(result, (yield* asked(ask, () => ({ stdout: `${start}\n` }))).result)
      assert.strictEqual(result._tag === "Right" ? result.right : undefined, start)
      const gone = yield* asked(ask, () => ({ exitCode: 1 }))
      assert.isUndefined(gone.result._tag === "Right" ? gone.result.right : "failed")
      const failure = new ProcessError({ reason: "NotFound", program: "ps", message: "no ps", transient: false })
      const missing = yield* asked(ask, () => failure)
      assert.isUndefined(missing.result._tag === "Right" ? missing.result.right : "failed")
    })
  )

  it("reads the list of the kernel on Linux", async () => {
    const list = path.join(os.tmpdir(), `zipper-mounts-${process.pid}`)
    fs.writeFileSync(list, "36 35 0:29 /ABCD /srv rw - zfs tank/data rw\n")
    const { layer, calls } = processFake(() => ({}))
    const mounts = await Effect.runPromise(
      Effect.flatMap(Process, (runner) => readMounts(runner, { mountList: list })).pipe(Effect.provide(layer))
    )
    fs.rmSync(list)
    assert.deepStrictEqual(calls, [])
    assert.deepStrictEqual(
      mounts.map(({ device }) => device),
      ["tank/data"]
    )
  })
})
