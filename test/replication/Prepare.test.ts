import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Answer } from "../support/program/processFake.ts"
import { receiver } from "../support/replication/replicationEnds.ts"

/** `prepare` on a dataset with these values, where `zfs version` answers so. */
const prepareExisting = (values: string, version: Answer) => {
  const { calls, receiver: of } = receiver((line) => {
    if (line === "zfs version") return version
    return { stdout: line.startsWith("zfs list") ? "dst\ndst/b\n" : line.startsWith("zfs get") ? values : "" }
  })
  return { calls, done: of.prepare("dst/b", { canmount: "off", acltype: "posix", xattr: "sa" }) }
}

describe("prepare", () => {
  it.effect("prepares a dataset that is not there, with its parents", () =>
    Effect.gen(function* () {
      const { calls, receiver: of } = receiver((line) =>
        line.startsWith("zfs list")
          ? {
              exitCode: 1,
              stdout: "dst\n",
              stderr: "cannot open 'dst/b': dataset does not exist\ncannot open 'dst/b/c': dataset does not exist\n"
            }
          : {}
      )
      assert.deepStrictEqual(yield* of.prepare("dst/b/c", { canmount: "off", xattr: "sa" }), {
        created: true,
        parents: ["dst/b"],
        changed: []
      })
      assert.deepStrictEqual(calls.slice(1), [
        "zfs create -o canmount=off dst/b",
        "zfs create -o canmount=off -o xattr=sa dst/b/c"
      ])
    })
  )

  it.effect("prepares a dataset that is there: sets only what differs", () =>
    Effect.gen(function* () {
      const prepared = (values: string) => prepareExisting(values, { stdout: "zfs-2.1.11-1\nzfs-kmod-2.1.11-1\n" })
      const some = prepared("canmount\ton\nacltype\tposixacl\nxattr\ton\n")
      assert.deepStrictEqual(yield* some.done, {
        created: false,
        parents: [],
        changed: ["canmount", "xattr"]
      })
      assert.strictEqual(some.calls.at(-1), "zfs set canmount=off xattr=sa dst/b")
      const none = prepared("canmount\toff\nacltype\tposix\nxattr\tsa\n")
      assert.deepStrictEqual(yield* none.done, { created: false, parents: [], changed: [] })
      assert.notMatch(none.calls.join("\n"), /zfs (set|create)/)
    })
  )

  it.effect("takes xattr=on for sa where OpenZFS prints it so, and not where it means dir", () =>
    Effect.gen(function* () {
      const changedBy = (version: Answer) =>
        Effect.map(
          prepareExisting("canmount\toff\nacltype\tposix\nxattr\ton\n", version).done,
          ({ changed }) => changed
        )
      for (const version of ["2.3.9-1", "2.3.4-pve1", "2.4.99-1", "2.10.0", "3.0.0"]) {
        assert.deepStrictEqual(
          yield* changedBy({ stdout: `Welcome\nzfs-${version}\nzfs-kmod-${version}\n` }),
          [],
          version
        )
      }
      for (const version of ["0.8.6-1", "2.1.11-1", "2.2.99-1", "2.2.6-FreeBSD_g33174af15"]) {
        // The zfs command translates the value; its kernel module may be of another version.
        assert.deepStrictEqual(yield* changedBy({ stdout: `zfs-${version}\nzfs-kmod-2.3.9-1\n` }), ["xattr"], version)
      }
      const unknown = { exitCode: 2, stderr: "unrecognized command 'version'\n" }
      assert.deepStrictEqual(yield* changedBy(unknown), ["xattr"])
    })
  )

  it.effect("never makes a pool", () =>
    Effect.gen(function* () {
      const { calls, receiver: of } = receiver(() => ({
        exitCode: 1,
        stderr: "cannot open 'nopool': dataset does not exist\n"
      }))
      const error = yield* Effect.flip(of.prepare("nopool", { canmount: "off" }))
      assert.strictEqual(error.message, "cannot prepare nopool: cannot open 'nopool': dataset does not exist")
      assert.notMatch(calls.join("\n"), /create/)
    })
  )

  it.effect("takes no other program for zfs: what it printed is the failure", () =>
    Effect.gen(function* () {
      for (const [answer, said] of [
        [{ stdout: "hello\n" }, '"hello" is not what zfs prints there'],
        [{}, "zfs printed nothing"],
        [{ stderr: "cannot open 'dst'\n" }, "\"cannot open 'dst'\" is not what zfs prints there"]
      ] as const) {
        const { calls, receiver: of } = receiver(() => answer)
        const { message } = yield* Effect.flip(of.prepare("dst/b", { canmount: "off" }))
        assert.strictEqual(message, `cannot prepare dst/b: ${said}; see that the first zfs in PATH is OpenZFS's own`)
        assert.notMatch(calls.join("\n"), /create/)
        const granted = yield* Effect.exit(of.grant("backup", ["receive"], "dst/b"))
        assert.strictEqual(granted._tag === "Failure", "stdout" in answer)
      }
    })
  )
})
