import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as FastCheck from "effect/FastCheck"
import * as FiberId from "effect/FiberId"
import * as Redacted from "effect/Redacted"
import { causeText, messageText, quoted, visibleJson, withoutControls } from "../../src/text/Text.ts"

const steering = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/

describe("Text", () => {
  it("shows what could steer a terminal, and leaves the rest", () => {
    assert.strictEqual(
      withoutControls("a\x1b]0;x\x07b\r\t\x9b\u202egnp\u2069"),
      "a\\x1b]0;x\\x07b\\x0d\\x09\\x9b\\u202egnp\\u2069"
    )
    assert.strictEqual(withoutControls("é ü 日本 🚨 \u00ad\ntwo"), "é ü 日本 🚨 \u00ad\ntwo")
  })

  it("quotes on one line", () => {
    assert.strictEqual(quoted('said "so"\n\x1b \x85 \u2028 é'), '"said \\"so\\"\\n\\u001b \\u0085 \\u2028 é"')
  })

  it.prop(
    "leaves nothing that steers, and a quoted text can be read back",
    [FastCheck.fullUnicodeString()],
    ([text]) => {
      assert.notMatch(withoutControls(text), steering)
      assert.notMatch(quoted(text), /[\n]/)
      assert.notMatch(quoted(text), steering)
      assert.strictEqual(JSON.parse(quoted(text)), text)
      assert.notMatch(visibleJson({ text: [text] }), steering)
      assert.deepStrictEqual(JSON.parse(visibleJson({ text: [text] })), { text: [text] })
    }
  )

  it("tells of values and causes in words, of secrets never", () => {
    assert.strictEqual(messageText(["sent", 3, { a: [1] }, new Error("no space")]), 'sent 3 {"a":[1]} no space')
    assert.strictEqual(messageText(Redacted.make("hush")), "<redacted>")
    assert.strictEqual(causeText(Cause.fail(new Error("no space"))), "no space")
    assert.strictEqual(causeText(Cause.interrupt(FiberId.none)), "interrupted")
    assert.match(causeText(Cause.die(new TypeError("x is not a function"))), /^TypeError: x is not a function\n {4}at /)
  })
})
