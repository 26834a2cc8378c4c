import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { type StreamName, withStatus } from "../../src/cli/terminal.ts"
import { makeScreen, type Resizing } from "../support/terminal/screen.ts"

/** Status lines on a model of a terminal. */
const makePlace = (options: {
  readonly columns: number
  readonly rows: number
  readonly resizing?: Resizing
  /** Both streams go there; else standard output does by another program, later. */
  readonly together?: boolean
}) => {
  let size = { columns: options.columns, rows: options.rows }
  const screen = makeScreen(options)
  const writes: Array<string> = []
  const late: Array<string> = []
  const together = options.together ?? true
  const terminal = withStatus({
    write: (stream: StreamName, text: string) => {
      if (stream === "stdout" && !together) late.push(text)
      else {
        writes.push(text)
        screen.write(text)
      }
      return undefined
    },
    columns: () => size.columns,
    rows: () => size.rows,
    together: () => together
  })
  return {
    screen,
    terminal,
    writes,
    columns: () => size.columns,
    rows: () => size.rows,
    resize: (now: typeof size) => {
      size = now
      screen.resize(now)
    },
    /** The other program hands on what it read. */
    deliver: () => {
      for (const text of late.splice(0)) screen.write(text)
    }
  }
}

const word = (min: number, max: number) => FastCheck.stringMatching(new RegExp(`^[a-z]{${min},${max}}$`))

type Step =
  | { readonly _tag: "Log"; readonly stream: StreamName; readonly lines: ReadonlyArray<string> }
  | { readonly _tag: "Status"; readonly widths: ReadonlyArray<number>; readonly fill: string }
  | { readonly _tag: "Resize"; readonly columns: number; readonly rows: number }

const steps = (longest: number): FastCheck.Arbitrary<ReadonlyArray<Step>> =>
  FastCheck.array(
    FastCheck.oneof(
      FastCheck.record({
        _tag: FastCheck.constant("Log" as const),
        stream: FastCheck.constantFrom("stdout" as const, "stderr" as const),
        lines: FastCheck.array(word(1, longest), { minLength: 1, maxLength: 3 })
      }),
      FastCheck.record({
        _tag: FastCheck.constant("Status" as const),
        widths: FastCheck.array(FastCheck.double({ min: 0.1, max: 1, noNaN: true }), { maxLength: 6 }),
        fill: FastCheck.constantFrom("#", "=", "%")
      }),
      FastCheck.record({
        _tag: FastCheck.constant("Resize" as const),
        columns: FastCheck.integer({ min: 30, max: 90 }),
        rows: FastCheck.integer({ min: 20, max: 40 })
      })
    ),
    { maxLength: 30 }
  )

/** Does the steps, and looks after each of them: the log is whole and in order, and nothing else is there but the lines. */
const follow = (all: ReadonlyArray<Step>, resizing: Resizing, together: boolean): void => {
  const place = makePlace({ columns: 80, rows: 24, resizing, together })
  const { screen, terminal } = place
  const logged: Array<string> = []
  let status: ReadonlyArray<string> = []
  // Whether the lines have been drawn since the window got another size: before that they are as it left them.
  let fresh = true
  for (const step of all) {
    switch (step._tag) {
      case "Log": {
        terminal.write(step.stream, step.lines.map((line) => `${line}\n`).join(""))
        if (step.stream === "stdout" && !together) {
          place.deliver()
          fresh = false
        }
        logged.push(...step.lines)
        break
      }
      case "Status": {
        status = step.widths.map((part) => step.fill.repeat(Math.max(1, Math.floor((place.columns() - 1) * part))))
        place.writes.length = 0
        terminal.status(status)
        assert.isAtMost(place.writes.length, 1)
        if (place.writes.length > 0) assert.isBelow(screen.widest(), place.columns())
        fresh = true
        break
      }
      case "Resize": {
        place.resize(step)
        fresh = false
      }
    }
    const { above, below } = screen.lines()
    assert.deepStrictEqual(above, logged)
    assert.strictEqual(screen.cursor().column, 0)
    if (fresh) assert.deepStrictEqual(below, status)
  }
  terminal.status([])
  assert.deepStrictEqual(screen.lines(), { above: logged, below: [] })
  // What the shell says next begins where the log ended.
  screen.write("$ ")
  assert.deepStrictEqual(screen.lines().below, ["$"])
}

describe("status lines below a log", () => {
  it("leave the log whole and nothing behind, whatever is written and however the window changes", () => {
    for (const together of [true, false]) {
      FastCheck.assert(
        FastCheck.property(steps(200), (all) => follow(all, "wrap", together)),
        { numRuns: 200 }
      )
      // Such a terminal cuts the log too, when it does not fit any more.
      FastCheck.assert(
        FastCheck.property(steps(30), (all) => follow(all, "cut", together)),
        { numRuns: 200 }
      )
    }
  })

  it("are cut, not broken, by a window that has become narrower and nobody has said so yet", () => {
    const { screen, terminal } = makePlace({ columns: 80, rows: 24 })
    terminal.write("stderr", "one\n")
    screen.resize({ columns: 40, rows: 24 })
    terminal.status(["#".repeat(79), "=".repeat(79)])
    terminal.write("stderr", "two\n")
    terminal.status([])
    assert.deepStrictEqual(screen.lines(), { above: ["one", "two"], below: [] })
  })

  it("are fewer than there are rows, and one at least", () => {
    for (const [rows, shown] of [
      [3, 2],
      [2, 1],
      [1, 1]
    ] as const) {
      const { screen, terminal } = makePlace({ columns: 80, rows })
      terminal.write("stderr", "one\ntwo\nthree\n")
      terminal.status(["a", "b", "c"])
      assert.lengthOf(screen.lines().below, shown)
      terminal.write("stderr", "four\n")
      terminal.status([])
      assert.deepStrictEqual(screen.lines(), { above: ["one", "two", "three", "four"], below: [] })
    }
  })

  it("are drawn again only where something changed", () => {
    const { resize, terminal, writes } = makePlace({ columns: 80, rows: 24 })
    terminal.status(["a"])
    terminal.status(["a"])
    assert.lengthOf(writes, 1)
    resize({ columns: 70, rows: 24 })
    terminal.status(["a"])
    assert.lengthOf(writes, 2)
    terminal.status([])
    terminal.status([])
    assert.lengthOf(writes, 3)
  })

  it("wait for the end of a line that is not ended", () => {
    const { screen, terminal } = makePlace({ columns: 80, rows: 24 })
    terminal.status(["#"])
    terminal.write("stderr", "half a line")
    terminal.status(["##"])
    assert.deepStrictEqual(screen.lines().below, ["half a line"])
    terminal.write("stderr", " and the rest\n")
    assert.deepStrictEqual(screen.lines(), { above: ["half a line and the rest"], below: ["##"] })
  })
})
