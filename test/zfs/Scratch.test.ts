import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { afterEach, beforeEach } from "vitest"
import { openScratch } from "../../src/zfs/Scratch.ts"
import { type Answer, processFake } from "../support/program/processFake.ts"

let mountpoint: string
beforeEach(() => {
  mountpoint = mkdtempSync(join(tmpdir(), "zipper-scratch-"))
})
afterEach(() => rmSync(mountpoint, { recursive: true, force: true }))

const home = "tank/scratch\tfilesystem\tyes\t1073741824\n"

/** zfs with the dataset `tank/scratch`; `answers` come first, by the beginning of the command line. */
const zfs = (answers: Readonly<Record<string, Answer>> = {}) =>
  processFake((line) => {
    const found = Object.entries(answers).find(([start]) => line.startsWith(start))
    if (found !== undefined) return found[1]
    if (line.startsWith("zfs list -H -p -r")) return { stdout: home }
    return line.includes(" mountpoint ") ? { stdout: `${mountpoint}\n` } : {}
  })

/** Why it cannot be used. */
const refusal = (answers: Readonly<Record<string, Answer>>) => {
  const { calls, layer } = zfs(answers)
  return Effect.gen(function* () {
    const { message } = yield* Effect.flip(openScratch("tank/scratch", "id"))
    assert.isTrue(
      calls.every((line) => /^zfs (list|get) /.test(line)),
      calls.join("\n")
    )
    return message
  }).pipe(Effect.provide(layer))
}

describe("a dataset to demonstrate in", () => {
  it.effect("has to be an empty file system that is mounted", () =>
    Effect.gen(function* () {
      const missing = { exitCode: 1, stderr: "cannot open 'tank/scratch': dataset does not exist\n" }
      assert.match(yield* refusal({ "zfs list": missing }), /^tank\/scratch does not exist; make it: zfs create/)
      const listed = (stdout: string) => refusal({ "zfs list": { stdout } })
      assert.match(yield* listed(home.replace("filesystem", "volume")), /is a volume/)
      assert.match(yield* listed(`${home}tank/scratch@a\tsnapshot\t-\t-\n`), /not empty: it has tank\/scratch@a;/)
      assert.match(yield* listed(home.replace("yes", "no")), /is not mounted/)
      assert.match(yield* listed(home.replace("1073741824", "1024")), /has 1\.0 KiB free; 256\.0 MiB/)
      mkdirSync(join(mountpoint, "file"))
      assert.match(yield* refusal({}), /is not empty: .* holds 1 entry/)
    })
  )

  it.effect("is left when nothing may be made in it, with what to do", () => {
    const { layer } = zfs({ "zfs create": { exitCode: 1, stderr: "cannot create 'x': permission denied\n" } })
    return Effect.gen(function* () {
      const scratch = yield* openScratch("tank/scratch", "id")
      const { message } = yield* Effect.flip(scratch.create("source"))
      assert.strictEqual(
        message,
        "cannot create tank/scratch/source: cannot create 'x': permission denied; run this as root"
      )
    }).pipe(Effect.provide(layer))
  })
})

describe("what was made there", () => {
  const made = (...rows: ReadonlyArray<readonly [string, string, string]>): Answer => ({
    stdout: rows.map((row) => `${row.join("\t")}\n`).join("")
  })

  const remove = (found: Answer, others: Readonly<Record<string, Answer>> = {}) => {
    const { calls, layer } = zfs({ ...others, "zfs get -H -p -r": found })
    return Effect.gen(function* () {
      const scratch = yield* openScratch("tank/scratch", "id")
      yield* scratch.create("source")
      yield* scratch.create("replica", "-o", "canmount=off")
      scratch.expect("replica/source")
      const result = yield* Effect.either(scratch.remove)
      const destroyed = calls.filter((line) => line.startsWith("zfs destroy"))
      return { calls, destroyed, error: result._tag === "Left" ? result.left.message : "" }
    }).pipe(Effect.provide(layer))
  }

  it.effect("carries the mark that it is destroyed by, children first, snapshots apart, nothing recursively", () =>
    Effect.gen(function* () {
      const { calls, destroyed, error } = yield* remove(
        made(
          ["tank/scratch", "-", "-"],
          ["tank/scratch/replica", "id", "local"],
          ["tank/scratch/replica/source", "id", "inherited from tank/scratch/replica"],
          ["tank/scratch/source", "id", "local"]
        ),
        { "zfs list -H -d 1 -t snapshot -o name tank/scratch/source": { stdout: "tank/scratch/source@a\n" } }
      )
      assert.include(calls, "zfs create -o zipper:demo=id -o canmount=off tank/scratch/replica")
      assert.deepStrictEqual(destroyed, [
        "zfs destroy tank/scratch/source@%",
        "zfs destroy tank/scratch/source",
        "zfs destroy tank/scratch/replica/source",
        "zfs destroy tank/scratch/replica"
      ])
      assert.strictEqual(error, "")
    })
  )

  it.effect("is all that is destroyed: not what lacks the mark, was not expected, or holds such a dataset", () =>
    Effect.gen(function* () {
      const { destroyed, error } = yield* remove(
        made(
          ["tank/scratch", "id", "local"],
          ["tank/scratch/other", "id", "inherited from tank/scratch"],
          ["tank/scratch/replica", "another", "local"],
          ["tank/scratch/replica/source", "id", "inherited from tank"],
          ["tank/scratch/source", "id", "local"],
          ["tank/scratch/source/photos", "id", "inherited from tank/scratch/source"]
        )
      )
      assert.deepStrictEqual(destroyed, [])
      for (const name of ["other", "replica", "replica/source", "source/photos"]) {
        assert.include(error, `tank/scratch/${name} was not made by this demonstration and stays`)
      }
    })
  )
})
