import type { DirectoryCalls } from "./DirectoryCalls.ts"
import type { FileCalls } from "./FileCalls.ts"

/** How work gets at files and directories: on a worker thread by calls that wait for the disk. */
export interface Files extends FileCalls, DirectoryCalls {}

/** An error as plain data. */
export type Fields = Readonly<Record<string, unknown>>

/** How errors of a job's own class go from one thread to another, where they lose their class. */
export interface WorkerFailures {
  /** Undefined for an error of another class. */
  readonly pack: (cause: unknown) => Fields | undefined
  readonly unpack: (fields: Fields) => Error
}

/** Work that any thread can do. Input and output are plain data, since they may go from one thread to another. */
export interface WorkerJob<Input, Output> {
  /** By which a worker thread knows it. */
  readonly name: string
  /**
   * `brief`: takes milliseconds; the next piece is sent along, so that a thread does not wait for this one.
   * `follower`: waits for what another thread writes; it has threads of its own, and is never done on the main thread.
   */
  readonly kind: "brief" | "long" | "follower"
  readonly failures?: WorkerFailures
  readonly work: (input: Input, files: Files, signal: AbortSignal) => Promise<Output>
}

/** Does the work, on this thread or on other ones. */
export interface Runner {
  /** How much of it goes on at the same time. */
  readonly width: number
  /** How many files can be followed at once (jobs that are a `follower`), beside that; on this thread none. */
  readonly followers: number
  /**
   * Rejects when the signal is aborted; nothing of the work goes on by then. Work may be begun anew when its thread had
   * to be ended for the sake of other work: doing it twice must give the same. Memory that a result holds at its
   * first level is the caller's.
   */
  readonly run: <Input, Output>(
    job: WorkerJob<Input, Output>,
    input: NoInfer<Input>,
    signal: AbortSignal
  ) => Promise<Output>
}

/** A worker thread ended in the middle of its work, or there is none for it. */
export class WorkerEnded extends Error {}
