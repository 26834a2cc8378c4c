import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type ArchiveError, isArchiveError } from "../archive/ArchiveError.ts"
import { type Audit, type AuditOptions, auditZip } from "../archive/AuditZip.ts"
import { abortable } from "./abortable.ts"
import { Workers } from "./Workers.ts"

export type { ArchiveError } from "../archive/ArchiveError.ts"
export type { Audit } from "../archive/AuditZip.ts"

/** Reads zips back for which there is nothing but what lies beside them. */
export class ArchiveReader extends Context.Tag("zipper/ArchiveReader")<
  ArchiveReader,
  {
    /**
     * What is in the zip at `path` and all that is wrong with it by itself: headers, names, order, end records and, if
     * asked for, each entry's content. What cannot be read (a bad sector, no permission) is wrong with it as well;
     * fails only when there are no threads or no memory for the work.
     */
    readonly audit: (path: string, options: AuditOptions) => Effect.Effect<Audit, ArchiveError>
  }
>() {
  /** On the threads of {@link Workers}. Does not follow a symlink. */
  static readonly layer: Layer.Layer<ArchiveReader> = Layer.effect(
    ArchiveReader,
    Effect.map(Workers, (runner) => ({
      audit: Effect.fn("ArchiveReader.audit")((path: string, options: AuditOptions) =>
        abortable((signal) => auditZip(path, options, signal, runner), isArchiveError)
      )
    }))
  )
}
