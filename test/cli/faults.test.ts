import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { noise } from "../support/archive.ts"
import { makePlace, run, zipper } from "../support/built.ts"

/** A process whose files cannot grow beyond 2 MiB: what a full disk does, without one. */
const runLimited = (...args: ReadonlyArray<string>) =>
  spawnSync("sh", ["-c", 'ulimit -f 4096; exec "$@"', "sh", process.execPath, zipper, ...args], {
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin", LANG: "C" }
  })

describe("when there is no room for what several threads write", () => {
  it("every folder fails by name, keeps its archive, and nothing is left behind", async () => {
    const at = makePlace({ max_workers: 2, compression: { threads: 2 } })
    try {
      for (const folder of ["AAAA", "BBBB"]) at.put(`${folder}/file`, "small")
      assert.strictEqual((await run(["run", "--config", at.config])).status, 0)
      const before = ["AAAA", "BBBB"].map((name) => readFileSync(join(at.target, name, `${name}.zip`)))
      const files = readdirSync(at.target, { recursive: true, encoding: "utf8" }).sort()

      for (const folder of ["AAAA", "BBBB"]) at.put(`${folder}/large`, noise(5_000_000))
      const { status, stderr } = runLimited("run", "--config", at.config)
      assert.strictEqual(status, 1, stderr)
      for (const [index, name] of ["AAAA", "BBBB"].entries()) {
        assert.match(stderr, new RegExp(`${name}: cannot write .*${name}\\.zip: .*too large`, "i"))
        assert.isTrue(
          readFileSync(join(at.target, name, `${name}.zip`)).equals(before[index] ?? Buffer.alloc(0))
        )
        assert.isFalse(existsSync(join(at.target, name, ".publish")))
      }
      const after = readdirSync(at.target, { recursive: true, encoding: "utf8" }).sort()
      assert.deepStrictEqual(
        after.filter((file) => !file.startsWith(".zipper/failures")),
        files.filter((file) => !file.startsWith(".zipper/failures"))
      )
    } finally {
      at.remove()
    }
  })
})
