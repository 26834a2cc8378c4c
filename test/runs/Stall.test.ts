import { assert, describe, it } from "vitest"
import { lookAgain, readThread, stalled, type ThreadLook, type Waits } from "../../src/runs/Stall.ts"

const status = (state: string, switches: number) =>
  `Name:\tlibuv-worker\nUmask:\t0022\nState:\t${state}\nTgid:\t71\nvoluntary_ctxt_switches:\t${switches}\nnonvoluntary_ctxt_switches:\t900\n`

const waiting = (switches: number, id = "71/74"): ThreadLook => ({
  id,
  name: "libuv-worker",
  waiting: true,
  switches
})

const lookedAt = (looks: ReadonlyArray<ReadonlyArray<ThreadLook>>): Waits => looks.reduce<Waits>(lookAgain, new Map())

describe("a thread that hangs in the kernel", () => {
  it("is read as Linux tells of it", () => {
    assert.deepStrictEqual(readThread("71/74", status("D (disk sleep)", 12)), waiting(12))
    assert.deepInclude(readThread("71/74", status("S (sleeping)", 12)), { waiting: false })
    assert.isUndefined(readThread("71/74", ""))
    assert.isUndefined(readThread("71/74", "Name:\tx\nState:\tD (disk sleep)\n"))
  })

  it("is one that waits at every look", () => {
    const waits = lookedAt([[waiting(12)], [waiting(12)], [waiting(12)]])
    assert.isUndefined(stalled(waits, 4))
    assert.deepInclude(stalled(waits, 3), { name: "libuv-worker" })
  })

  it("may be woken now and then, and wait on", () => {
    // ZFS does so every five minutes, of looks that are half a minute apart.
    const looks = Array.from({ length: 20 }, (_, look) => [waiting(12 + Math.floor(look / 10))])
    assert.isDefined(stalled(lookedAt(looks), 20))
  })

  it("is none that works on a slow disk, or has done something in between", () => {
    const slow = Array.from({ length: 50 }, (_, look) => [waiting(12 + 2 * look)])
    assert.isUndefined(stalled(lookedAt(slow), 20))
    const other = Array.from({ length: 50 }, (_, look) => [{ ...waiting(12), waiting: look % 10 !== 9 }])
    assert.isUndefined(stalled(lookedAt(other), 20))
    const another = Array.from({ length: 50 }, (_, look) => [waiting(12, `71/${look}`)])
    assert.isUndefined(stalled(lookedAt(another), 20))
  })
})
