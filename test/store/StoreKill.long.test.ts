import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as esbuild from "esbuild"
import * as crash from "../support/store/crashKit.ts"
import { archive } from "../support/store/storeKit.ts"

const { dieAt, newest, operationsOf, placeLike, recoverAndCheck, run, scenarios, template, watch } = crash

let root = ""
beforeAll(async () => {
  root = await crash.setUp()
})
afterAll(crash.tearDown)

describe("a process ends by SIGKILL", () => {
  it("at each change of a publication, then at each of recovery's own in the middle of it", async () => {
    const script = path.join(root, "child.mjs")
    await esbuild.build({
      entryPoints: [new URL("../support/store/crashChild.ts", import.meta.url).pathname],
      bundle: true,
      minify: true,
      platform: "node",
      format: "esm",
      // yauzl asks for node's modules as CommonJS does.
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
      },
      outfile: script
    })
    const child = (place: { readonly root: string }, ordinal: number, task: string) =>
      new Promise<number | string | null>((resolve) => {
        execFile(process.execPath, [script, place.root, String(ordinal), task]).on("exit", (code, signal) =>
          resolve(signal ?? code)
        )
      })
    const kills: Array<() => Promise<void>> = []
    for (const scenario of scenarios) {
      const changes = (await operationsOf(scenario)).filter((operation) => operation.changes)
      const committed = changes.findIndex((operation) => operation.path.endsWith("/commit"))
      changes.forEach(({ name }, index) => {
        // All of the preparation once: it is nearly the same for the others, and above all of it is done for each.
        if (scenario < 2 && index < committed && index % 4 !== 0) return
        // Killed before one change is killed after the one before it.
        kills.push(async () => {
          const place = placeLike(template(scenario))
          const what = `${scenario} before it, killed at change ${index + 1}, ${name}`
          assert.strictEqual(await child(place, index + 1, newest(scenario)), "SIGKILL", what)
          watch(place, scenario)()
          await recoverAndCheck(place, scenario, what)
          fs.rmSync(place.root, { recursive: true })
        })
      })
      if (scenario < 2) continue
      const middle = placeLike(template(scenario))
      await run(archive(newest(scenario)), middle, dieAt(committed + 4).hooks)
      kills.push(async () => {
        for (let ordinal = 1; ; ordinal++) {
          const place = placeLike(middle.root)
          const ended = await child(place, ordinal, "recover")
          watch(place, scenario)()
          await recoverAndCheck(place, scenario, `killed at change ${ordinal} of recovery`)
          if (ended === 0) break
          assert.strictEqual(ended, "SIGKILL")
        }
      })
    }
    await Effect.runPromise(Effect.forEach(kills, (kill) => Effect.promise(kill), { concurrency: 2, discard: true }))
  }, 240_000)
})
