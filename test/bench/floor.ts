import { createHash, type Hash } from "node:crypto"
import {
  closeSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  writeSync
} from "node:fs"
import { join } from "node:path"
import { crc32, deflateRawSync, inflateRawSync } from "node:zlib"
import { emptied } from "./setting.ts"

/**
 * What the same bytes cost by the bare calls, one after the other on one thread, with no program around them: the floor of
 * `zipper run` in processor time. A file of more than a mebibyte goes in pieces of that size.
 */

export const steps = ["list", "read", "CRC", "deflate", "write", "inflate", "hash", "sync", "publish"] as const
export type Step = (typeof steps)[number]

const pieceSize = 1 << 20
const level = { level: 6, memLevel: 9 }

export const floorOf = (folder: string): Readonly<Record<Step, number>> => {
  const spent: Record<Step, number> = Object.fromEntries(steps.map((step) => [step, 0])) as Record<Step, number>
  const at = <A>(step: Step, call: () => A): A => {
    const before = process.cpuUsage()
    const result = call()
    const { system, user } = process.cpuUsage(before)
    spent[step] += (user + system) / 1e6
    return result
  }
  const place = emptied("floor")
  const out = openSync(join(place, "out"), "w+")
  const pieces = writePieces(
    at("list", () => list(folder)),
    out,
    at
  )
  readBack(out, pieces, at)
  at("sync", () => fsyncSync(out))
  closeSync(out)
  publish(place, at)
  return spent
}

type At = <A>(step: Step, call: () => A) => A

interface Piece {
  readonly length: number
  readonly deflated: boolean
  readonly crc: number
}

const list = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    lstatSync(path, { bigint: true })
    return entry.isDirectory() ? list(path) : [path]
  })

const writePieces = (paths: ReadonlyArray<string>, out: number, at: At): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  const buffer = Buffer.allocUnsafeSlow(pieceSize)
  const pending = Buffer.allocUnsafeSlow(2 * pieceSize)
  let used = 0
  const flush = (): void => {
    at("write", () => writeSync(out, pending, 0, used))
    used = 0
  }
  for (const path of paths) {
    const file = at("read", () => openSync(path, "r"))
    const { size } = at("read", () => fstatSync(file))
    let deflates = size > 0
    for (let start = 0; start < size; start += pieceSize) {
      const content = buffer.subarray(
        0,
        at("read", () => readSync(file, buffer, 0, pieceSize, start))
      )
      const crc = at("CRC", () => crc32(content))
      const deflated = deflates ? at("deflate", () => deflateRawSync(content, level)) : content
      // What does not shrink is stored; of a large file the first piece says that.
      deflates = deflated.length < content.length * 0.97
      const data = deflates ? deflated : content
      if (used + data.length > pending.length) flush()
      used += data.copy(pending, used)
      pieces.push({ length: data.length, deflated: deflates, crc })
    }
    at("read", () => closeSync(file))
  }
  flush()
  return pieces
}

const readBack = (out: number, pieces: ReadonlyArray<Piece>, at: At): void => {
  const buffer = Buffer.allocUnsafeSlow(2 * pieceSize)
  const sums: ReadonlyArray<Hash> = [createHash("md5"), createHash("sha256")]
  let position = 0
  let next = 0
  while (next < pieces.length) {
    const length = at("read", () => readSync(out, buffer, 0, buffer.length, position))
    let used = 0
    for (let piece = pieces[next]; piece !== undefined && used + piece.length <= length; piece = pieces[next]) {
      const { crc, deflated } = piece
      const data = buffer.subarray(used, used + piece.length)
      const content = deflated ? at("inflate", () => inflateRawSync(data)) : data
      if (at("CRC", () => crc32(content)) !== crc) throw new Error("the floor read something else than it wrote")
      used += data.length
      next += 1
    }
    for (const sum of sums) at("hash", () => sum.update(buffer.subarray(0, used)))
    position += used
  }
  for (const sum of sums) at("hash", () => sum.digest())
}

/** The files beside an archive: three and the state, each written, synced and renamed. */
const publish = (place: string, at: At): void => {
  for (const name of ["md5", "sha256", "metadata", "state"]) {
    const file = openSync(join(place, `${name}.new`), "w")
    at("write", () => writeSync(file, name))
    at("sync", () => fsyncSync(file))
    closeSync(file)
    at("publish", () => renameSync(join(place, `${name}.new`), join(place, name)))
  }
}
