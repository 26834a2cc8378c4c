import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Disk, DiskError } from "../../../src/system/Disk.ts"

/** One operation on the disk, as it happens. */
export interface Operation {
  /** 1, 2, … in the order in which they begin. */
  readonly number: number
  readonly name: string
  readonly path: string
  /** It changes what another process sees. */
  readonly changes: boolean
}

/** What to do around each operation. An errno name makes the operation fail with it. */
export interface Hooks {
  readonly before?: (operation: Operation) => string | undefined
  /** The operation has been carried out. */
  readonly after?: (operation: Operation) => string | undefined
}

const changing = new Set([
  "write",
  "writeUnsynced",
  "append",
  "setMode",
  "makeFolder",
  "rename",
  "link",
  "copy",
  "remove",
  "removeFolder"
])

/** The real disk, with something happening around each operation. */
export const layer = (hooks: Hooks): Layer.Layer<Disk> =>
  Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => {
      let count = 0
      const around = <A>(name: string, path: string, effect: Effect.Effect<A, DiskError>) =>
        Effect.suspend(() => {
          count += 1
          const operation: Operation = { number: count, name, path, changes: changing.has(name) }
          const refused = hooks.before?.(operation)
          if (refused !== undefined) return injected(operation, refused)
          return Effect.flatMap(effect, (value) => {
            const failed = hooks.after?.(operation)
            return failed === undefined ? Effect.succeed(value) : injected(operation, failed)
          })
        })
      return {
        stat: (path) => around("stat", path, disk.stat(path)),
        list: (path) => around("list", path, disk.list(path)),
        read: (path) => around("read", path, disk.read(path)),
        readBytes: (path) => around("readBytes", path, disk.readBytes(path)),
        head: (path) => around("head", path, disk.head(path)),
        write: (path, content) => around("write", path, disk.write(path, content)),
        writeUnsynced: (path, content) => around("writeUnsynced", path, disk.writeUnsynced(path, content)),
        append: (path, line) => around("append", path, disk.append(path, line)),
        setMode: (path, mode) => around("setMode", path, disk.setMode(path, mode)),
        makeFolder: (path, mode) => around("makeFolder", path, disk.makeFolder(path, mode)),
        rename: (from, to) => around("rename", to, disk.rename(from, to)),
        link: (existing, path) => around("link", path, disk.link(existing, path)),
        copy: (from, to, sha256) => around("copy", to, disk.copy(from, to, sha256)),
        remove: (path) => around("remove", path, disk.remove(path)),
        removeFolder: (path) => around("removeFolder", path, disk.removeFolder(path)),
        sync: (path) => around("sync", path, disk.sync(path)),
        free: (path) => around("free", path, disk.free(path)),
        freeInodes: (path) => around("freeInodes", path, disk.freeInodes(path)),
        writable: (path) => around("writable", path, disk.writable(path)),
        executable: (path) => around("executable", path, disk.executable(path))
      }
    })
  ).pipe(Layer.provide(Disk.layer))

const injected = (operation: Operation, code: string) =>
  Effect.fail(
    new DiskError({
      path: operation.path,
      code,
      message: `cannot ${operation.name} ${operation.path}: injected ${code}`,
      transient: code === "EIO",
      cause: Object.assign(new Error(`injected ${code}`), { code })
    })
  )

/** One operation fails: without having been carried out, or after it. From it on all of them, when it lasts. */
export const failAt = (fault: {
  readonly number: number
  readonly when: "before" | "after"
  readonly lasting: boolean
  readonly code: string
}): { readonly hooks: Hooks; readonly reached: () => boolean } => {
  let reached = false
  const decide = (when: "before" | "after") => (operation: Operation) => {
    const hit =
      operation.number === fault.number
        ? when === fault.when
        : fault.lasting && operation.number > fault.number && when === "before"
    if (hit) reached = true
    return hit ? fault.code : undefined
  }
  return { hooks: { before: decide("before"), after: decide("after") }, reached: () => reached }
}
