import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import { type StreamName, type Terminal, withStatus } from "../../../src/cli/terminal.ts"
import { causeText, messageText } from "../../../src/text/Text.ts"

/** A folder for the length of the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "zipper-test-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** Keeps records instead of printing them: "Warning: text". Everything of a record is in `all`, to search it for secrets. */
export const capturedLog = () => {
  const lines: Array<string> = []
  const all: Array<string> = []
  const layer = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ annotations, cause, logLevel, message }) => {
      lines.push(`${logLevel._tag}: ${messageText(message)}`)
      all.push(JSON.stringify([message, HashMap.toEntries(annotations), causeText(cause), Cause.pretty(cause)]))
    })
  )
  return { lines, all, layer }
}

/** A terminal that keeps what was written. */
export const fakeTerminal = (
  options: { readonly tty?: boolean; readonly columns?: number; readonly env?: Readonly<Record<string, string>> } = {}
): Terminal & { readonly written: Record<StreamName, string> } => {
  const written = { stdout: "", stderr: "" }
  const size = { columns: () => options.columns ?? 80, rows: () => 24 }
  return {
    written,
    ...withStatus({
      ...size,
      write: (stream, text) => {
        written[stream] += text
      },
      together: () => false
    }),
    ...size,
    onResize: () => () => {},
    isTerminal: () => options.tty ?? false,
    env: options.env ?? { LANG: "C.UTF-8" }
  }
}
