import * as Logger from "effect/Logger"
import { explain } from "../../domain/Errno.ts"
import { logfmt, warnOthers } from "./Entry.ts"
import type { RotatingFile } from "./RotatingFile.ts"

/**
 * Writes every record to `file`. What goes wrong is told once to the other loggers, and the next record is
 * tried all the same: a disk that was full may not be any more.
 */
export const fileLogger = (
  file: RotatingFile,
  options: { readonly path: string; readonly runId?: string }
): Logger.Logger<unknown, void> => {
  const told = new Set<string>()
  const self: Logger.Logger<unknown, void> = Logger.make((record) => {
    const tellOnce = (what: string, why: string) => {
      if (told.has(what)) return
      told.add(what)
      warnOthers(record, self, `log file ${options.path} ${what}: ${why}`)
    }
    try {
      file.append(logfmt(record, { ...options, stamp: true }))
    } catch (cause) {
      tellOnce("cannot be written, lines are missing from it", explain(cause))
    }
    if (file.rotationFailure !== undefined) {
      tellOnce("cannot be rotated and goes on growing", file.rotationFailure)
    }
  })
  return self
}
