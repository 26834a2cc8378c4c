/**
 * Runs jobs, each of which may push more, `width` at once, until none is left. After a failure no job is
 * begun; the first failure is thrown when those under way have ended.
 */
export const runPool = <J>(
  first: J,
  width: number,
  work: (job: J, push: (job: J) => void) => Promise<void>
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
        const job = waiting.pop()
        if (job === undefined) break
        active += 1
        work(job, push).then(ended, (cause: unknown) => {
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
