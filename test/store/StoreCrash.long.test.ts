import { afterAll, beforeAll, describe, it } from "@effect/vitest"
import { checkFault, faultCases, setUp, tearDown } from "../support/store/crashKit.ts"

beforeAll(setUp)
afterAll(tearDown)

describe("an operation of a publication fails", () => {
  it.each(faultCases)(
    "archives before it: $scenario; the operation fails: $when it is carried out, code: $code, lasting: $lasting",
    checkFault
  )
})
