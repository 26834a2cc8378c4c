import type { Block, CompressedBlock } from "../archive/Compress.ts"
import type { Method } from "../archive/Entry.ts"
import type { AuditInput, AuditOutput } from "./jobs/audit.ts"
import type { FilesInput, FilesOutput, SampleInput } from "./jobs/compress.ts"
import type { ExtractInputs, ExtractOutputs } from "./jobs/extract.ts"
import type { FollowInput, HashInput, HashOutput } from "./jobs/hash.ts"
import type { ListInput, ListOutput } from "./jobs/list.ts"
import type { VerifyInput, VerifyOutput } from "./jobs/verify.ts"

/** What each kind of work needs, by name: plain data, since it may go to another thread. */
export interface Inputs extends ExtractInputs {
  readonly files: FilesInput
  readonly sample: SampleInput
  readonly block: Block
  readonly verify: VerifyInput
  readonly audit: AuditInput
  readonly hash: HashInput
  readonly list: ListInput
  readonly follow: FollowInput
}

/** What comes of it. */
export interface Outputs extends ExtractOutputs {
  readonly files: FilesOutput
  readonly sample: Method
  readonly block: CompressedBlock
  readonly verify: VerifyOutput
  readonly audit: AuditOutput
  readonly hash: HashOutput
  readonly follow: HashOutput
  readonly list: ListOutput
}

export type Kind = keyof Inputs

/** Does the work, on this thread or on other ones. */
export interface Runner {
  /** How much of it goes on at the same time. */
  readonly width: number
  /** How many files can be followed at once (`follow`), beside that; on this thread none. */
  readonly followers: number
  /**
   * Rejects when the signal is aborted; nothing of the work goes on by then. Work may be begun anew when its thread had
   * to be ended for the sake of other work: doing it twice must give the same. Memory that a result holds at its
   * first level is the caller's.
   */
  readonly run: <K extends Kind>(kind: K, input: Inputs[K], signal: AbortSignal) => Promise<Outputs[K]>
}

/** A worker thread ended in the middle of its work, or there is none for it. */
export class WorkerEnded extends Error {}
