import { lstatSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { WorkerSource, Workers } from "../../../src/system/Workers.ts"
import { Extractor } from "../../../src/zip/Archiver.ts"
import type { ExtractRequest } from "../../../src/zip/ExtractTarget.ts"
import { temporaryFolder } from "../program/log.ts"
import { layers } from "./archive.ts"
import { type HandMade, handMade } from "./handMade.ts"
import { workerFile } from "./workers.ts"

/** Archives and restores on two worker threads. */
export const onThreads = Layer.unwrapScoped(
  Effect.map(workerFile(), (url) =>
    Layer.mergeAll(layers(), Extractor.layer).pipe(
      Layer.provide(Workers.layer(2)),
      Layer.provide(Layer.succeed(WorkerSource, url))
    )
  )
)

/** A request for all of a zip, whatever its metadata says. */
export const requestFor = (zip: string, to: string, change: Partial<ExtractRequest> = {}): ExtractRequest => ({
  zip,
  file: statSync(zip),
  files: 0,
  bytes: 0,
  to,
  only: [],
  overwrite: false,
  sync: false,
  triesNames: true,
  keepOut: [],
  ...change
})

/** A zip of these entries beside `out`, and what is found out about restoring it there. */
export const restorePlace = Effect.map(temporaryFolder, (root) => {
  const zip = `${root}/a.zip`
  const out = `${root}/out`
  const prepare = (entries: ReadonlyArray<HandMade>, change: Partial<ExtractRequest> = {}, to = out) => {
    writeFileSync(zip, handMade(entries))
    const files = entries.filter(({ name }) => !String(name).endsWith("/")).length
    const bytes = entries.reduce((sum, { content = "" }) => sum + content.length, 0)
    return Effect.flatMap(Extractor, (extractor) =>
      extractor.prepare(requestFor(zip, to, { files, bytes, overwrite: true, ...change }))
    )
  }
  return { root, zip, out, prepare }
})

/** Everything below a folder: bytes of the path (latin1), and all that an archive keeps of it. */
export const contentOf = (folder: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  const visit = (path: Buffer, shown: string): void => {
    for (const name of readdirSync(path, { encoding: "buffer" })) {
      const at = Buffer.concat([path, Buffer.from("/"), name])
      const stats = lstatSync(at)
      const label = `${shown}${name.toString("latin1")}`
      const seconds = Math.floor(stats.mtimeMs / 1000)
      if (stats.isDirectory()) {
        found.push(`d ${label} ${(stats.mode & 0o1777).toString(8)} ${seconds}`)
        visit(at, `${label}/`)
      } else {
        const content = stats.isFile() ? readFileSync(at).toString("hex") : "no file"
        found.push(`f ${label} ${(stats.mode & 0o777).toString(8)} ${seconds} ${content}`)
      }
    }
  }
  visit(Buffer.from(folder), "")
  return found.sort()
}
