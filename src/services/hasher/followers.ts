import type { Checksums } from "../../domain/FolderState.ts"
import { makeGrowth } from "../../workers/Growth.ts"
import { type Runner, WorkerEnded } from "../../workers/Runner.ts"
import { follow } from "./digests.ts"
import { ask, checksumsOf, hashFile } from "./hashFile.ts"

/** Both digests of a file that is still being written: see Hasher.follow. */
interface Follower {
  /** The first `bytes` bytes are final. */
  readonly advance: (bytes: number) => void
  /** How many bytes have been hashed; undefined when none are before `finish`. */
  readonly hashed: () => number | undefined
  readonly finish: (size: number, signal: AbortSignal) => Promise<Checksums>
  /** Ends what is under way; the file is not read any more when this is done. */
  readonly abandon: () => Promise<void>
}

/** A smaller file is hashed when it is there, and on this thread: that takes less than asking another one. */
const worthFollowing = 4 * 1024 * 1024

/**
 * Files that are hashed while they are written, one at a time: what is written beside it is hashed when it is
 * finished. `here` does what is too little for a thread.
 */
export const makeFollowers = (runner: Runner, here: Runner): ((path: string) => Follower) => {
  let busy = runner.followers === 0

  return (path) => {
    const growth = makeGrowth()
    const controller = new AbortController()
    let final = 0
    let results: ReturnType<typeof ask> | undefined

    const begin = async (): ReturnType<typeof ask> => {
      busy = true
      const ended = await ask(runner.followers, (algorithms) =>
        runner.run(follow, { path, algorithms, growth: growth.memory }, controller.signal)
      )
      busy = false
      return ended
    }

    return {
      advance: (bytes) => {
        if (bytes <= final) return
        final = bytes
        growth.tell({ bytes, ended: false })
        if (results === undefined && bytes >= worthFollowing && !busy) results = begin()
      },
      hashed: () => (results === undefined ? undefined : growth.read()),
      finish: async (size, signal) => {
        if (results === undefined) return hashFile(path, signal, size < worthFollowing ? here : runner)
        growth.tell({ bytes: size, ended: true })
        const stop = () => controller.abort(signal.reason)
        signal.addEventListener("abort", stop)
        const ended = await results
        signal.removeEventListener("abort", stop)
        // The thread is gone, not the file: nothing is lost but time.
        if (!signal.aborted && ended.some(isOfThread)) return hashFile(path, signal, runner)
        return checksumsOf(path, signal, ended)
      },
      abandon: async () => {
        controller.abort()
        await results
      }
    }
  }
}

const isOfThread = (result: PromiseSettledResult<unknown>): boolean =>
  result.status === "rejected" && result.reason instanceof WorkerEnded
