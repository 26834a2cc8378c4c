import { assert, describe, it } from "vitest"
import { codeOf } from "../../src/system/Errno.ts"
import { packFailure, unpackFailure } from "../../src/system/WorkerJob.ts"
import { ArchiveError, archiveFailures, isArchiveError, unreadable } from "../../src/zip/ZipError.ts"

const onOtherThread = (cause: unknown) =>
  unpackFailure(structuredClone(packFailure(cause, archiveFailures)), archiveFailures)

const thrownBy = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (cause) {
    return cause
  }
}

describe("an ArchiveError that comes from another thread", () => {
  it("keeps what it is about, and the code of its cause", () => {
    const read = thrownBy(() => unreadable("/a.zip")(Object.assign(new Error("EIO: i/o error"), { code: "EIO" })))
    const back = onOtherThread(read)
    assert(isArchiveError(back) && isArchiveError(read))
    assert.deepStrictEqual([back.reason, back.path, back.problem], ["Unreadable", "/a.zip", read.problem])
    assert.strictEqual(codeOf(back.cause), "EIO")
    const fields = { reason: "Corrupt", path: "/a.zip", message: "m", transient: false } as const
    const entry = onOtherThread(new ArchiveError({ ...fields, entry: '"b"', problem: "its CRC-32 is wrong" }))
    assert(isArchiveError(entry))
    assert.deepStrictEqual([entry.reason, entry.entry, entry.problem], ["Corrupt", '"b"', "its CRC-32 is wrong"])
  })
})
