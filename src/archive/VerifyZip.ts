import type { Manifest } from "../domain/Manifest.ts"
import * as RawPath from "../domain/RawPath.ts"
import { ArchiveError } from "./ArchiveError.ts"
import { type EntryHead, headOf } from "./Entry.ts"
import { readZip } from "./ReadZip.ts"

/**
 * Reads all of the zip back: see {@link readZip}, each entry's CRC-32 and size, and that the entries are those
 * of the manifest, in its order.
 */
export const verifyZip = async (zip: string, manifest: Manifest, signal: AbortSignal): Promise<void> => {
  const mismatch = (message: string) =>
    new ArchiveError({ reason: "Mismatch", path: zip, message: `${zip}: ${message}`, transient: false })

  let index = 0
  for await (const found of readZip(zip, signal)) {
    const wanted = manifest.entries[index]
    if (wanted === undefined) throw mismatch(`${shown(found)} is no entry of the snapshot`)
    const difference = differs(headOf(wanted), found)
    if (difference !== undefined) throw mismatch(difference)
    for await (const _ of found.content()) {
      // Reading to the end is the check.
    }
    index += 1
  }
  const missing = manifest.entries[index]
  if (missing !== undefined) throw mismatch(`${shown(headOf(missing))} is missing`)
}

const differs = (wanted: EntryHead, found: EntryHead): string | undefined => {
  if (!found.name.equals(wanted.name)) return `${shown(found)} stands where ${shown(wanted)} belongs`
  if (found.rawPath !== wanted.rawPath)
    return `${shown(wanted)} has another original name than in the snapshot`
  if (found.size !== wanted.size) return `${shown(wanted)} has ${found.size} bytes instead of ${wanted.size}`
  if (found.mode !== wanted.mode) {
    return `${shown(wanted)} has mode ${found.mode.toString(8)} instead of ${wanted.mode.toString(8)}`
  }
  if (found.seconds !== wanted.seconds) {
    return `${shown(wanted)} has time ${found.seconds} instead of ${wanted.seconds} (seconds since 1970)`
  }
  return undefined
}

const shown = (head: EntryHead): string => `"${RawPath.display(RawPath.fromBuffer(head.name))}"`
