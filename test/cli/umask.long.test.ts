import { execFileSync } from "node:child_process"
import { chmodSync, lstatSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { makePlace, type Place, run, toolsFor } from "../support/program/built.ts"

let place: Place

beforeEach(() => {
  place = makePlace({ retries: 0 })
  place.put("ABCD/a.txt", "one")
  place.put("EFGH/b.txt", "two")
})
afterEach(() => place.remove())

const { job } = toolsFor(() => place)

describe("what is written has the rights that umask leaves", () => {
  for (const umask of ["077", "022", "027"]) {
    it(umask, async () => {
      place.configure({ umask, metrics_file: join(place.root, "m.prom") })
      chmodSync(place.root, 0o755)
      const made = new Set([place.source, place.target, place.config, place.root])
      await job()
      place.put("ABCD/a.txt", "another")
      await job()
      const page = join(place.root, "page.html")
      await run(["report", "--config", place.config, "--out", page])
      const mask = Number.parseInt(umask, 8)
      const all = execFileSync("find", [place.root, "-not", "-path", `${place.source}/*`])
        .toString()
        .split("\n")
      for (const path of all.filter((each) => each !== "" && !made.has(each))) {
        const { mode } = lstatSync(path)
        // The collector of the metrics is another user.
        if (path.endsWith("m.prom")) assert.strictEqual(mode & 0o777, 0o644)
        else assert.strictEqual(mode & mask, 0, `${path}: ${(mode & 0o777).toString(8)}`)
      }
      const file = join(place.root, "new.json")
      assert.strictEqual((await run(["config", "init", file])).status, 0)
      assert.strictEqual(lstatSync(file).mode & 0o777, 0o600)
    })
  }
})
