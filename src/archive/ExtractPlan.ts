import type { FileIdentity } from "../domain/ArchiveIndex.ts"
import type { RawPath } from "../domain/RawPath.ts"
import type { RestorePlan } from "../domain/RestorePlan.ts"
import type { BlockReader } from "./BlockReader.ts"
import { damaged } from "./Damage.ts"
import type { Folder } from "./ExtractEntries.ts"
import type { Leftover } from "./ExtractLeftovers.ts"
import { makeSurvey } from "./ExtractSurvey.ts"
import { lookAtTarget, type Target } from "./ExtractTarget.ts"
import { allSlices, readRecords } from "./ReadZip.ts"
import type { Slice } from "./Slices.ts"
import { readEnd } from "./Yauzl.ts"

/** What is to be put back, and where. */
export interface ExtractRequest {
  readonly zip: string
  /** The zip as it was when it was checked. */
  readonly file: FileIdentity
  /** Files and uncompressed bytes that it has to have. */
  readonly files: number
  readonly bytes: number
  /** DIR, as it was given. */
  readonly to: string
  /** Patterns (see domain/Glob.ts) of what is wanted; everything if there are none. */
  readonly only: ReadonlyArray<string>
  /** Regular files in DIR may be replaced, and folders there get the archive's modes and times. */
  readonly overwrite: boolean
  /** Folders that DIR must not lie in, and that nothing is written to where they stand in it. */
  readonly keepOut: ReadonlyArray<string>
}

/** All that was found out. */
export interface ExtractPlan {
  readonly plan: RestorePlan
  readonly target: Target
  /** In the order of the archive, DIR first. */
  readonly folders: ReadonlyArray<Folder>
  readonly slices: ReadonlyArray<Slice>
  /** For each entry, see mark in ExtractSlice. */
  readonly marks: Uint8Array
  /** For each entry the index of the folder that it lies in. */
  readonly parents: Uint32Array
  /** Of restores that were killed, in folders that are written to. */
  readonly leftovers: ReadonlyArray<Leftover>
}

/** No entry takes less in the central directory. */
const shortestRecord = 46

/**
 * Reads the central directory, refuses what cannot be put into a folder, chooses, and looks at everything in DIR that is in
 * the way. Nothing stays written: where names of the archive may be one in DIR, that is tried in a folder called `temporary`;
 * without it nothing is written at all. Memory: some bytes for each file and some hundred for each folder and each file of
 * the largest one. `writers`: how many files are written at the same time.
 */
export const planExtraction = async (
  blocks: BlockReader,
  request: ExtractRequest,
  { temporary, writers }: { readonly temporary: RawPath | undefined; readonly writers: number },
  signal: AbortSignal
): Promise<ExtractPlan> => {
  const { zip } = request
  const target = await lookAtTarget(request.to, request.keepOut)
  const end = await readEnd(blocks).catch(damaged(zip))
  const most = Math.min(end.entries, Math.ceil(blocks.size / shortestRecord))
  const survey = makeSurvey(request, target, { most, temporary, writers })
  await survey.begin()
  const found: Array<Slice> = []
  for await (const slice of allSlices(blocks, end, zip)) {
    signal.throwIfAborted()
    const { end: to, start } = slice.records
    const records = await blocks.fill(Buffer.allocUnsafe(to - start), start)
    for (const entry of readRecords(records, slice, zip)) await survey.add(entry)
    found.push(slice)
  }
  return { ...(await survey.end()), target, slices: found }
}
