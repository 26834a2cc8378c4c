import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"

/** A program to run: no shell is involved, arguments reach it byte for byte. */
export interface Invocation {
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** Added to our environment; `LC_ALL=C` is always set, so that messages and times can be parsed. */
  readonly env?: Readonly<Record<string, string>>
  /** Written to its standard input; without it, standard input is /dev/null. */
  readonly stdin?: string
  /** File descriptors of ours that it inherits as 3, 4, …. */
  readonly inherit?: ReadonlyArray<number>
  /** After this many milliseconds it is ended. Default: 10 minutes. */
  readonly timeoutMillis?: number
}

/** How a program ended. */
export interface Completed {
  /** Exit status; 128 + N when signal N ended it. */
  readonly exitCode: number
  /** One character a byte (latin1), since names are bytes. */
  readonly stdout: string
  /** UTF-8, at most its last 64 KiB. */
  readonly stderr: string
}

/** A program that could not be started, or did not end in time. A non-zero exit status is no ProcessError. */
export class ProcessError extends Data.TaggedError("ProcessError")<{
  readonly reason: "NotFound" | "PermissionDenied" | "Timeout" | "Other"
  readonly program: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** The only door to other programs. Whatever it starts is ended (SIGTERM, then SIGKILL) when the caller is interrupted. */
export class Process extends Context.Tag("zipper/Process")<
  Process,
  {
    /** Runs it to its end and collects what it printed. */
    readonly run: (invocation: Invocation) => Effect.Effect<Completed, ProcessError>
    /**
     * Runs it to its end, giving each line of stdout (latin1, without the newline) to `onLine` as it comes, so
     * that output of any length takes constant memory; `stdout` of the result is empty.
     */
    readonly lines: (
      invocation: Invocation,
      onLine: (line: string) => void
    ) => Effect.Effect<Completed, ProcessError>
  }
>() {}
