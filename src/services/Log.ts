import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { explain } from "../domain/Errno.ts"
import { fileLogger } from "./log/fileLogger.ts"
import { RotatingFile, type RotatingFileSettings } from "./log/RotatingFile.ts"
import { type SyslogSettings, syslogLogger } from "./log/syslogLogger.ts"
import type { Process } from "./Process.ts"

/*
 * Logs that outlive the run. Each adds a logger beside those that are there; the minimum log level is for all
 * of them alike. Neither ever fails: a log that does not work is one warning to the other loggers. The
 * annotations `run`, `folder` and `dataset` come first in every line; `runId` stands in for `run` where there is none.
 */

/** Adds a log file in logfmt that rotates. It is opened when the first line comes. */
export const layerFile = (settings: RotatingFileSettings & { readonly runId?: string }): Layer.Layer<never> =>
  Logger.addScoped(
    Effect.acquireRelease(
      Effect.sync(() => new RotatingFile(settings)),
      (file) =>
        // What close says comes too late for anything but a warning, and must not fail the run.
        Effect.try(() => file.close()).pipe(
          Effect.catchAll(({ error }) =>
            Effect.logWarning(`log file ${settings.path} may lack its last lines: ${explain(error)}`)
          )
        )
    ).pipe(Effect.map((file) => fileLogger(file, settings)))
  )

/** Adds syslog, through the program `logger`. Closing it waits until the last lines are sent, at most five seconds. */
export const layerSyslog = (settings: SyslogSettings): Layer.Layer<never, never, Process> =>
  Logger.addScoped(syslogLogger(settings))
