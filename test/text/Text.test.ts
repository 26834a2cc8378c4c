import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as FastCheck from "effect/FastCheck"
import * as FiberId from "effect/FiberId"
import * as Redacted from "effect/Redacted"
import {
  byUtf8,
  causeText,
  commandOf,
  cutTo,
  didYouMean,
  firstNames,
  messageText,
  padded,
  quoted,
  visibleJson,
  widthOf,
  withoutControls
} from "../../src/text/Text.ts"

const steering = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/

describe("Text", () => {
  it("shows what could steer a terminal, and leaves the rest", () => {
    assert.strictEqual(
      withoutControls("a\x1b]0;x\x07b\r\t\x9b\u202egnp\u2069"),
      "a\\x1b]0;x\\x07b\\x0d\\x09\\x9b\\u202egnp\\u2069"
    )
    assert.strictEqual(withoutControls("é ü 日本 🚨 \u00ad\ntwo"), "é ü 日本 🚨 \u00ad\ntwo")
  })

  it("orders as the bytes of UTF-8 do, also what is two units of UTF-16", () => {
    const names = ["", "a", "ab", "é", "\ud7ff", "\ue000", "\uffff", "\u{1f98a}", "\u{10ffff}", "a\u{1f98a}", "a\uffff"]
    for (const a of names) {
      for (const b of names) {
        assert.strictEqual(Math.sign(byUtf8(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)), `${a} ${b}`)
      }
    }
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

  it("knows how wide a text is on a terminal, pads it and cuts it by that", () => {
    for (const [text, width] of [
      ["photos 2024", 11],
      ["日本", 4],
      ["Ärger", 5],
      ["A\u0308rger", 5],
      ["🚨", 2],
      ["한글", 4],
      ["ｱ", 1],
      ["Ａ", 2],
      ["", 0]
    ] as const) {
      assert.strictEqual(widthOf(text), width, text)
      assert.strictEqual(widthOf(padded(text, 12)), 12, text)
      assert.isTrue(padded(text, 12, "right").endsWith(text))
    }
    assert.strictEqual(cutTo("日本語 Fotos", 12, "end", "…"), "日本語 Fotos")
    assert.strictEqual(cutTo("日本語 Fotos", 4, "end", "…"), "日…")
    assert.strictEqual(cutTo("日本語 Fotos", 8, "start", "~"), "~ Fotos")
  })

  it.prop(
    "cuts no text wider than asked",
    [FastCheck.string({ unit: "grapheme" }), FastCheck.nat(20)],
    ([text, width]) => {
      for (const side of ["start", "end"] as const)
        assert.isAtMost(widthOf(cutTo(text, width + 1, side, "…")), width + 1)
    }
  )

  it("names the first of many, and how many more there are", () => {
    assert.strictEqual(firstNames(["a", "b"]), "a, b")
    assert.strictEqual(firstNames(["a", "b", "c"], 1), "a and 2 more")
  })

  it("puts a name that looks like an option behind the options", () => {
    assert.strictEqual(commandOf(["zipper", "verify"], "it's", ["--prev"]), "zipper verify 'it'\\''s' --prev")
    assert.strictEqual(commandOf(["zipper", "restore"], "-rf", ["--to", "x"]), "zipper restore --to x -- -rf")
  })

  it("suggests the nearest name of any case, and none that is far", () => {
    const known = ["run", "restore", "hourly", "--config", "-c", "ABCD", "EFGH"]
    const hints = [
      [["rn"], "run"],
      [["RESTOR"], "restore"],
      [["--confg"], "--config"],
      [["ABDC"], "ABCD"],
      [["ABCE", "EFG", "ABCX"], "ABCD, EFGH"]
    ] as const
    for (const [words, hint] of hints) assert.strictEqual(didYouMean(known, ...words), `; did you mean ${hint}?`)
    for (const word of ["yearly", "-x", "", "nothing alike", "name", "DCBA"])
      assert.strictEqual(didYouMean(known, word), "", word)
    assert.strictEqual(didYouMean([], "run"), "")
  })

  it("suggests a key that goes on after the word before one that differs, and one whose end is another word", () => {
    const keys = [
      ...["source_path", "lockfile_path", "log_file", "log_max_bytes", "retries", "nice", "gotify", "notify_on"],
      ...["task_timeout_seconds", "lock_wait_seconds", "metrics_file", "exclude", "exclude_caches"]
    ]
    const hints = [
      ["lockfile", "lockfile_path"],
      ["lock_file", "lockfile_path"],
      ["notify", "notify_on"],
      ["metrics", "metrics_file"],
      ["metrics_path", "metrics_file"],
      ["source", "source_path"],
      ["task_timeout_sec", "task_timeout_seconds"],
      ["lock_wait_sec", "lock_wait_seconds"],
      ["log_max_size", "log_max_bytes"],
      ["exclude_cache_dirs", "exclude_caches"]
    ] as const
    for (const [word, hint] of hints) assert.strictEqual(didYouMean(keys, word), `; did you mean ${hint}?`)
  })
})
