import { codeOf, explain, isTransientCode } from "../domain/Errno.ts"
import * as RawPath from "../domain/RawPath.ts"
import { ArchiveError, isArchiveError } from "./ArchiveError.ts"

/** Says what is wrong with the zip at `path`, or with one of its entries; what is an ArchiveError stays one. */
export const damaged =
  (path: string, entry?: Buffer) =>
  (cause: unknown): never => {
    if (isArchiveError(cause)) throw cause
    const why = explain(cause)
    throw new ArchiveError({
      reason: "Corrupt",
      path,
      message: `${path} is damaged${entry === undefined ? "" : ` at ${quoted(entry)}`}: ${why}`,
      transient: false,
      ...(entry === undefined ? {} : { entry: quoted(entry) }),
      problem: entry === undefined ? `is damaged: ${why}` : why,
      cause
    })
  }

/** The operating system does not give the bytes of the zip at `path`. */
export const unreadable =
  (path: string) =>
  (cause: unknown): never => {
    throw new ArchiveError({
      reason: "Unreadable",
      path,
      message: `cannot read ${path}: ${explain(cause)}`,
      transient: isTransientCode(codeOf(cause)),
      problem: `cannot be read: ${explain(cause)}`,
      cause
    })
  }

/** Something in the zip refers to bytes that it does not have. */
export const truncated = (path: string): ArchiveError =>
  new ArchiveError({
    reason: "Corrupt",
    path,
    message: `${path} is damaged: something in it points beyond its end`,
    problem: "is damaged: something in it points beyond its end",
    transient: false
  })

/** An entry's name for people. */
export const quoted = (name: Buffer): string => `"${RawPath.display(RawPath.fromBuffer(name))}"`

/** What is wrong with an entry is said by whoever catches this, who knows the entry. */
export function need(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise)
}
