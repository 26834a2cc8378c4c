import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { inputsOf, targets } from "./Corpus.ts"
import { makeRandom, mutate } from "./mutate.ts"

const corpus = fileURLToPath(new URL("../corpus", import.meta.url))

describe("what readers are given", () => {
  for (const target of targets) {
    it(`${target.name}: holds for every input that was kept, and for some more`, () => {
      const inputs = inputsOf(corpus, target)
      assert.isNotEmpty(inputs)
      const known = inputs.map(({ bytes }) => bytes)
      const random = makeRandom(1)
      const others = Array.from({ length: 100 }, () => mutate(known[random(known.length)] ?? "", known, random))
      for (const bytes of [...known, ...others]) {
        try {
          target.check(bytes)
        } catch (cause) {
          throw new Error(`on ${JSON.stringify(bytes)}`, { cause })
        }
      }
    })
  }
})
