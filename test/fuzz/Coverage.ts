import { Session } from "node:inspector"

/** What of the program ran, and how often, as V8 counts it: block by block. */
export interface Coverage {
  /** Places that ran since the last call, each with the order of how often (once, twice, four times, …). */
  readonly take: () => ReadonlySet<string>
  readonly stop: () => void
}

/** Counts in the scripts whose URL `counted` takes. */
export const startCoverage = (counted: (url: string) => boolean): Coverage => {
  const session = new Session()
  session.connect()
  session.post("Profiler.enable")
  session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true })
  return {
    take: () => {
      const places = new Set<string>()
      // Answers are there when this returns: the session is of this very thread.
      session.post("Profiler.takePreciseCoverage", (error, answer) => {
        if (error !== null) throw error
        for (const { functions, scriptId, url } of answer.result) {
          if (!counted(url)) continue
          for (const { ranges } of functions) {
            for (const { count, endOffset, startOffset } of ranges) {
              if (count > 0) places.add(`${scriptId}:${startOffset}-${endOffset}:${Math.floor(Math.log2(count))}`)
            }
          }
        }
      })
      return places
    },
    stop: () => session.disconnect()
  }
}
