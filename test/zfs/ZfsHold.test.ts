import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as RawPath from "../../src/text/RawPath.ts"
import { hold } from "../../src/zfs/Zfs.ts"

/** How many descriptors of this process are open on the folder. */
const openOn = (folder: string): number =>
  readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) === folder
    } catch {
      // The one that readdir used.
      return false
    }
  }).length

const held = (folder: string) => hold(RawPath.fromText(folder), "the snapshot tank/data@new")

describe("the folder of a snapshot", () => {
  it.effect("is open until the scope closes where another file system is mounted on it", () =>
    Effect.gen(function* () {
      // Another file system than /dev on every Linux.
      const within = yield* Effect.scoped(Effect.map(held("/dev/shm"), () => openOn("/dev/shm")))
      assert.strictEqual(within, 1)
      assert.strictEqual(openOn("/dev/shm"), 0)
    })
  )

  it.effect("is refused, and closed, where it is only the empty folder of a snapshot that is not mounted", () =>
    Effect.gen(function* () {
      const root = mkdtempSync(join(tmpdir(), "zipper-hold-"))
      const snapshot = join(root, ".zfs/snapshot/new")
      mkdirSync(snapshot, { recursive: true })
      const error = yield* Effect.flip(Effect.scoped(held(snapshot)))
      assert.strictEqual(error.reason, "Unmounted")
      assert.include(error.message, `the snapshot tank/data@new cannot be read: the system did not mount it`)
      assert.include(error.message, "sysctl fs.mount-max")
      assert.strictEqual(openOn(snapshot), 0)
      const gone = yield* Effect.flip(Effect.scoped(held(join(root, "gone"))))
      assert.match(gone.message, /cannot be read at .*gone: no such file or directory/)
      rmSync(root, { recursive: true })
    })
  )
})
