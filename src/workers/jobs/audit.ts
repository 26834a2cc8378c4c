import { type AuditInput, type AuditOutput, auditSlice } from "../../archive/AuditSlice.ts"
import type { FileCalls } from "../FileCalls.ts"

export type { AuditInput, AuditOutput } from "../../archive/AuditSlice.ts"

/** Read part of a zip of which nothing is known. */
export const audit =
  (calls: FileCalls) =>
  (input: AuditInput, signal: AbortSignal): Promise<AuditOutput> =>
    auditSlice(input, calls, signal)
