import fs from "node:fs"
import promises from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"
import zlib from "node:zlib"
import * as Effect from "effect/Effect"
import { vi } from "vitest"

/** Spies for the length of the scope, also seen by those who have imported the functions by name. */
const withSpies = <A extends ReadonlyArray<{ readonly mockRestore: () => void }>>(make: () => A) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const spies = make()
      syncBuiltinESMExports()
      return spies
    }),
    (spies) =>
      Effect.sync(() => {
        for (const spy of spies) spy.mockRestore()
        syncBuiltinESMExports()
      })
  )

/** What all file handles share. */
const handlePrototype = Effect.promise(async () => {
  const handle = await promises.open("/dev/null")
  const prototype: promises.FileHandle = Object.getPrototypeOf(handle)
  await handle.close()
  return prototype
})

const failure = (code: string, text: string) => Object.assign(new Error(`${code}: ${text}`), { code })

const ioError = () => failure("EIO", "i/o error, close")

/** A file or folder at the moment when it was synced. */
export interface Synced {
  readonly ino: number
  readonly size: number
}

/** For the length of the scope, every sync through a file handle: it is done, and written down here. */
export const recordedSyncs = Effect.gen(function* () {
  const prototype = yield* handlePrototype
  const { sync } = prototype
  const synced: Array<Synced> = []
  yield* withSpies(() => [
    vi.spyOn(prototype, "sync").mockImplementation(async function (this: promises.FileHandle) {
      const { ino, size } = await this.stat()
      await sync.call(this)
      synced.push({ ino, size })
    })
  ])
  const found: ReadonlyArray<Synced> = synced
  return found
})

/** For the length of the scope, every sync through a file handle fails with this code. */
export const failingSyncs = (code: string) =>
  Effect.flatMap(handlePrototype, (prototype) =>
    Effect.map(
      withSpies(() => [vi.spyOn(prototype, "sync").mockRejectedValue(failure(code, "no, fsync"))] as const),
      ([spy]) => spy
    )
  )

/** For the length of the scope, `statfs` gives what the test says. */
export const fakedStatfs = Effect.map(
  withSpies(() => [vi.spyOn(promises, "statfs")] as const),
  ([spy]) => spy
)

/** For the length of the scope, `lstat` of a path that ends with `suffix` gives its result late. */
export const lateLook = (suffix: string) =>
  withSpies(() => {
    const { lstat } = promises
    return [
      vi.spyOn(promises, "lstat").mockImplementation(async (...args) => {
        const found = await lstat(...args)
        if (String(args[0]).endsWith(suffix)) await new Promise((resolve) => setTimeout(resolve, 50))
        return found
      })
    ] as const
  })

/** For the length of the scope, files that are opened are changed by `change`. */
const changedFiles = (change: (file: promises.FileHandle, path: string) => void) =>
  Effect.map(
    withSpies(() => {
      const { open } = promises
      return [
        vi.spyOn(promises, "open").mockImplementation(async (...args) => {
          const file = await open(...args)
          change(file, String(args[0]))
          return file
        })
      ] as const
    }),
    ([spy]) => spy
  )

/** For the length of the scope, closing a file handle closes it and then fails, as it may on a network. */
export const failingCloses = changedFiles((file) => {
  const close = file.close.bind(file)
  file.close = async () => {
    await close()
    throw ioError()
  }
})

/** For the length of the scope, files whose path ends with `suffix` have one bit flipped when they are synced. */
export const flippedWrites = (suffix: string) =>
  changedFiles((file, path) => {
    if (!path.endsWith(suffix)) return
    const sync = file.sync.bind(file)
    file.sync = async () => {
      const content = fs.readFileSync(path)
      content[0] = (content[0] ?? 0) ^ 1
      fs.writeFileSync(path, content)
      await sync()
    }
  })

/** The same for descriptors that are closed synchronously. */
export const failingCloseSyncs = Effect.map(
  withSpies(() => {
    const { closeSync } = fs
    return [
      vi.spyOn(fs, "closeSync").mockImplementation((fd) => {
        closeSync(fd)
        throw ioError()
      })
    ] as const
  }),
  ([spy]) => spy
)

/** For the length of the scope, synchronous syncs and renames in their order: the inode that is synced, and where is renamed to. */
export const recordedOrder = Effect.gen(function* () {
  const { fsyncSync, renameSync } = fs
  const steps: Array<string> = []
  yield* withSpies(() => [
    vi.spyOn(fs, "fsyncSync").mockImplementation((fd) => {
      fsyncSync(fd)
      steps.push(`sync ${fs.fstatSync(fd).ino}`)
    }),
    vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
      steps.push(`rename ${fs.lstatSync(from).ino}`)
      renameSync(from, to)
    })
  ])
  const found: ReadonlyArray<string> = steps
  return found
})

/** For the length of the scope, synchronous syncs fail with this code. */
export const failingSyncSyncs = (code: string) =>
  Effect.map(
    withSpies(
      () =>
        [
          vi.spyOn(fs, "fsyncSync").mockImplementation(() => {
            throw failure(code, "no, fsync")
          })
        ] as const
    ),
    ([spy]) => spy
  )

/** For the length of the scope, zlib finds no memory for what it would inflate or deflate at once. */
export const noMemoryForZlib = withSpies(() =>
  (["inflateRawSync", "deflateRawSync"] as const).map((name) =>
    vi.spyOn(zlib, name).mockImplementation(() => {
      throw new RangeError("Array buffer allocation failed")
    })
  )
)
