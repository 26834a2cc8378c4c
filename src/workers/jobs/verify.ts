import { type SliceInput, type SliceOutput, verifySlice } from "../../archive/VerifySlice.ts"
import type { FileCalls } from "../FileCalls.ts"

/** Read part of a zip back. */
export type VerifyInput = SliceInput
export type VerifyOutput = SliceOutput

export const verify =
  (calls: FileCalls) =>
  (input: VerifyInput, signal: AbortSignal): Promise<VerifyOutput> =>
    verifySlice(input, calls, signal)
