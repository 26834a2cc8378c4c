import { codeOf, explain, isTransientCode } from "../../domain/Errno.ts"
import type { Checksums } from "../../domain/FolderState.ts"
import { type Runner, WorkerEnded } from "../../workers/Runner.ts"
import { type Algorithm, type HashOutput, hash } from "./digests.ts"
import { HashError } from "./HashError.ts"

/** In this order. */
const both: ReadonlyArray<Algorithm> = ["md5", "sha256"]

/** Asks for both, a share for each thread that there is; all have ended when this returns. */
export const ask = (
  threads: number,
  run: (algorithms: ReadonlyArray<Algorithm>) => Promise<HashOutput>
): Promise<ReadonlyArray<PromiseSettledResult<HashOutput>>> =>
  Promise.allSettled(threads > 1 ? both.map((algorithm) => run([algorithm])) : [run(both)])

/** Checksums of a file, and the CRC-32 of each of its pieces. */
export interface HashedInPieces {
  readonly checksums: Checksums
  /** Of each {@link checkedPiece} bytes, and of the rest. */
  readonly pieces: Uint32Array
}

/** Like {@link hashFile}, with the pieces. */
export const hashInPieces = async (
  path: string,
  signal: AbortSignal,
  runner: Runner
): Promise<HashedInPieces> => {
  const results = await ask(runner.width, (algorithms) =>
    runner.run(hash, { path, algorithms, inPieces: algorithms.includes("sha256") }, signal)
  )
  const [last] = results.slice(-1)
  const checksums = checksumsOf(path, signal, results)
  return { checksums, pieces: last?.status === "fulfilled" ? last.value.pieces : new Uint32Array() }
}

/** MD5 and SHA-256: side by side where there are threads, else in one go. Fails with HashError, or as `signal` says. */
export const hashFile = async (path: string, signal: AbortSignal, runner: Runner): Promise<Checksums> => {
  const run = (algorithms: ReadonlyArray<Algorithm>) => runner.run(hash, { path, algorithms }, signal)
  return checksumsOf(path, signal, await ask(runner.width, run))
}

/** What {@link ask} brought. Fails as {@link hashFile}. */
export const checksumsOf = (
  path: string,
  signal: AbortSignal,
  results: ReadonlyArray<PromiseSettledResult<HashOutput>>
): Checksums => {
  const [md5, sha256] = results.flatMap((result) =>
    result.status === "fulfilled" ? result.value.digests : unreadable(path, signal, result.reason)
  )
  if (md5 === undefined || sha256 === undefined) throw new Error("a digest is missing")
  return { md5, sha256 }
}

const unreadable = (path: string, signal: AbortSignal, cause: unknown): never => {
  if (signal.aborted) throw cause
  throw new HashError({
    path,
    message: `cannot read ${path} for its checksums: ${cause instanceof WorkerEnded ? cause.message : explain(cause)}`,
    transient: cause instanceof WorkerEnded || isTransientCode(codeOf(cause)),
    cause
  })
}
