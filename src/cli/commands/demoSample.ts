import { createHash } from "node:crypto"
import { dirname, join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"

/** Writes the sample below `source`. */
export const makeSample = Effect.fnUntraced(function* (source: string) {
  const fs = yield* FileSystem.FileSystem
  for (const [name, content] of Object.entries(sample)) {
    yield* fs.makeDirectory(join(source, dirname(name)), { recursive: true })
    yield* fs.writeFile(join(source, name), Buffer.from(content))
  }
  yield* fs.makeDirectory(join(source, "NEW0", "nothing in here yet"), { recursive: true })
})

/** Three folders to archive, one of them empty, and one whose name zipper ignores; files that shrink and that do not. */
const sample: Readonly<Record<string, string | Uint8Array>> = {
  "DOCS/report.txt": "Quarterly report\n".repeat(2000),
  "DOCS/minutes.txt": "All were present. Nothing was decided.\n".repeat(100),
  "DOCS/letters/2024/to whom it may concern.txt": "Dear Sir or Madam,\n",
  "DOCS/letters/naïve café ☕.txt": "UTF-8 names survive.\n",
  // Bytes that do not compress, the same at every run.
  "PH01/holiday.jpg": createHash("shake256", { outputLength: 300_000 }).update("holiday").digest(),
  "PH01/-leading dash.txt": "so do odd ones\n",
  "not archived/because.txt": "its name is not four upper-case letters or digits\n"
}
