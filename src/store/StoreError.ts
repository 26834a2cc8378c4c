import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { DiskError } from "../system/Disk.ts"
import { adviceOnWriting } from "../system/Errno.ts"

/** The target could not be used; the message says what failed on which path, and why. */
export class StoreError extends Data.TaggedError("StoreError")<{
  readonly reason: "NotWritable" | "NoSpace" | "NotAFolder" | "NotMounted" | "Unsafe" | "Other"
  readonly path: string
  readonly message: string
  readonly transient: boolean
  readonly cause?: unknown
}> {}

/** An error that a new attempt does not mend. */
export const storeError = (reason: StoreError["reason"], path: string, message: string): StoreError =>
  new StoreError({ reason, path, message, transient: false })

/** What a failed disk operation means for the store; `doing` begins the message: "cannot publish ABCD". */
export const fromDisk =
  (doing: string) =>
  (error: DiskError): StoreError =>
    new StoreError({
      reason: (error.code === undefined ? undefined : reasons.get(error.code)) ?? "Other",
      path: error.path,
      message: `${doing}: ${error.message}${adviceOnWriting(error.code)}`,
      transient: error.transient,
      cause: error
    })

const reasons: ReadonlyMap<string, StoreError["reason"]> = new Map([
  ["EACCES", "NotWritable"],
  ["EPERM", "NotWritable"],
  ["EROFS", "NotWritable"],
  ["ENOSPC", "NoSpace"],
  ["EDQUOT", "NoSpace"],
  ["ENOTDIR", "NotAFolder"],
  ["ELOOP", "Unsafe"]
] as const)

export const asStoreError = (doing: string) =>
  Effect.mapError(
    (error: DiskError | StoreError): StoreError => (error._tag === "DiskError" ? fromDisk(doing)(error) : error)
  )
