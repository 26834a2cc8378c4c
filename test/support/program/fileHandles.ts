import fs from "node:fs"
import promises from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"
import zlib from "node:zlib"
import * as Effect from "effect/Effect"
import { vi } from "vitest"

/** A file or folder at the moment when it was synced. */
export interface Synced {
  readonly ino: number
  readonly size: number
}

/** For the length of the scope, every sync through a file handle: it is done, and written down here. */
export const recordedSyncs = Effect.acquireRelease(
  Effect.promise(async () => {
    const handle = await promises.open("/dev/null")
    const prototype: promises.FileHandle = Object.getPrototypeOf(handle)
    await handle.close()
    const { sync } = prototype
    const synced: Array<Synced> = []
    const spy = vi.spyOn(prototype, "sync").mockImplementation(async function (this: promises.FileHandle) {
      const { ino, size } = await this.stat()
      await sync.call(this)
      synced.push({ ino, size })
    })
    return { synced, spy }
  }),
  ({ spy }) => Effect.sync(() => spy.mockRestore())
).pipe(Effect.map(({ synced }): ReadonlyArray<Synced> => synced))

/** For the length of the scope, every sync through a file handle fails with this code. */
export const failingSyncs = (code: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const handle = await promises.open("/dev/null")
      const prototype: promises.FileHandle = Object.getPrototypeOf(handle)
      await handle.close()
      return vi
        .spyOn(prototype, "sync")
        .mockRejectedValue(Object.assign(new Error(`${code}: no, fsync`), { code }))
    }),
    (spy) => Effect.sync(() => spy.mockRestore())
  )

/** For the length of the scope, `statfs` gives what the test says. */
export const fakedStatfs = Effect.acquireRelease(
  Effect.sync(() => {
    const spy = vi.spyOn(promises, "statfs")
    syncBuiltinESMExports()
    return spy
  }),
  (spy) =>
    Effect.sync(() => {
      spy.mockRestore()
      syncBuiltinESMExports()
    })
)

/** For the length of the scope, closing a file handle closes it and then fails, as it may on a network. */
export const failingCloses = Effect.acquireRelease(
  Effect.sync(() => {
    const { open } = promises
    const spy = vi.spyOn(promises, "open").mockImplementation(async (...args) => {
      const file = await open(...args)
      const close = file.close.bind(file)
      file.close = async () => {
        await close()
        throw ioError()
      }
      return file
    })
    syncBuiltinESMExports()
    return spy
  }),
  (spy) =>
    Effect.sync(() => {
      spy.mockRestore()
      syncBuiltinESMExports()
    })
)

/** For the length of the scope, files whose path ends with `suffix` have one bit flipped when they are synced. */
export const flippedWrites = (suffix: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { open } = promises
      const spy = vi.spyOn(promises, "open").mockImplementation(async (...args) => {
        const file = await open(...args)
        const path = String(args[0])
        if (!path.endsWith(suffix)) return file
        const sync = file.sync.bind(file)
        file.sync = async () => {
          const content = fs.readFileSync(path)
          content[0] = (content[0] ?? 0) ^ 1
          fs.writeFileSync(path, content)
          await sync()
        }
        return file
      })
      syncBuiltinESMExports()
      return spy
    }),
    (spy) =>
      Effect.sync(() => {
        spy.mockRestore()
        syncBuiltinESMExports()
      })
  )

/** The same for descriptors that are closed synchronously. */
export const failingCloseSyncs = Effect.acquireRelease(
  Effect.sync(() => {
    const { closeSync } = fs
    const spy = vi.spyOn(fs, "closeSync").mockImplementation((fd) => {
      closeSync(fd)
      throw ioError()
    })
    syncBuiltinESMExports()
    return spy
  }),
  (spy) =>
    Effect.sync(() => {
      spy.mockRestore()
      syncBuiltinESMExports()
    })
)

/** For the length of the scope, synchronous syncs and renames in their order: the inode that is synced, and where is renamed to. */
export const recordedOrder = Effect.acquireRelease(
  Effect.sync(() => {
    const { fsyncSync, renameSync } = fs
    const steps: Array<string> = []
    const spies = [
      vi.spyOn(fs, "fsyncSync").mockImplementation((fd) => {
        fsyncSync(fd)
        steps.push(`sync ${fs.fstatSync(fd).ino}`)
      }),
      vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
        steps.push(`rename ${fs.lstatSync(from).ino}`)
        renameSync(from, to)
      })
    ]
    syncBuiltinESMExports()
    return { steps, spies }
  }),
  ({ spies }) =>
    Effect.sync(() => {
      for (const spy of spies) spy.mockRestore()
      syncBuiltinESMExports()
    })
).pipe(Effect.map(({ steps }): ReadonlyArray<string> => steps))

/** For the length of the scope, synchronous syncs fail with this code. */
export const failingSyncSyncs = (code: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const spy = vi.spyOn(fs, "fsyncSync").mockImplementation(() => {
        throw Object.assign(new Error(`${code}: no, fsync`), { code })
      })
      syncBuiltinESMExports()
      return spy
    }),
    (spy) =>
      Effect.sync(() => {
        spy.mockRestore()
        syncBuiltinESMExports()
      })
  )

/** For the length of the scope, zlib finds no memory for what it would inflate or deflate at once. */
export const noMemoryForZlib = Effect.acquireRelease(
  Effect.sync(() => {
    const spies = (["inflateRawSync", "deflateRawSync"] as const).map((name) =>
      vi.spyOn(zlib, name).mockImplementation(() => {
        throw new RangeError("Array buffer allocation failed")
      })
    )
    syncBuiltinESMExports()
    return spies
  }),
  (spies) =>
    Effect.sync(() => {
      for (const spy of spies) spy.mockRestore()
      syncBuiltinESMExports()
    })
)

const ioError = () => Object.assign(new Error("EIO: i/o error, close"), { code: "EIO" })
