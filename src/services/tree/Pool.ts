/**
 * Runs jobs, each of which may push more, `width` times some of them at once, until none is left: as many
 * together as are shared out fairly, and at most `most`. After a failure no job is begun; the first failure is
 * thrown when those under way have ended.
 */
export const runPool = <J>(
  { first, most, width }: { readonly first: J; readonly most: number; readonly width: number },
  work: (jobs: ReadonlyArray<J>, push: (job: J) => void) => Promise<void>
): Promise<void> =>
  new Promise((resolve, reject) => {
    // Last in, first out: the tree is walked into the depth, which keeps the list short.
    const waiting: Array<J> = [first]
    let active = 0
    let failure: { readonly cause: unknown } | undefined
    const push = (job: J) => {
      waiting.push(job)
    }
    const ended = () => {
      active -= 1
      next()
    }
    const next = () => {
      while (failure === undefined && active < width) {
        const share = Math.min(most, Math.ceil(waiting.length / width))
        if (share === 0) break
        active += 1
        work(waiting.splice(-share), push).then(ended, (cause: unknown) => {
          failure ??= { cause }
          ended()
        })
      }
      if (active > 0) return
      if (failure === undefined) resolve()
      else reject(failure.cause)
    }
    next()
  })
