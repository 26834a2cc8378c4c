import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { shellWord, shellWords } from "../../src/text/Text.ts"

/** What the shell makes of the words, each ended by a NUL. */
const heard = (shell: string, words: ReadonlyArray<string>): string =>
  spawnSync(shell, ["-c", `${shellWord("printf")} ${shellWord("%s\\0")} ${shellWords(words)}`], {
    encoding: "utf8"
  }).stdout

// Shells that are not installed are left out; sh is always there.
const shells = ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh"].filter(
  (shell) => spawnSync(shell, ["-c", "true"]).status === 0
)

const nasty = FastCheck.string({
  unit: FastCheck.constantFrom(..."!'\\$`\"~*?[]{}()<>|;&#%^= \tab-@:,+=\r\x01é"),
  maxLength: 12
})
const anything = FastCheck.string({ unit: "grapheme", maxLength: 12 }).filter((text) => !/[\n\0]/.test(text))
const words = FastCheck.array(FastCheck.oneof(nasty, anything), { minLength: 1, maxLength: 36, size: "max" })

describe("words for a shell", () => {
  it("leaves harmless words alone, and quotes the others", () => {
    assert.deepStrictEqual(
      ["tank/a@1", "-vP", "", "a b", "it's", "back\\slash", "hey!", "$HOME", "zipper:send=raw"].map(shellWord),
      ["tank/a@1", "-vP", "''", "'a b'", "'it'\\''s'", "'back'\\\\'slash'", "'hey'\\!", "'$HOME'", "'zipper:send=raw'"]
    )
  })

  for (const shell of shells) {
    it.prop(
      `${shell} hears what was said`,
      { words },
      ({ words }) => {
        assert.strictEqual(heard(shell, words), words.map((word) => `${word}\0`).join(""))
      },
      { fastCheck: { numRuns: 20 } }
    )
  }

  it("keeps every byte", () => {
    // As latin1 they are characters; sshd hands bytes to the shell. Newline and NUL are no part of any name.
    const bytes = Array.from({ length: 255 }, (_, index) => index + 1).filter((byte) => byte !== 10)
    const word = String.fromCharCode(...bytes)
    const file = `printf %s ${shellWord(word)}`
    const heard = spawnSync("sh", { input: Buffer.from(file, "latin1"), encoding: "latin1" }).stdout
    assert.strictEqual(heard, word)
  })
})
