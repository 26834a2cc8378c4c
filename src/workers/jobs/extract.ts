import {
  type FinishFoldersInput,
  type FinishFoldersOutput,
  finishFolders,
  type MakeFoldersInput,
  type MakeFoldersOutput,
  makeFolders
} from "../../archive/ExtractFolder.ts"
import { type ExtractInput, type ExtractOutput, extractSlice } from "../../archive/ExtractSlice.ts"
import type { FileCalls } from "../FileCalls.ts"

/** Put the content of an archive back: folders, then what is in them, then the folders' modes and times. */
export interface ExtractInputs {
  readonly makeFolders: MakeFoldersInput
  readonly extract: ExtractInput
  readonly finishFolders: FinishFoldersInput
}

export interface ExtractOutputs {
  readonly makeFolders: MakeFoldersOutput
  readonly extract: ExtractOutput
  readonly finishFolders: FinishFoldersOutput
}

/** What is written is written by calls that wait for the disk, on this thread: little at a time, between two reads. */
export const extracting = (calls: FileCalls) => ({
  makeFolders,
  extract: (input: ExtractInput, signal: AbortSignal): Promise<ExtractOutput> =>
    extractSlice(input, calls, signal),
  finishFolders
})
