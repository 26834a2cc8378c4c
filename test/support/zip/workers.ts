import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import { buildSync } from "esbuild"

const hello = `(await import("node:worker_threads")).parentPort.postMessage("ready");`

let real: string | undefined

const build = (): string => {
  const entryPoints = [new URL("../../../src/worker.ts", import.meta.url).pathname]
  const { outputFiles } = buildSync({ entryPoints, write: false, bundle: true, platform: "node", format: "cjs" })
  return outputFiles.map(({ text }) => text).join("")
}

/** Made once for each process of tests. */
const realWorker = (): string => {
  real ??= build()
  return real
}

/**
 * A worker program, as a file that goes with the scope: the real one, or what is given for it to do once it has
 * said that it is ready.
 */
export const workerFile = (program?: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(`${tmpdir()}/zipper-test-`)
      // As in the built file; what a test gives is written as a module.
      const outfile = `${folder}/worker.${program === undefined ? "cjs" : "mjs"}`
      writeFileSync(outfile, program === undefined ? realWorker() : `${hello}\n${program}`)
      return { folder, url: pathToFileURL(outfile) }
    }),
    ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ).pipe(Effect.map(({ url }) => url))
