import { constants } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import * as Errno from "../../src/system/Errno.ts"

/** As libuv gives an error that it has no name for. */
const unnamed = (number: number) =>
  Object.assign(new Error(`Unknown system error -${number}: Unknown system error -${number}, open '/x'`), {
    code: `Unknown system error -${number}`,
    errno: -number,
    syscall: "open"
  })

const numberOf = (name: string): number => {
  const [, number] = Object.entries(constants.errno).find(([each]) => each === name) ?? []
  assert.isDefined(number, name)
  return number ?? 0
}

describe("Errno", () => {
  it("names errors that node does not name by their number", () => {
    for (const name of ["EDQUOT", "ESTALE", "ENOLCK", "EBADMSG"]) {
      assert.strictEqual(Errno.codeOf(unnamed(numberOf(name))), name)
    }
    assert.strictEqual(Errno.codeOf(unnamed(9999)), "errno 9999")
    // Without the number, which is lost between threads, the text has it.
    const { code } = unnamed(numberOf("EDQUOT"))
    assert.strictEqual(Errno.codeOf({ code }), "EDQUOT")
  })

  it.runIf(process.platform === "linux")("knows numbers of Linux that node has no name for at all", () => {
    assert.strictEqual(Errno.codeOf(unnamed(117)), "EUCLEAN")
    assert.strictEqual(Errno.codeOf(unnamed(112)), "EHOSTDOWN")
  })

  it("leaves names alone that node gave", () => {
    assert.strictEqual(Errno.codeOf({ code: "ENOSPC", errno: -28 }), "ENOSPC")
    assert.strictEqual(Errno.codeOf({ code: "EAGAIN", errno: -numberOf("EAGAIN") }), "EAGAIN")
    assert.strictEqual(Errno.codeOf({ code: "ERR_OUT_OF_RANGE" }), "ERR_OUT_OF_RANGE")
    for (const cause of [undefined, null, "ENOSPC", {}, { code: 28 }, new Error("no")]) {
      assert.isUndefined(Errno.codeOf(cause))
    }
  })

  it("tries again what time or a server can mend, and never a full quota or damage", () => {
    for (const code of ["ESTALE", "ENOLCK", "EIO", "EHOSTDOWN", "ETIMEDOUT"]) {
      assert.isTrue(Errno.isTransientCode(code), code)
    }
    for (const code of ["EDQUOT", "ENOSPC", "EUCLEAN", "EBADMSG", "EFBIG", "EINVAL", "errno 9999", undefined]) {
      assert.isFalse(Errno.isTransientCode(code), code)
    }
  })

  it("says each in words, with nothing raw of the library", () => {
    const said = (name: string) => Errno.explain(unnamed(numberOf(name)))
    assert.strictEqual(said("EDQUOT"), "the quota is used up (EDQUOT)")
    assert.match(said("EBADMSG"), /the file system or the disk is damaged.*\(EBADMSG\)$/)
    assert.match(Errno.explain({ code: "EIO" }), /^input\/output error.*is failing.*\(EIO\)$/)
    for (const name of Object.keys(constants.errno)) {
      const words = Errno.explain(unnamed(numberOf(name)))
      assert.match(words, /\((E[A-Z0-9]+)\)$/, name)
      assert.notMatch(words, /Unknown|'\/x'/, name)
    }
    assert.strictEqual(Errno.explain(unnamed(9999)), "an error that the system has no words for (errno 9999)")
    assert.strictEqual(
      Errno.explain(
        Object.assign(new Error("EXDEV: cross-device link not permitted, link '/a' -> '/b'"), {
          code: "EXDEV"
        })
      ),
      "crosses file systems (EXDEV)"
    )
    assert.strictEqual(Errno.explain(new Error("as it is")), "as it is")
  })

  it("advises what to do about a quota and a file that is too large", () => {
    assert.match(Errno.adviceOnWriting("EDQUOT"), /quota/)
    assert.match(Errno.adviceOnWriting("EFBIG"), /file system/)
  })
})
