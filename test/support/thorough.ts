/**
 * Whether tests go through all cases, and each command has a process: `.ci/run` sets ZIPPER_TESTS=processes on some versions of
 * node. Otherwise a few of the many cases that are alike have to do, others every time.
 */
export const isThorough = (process.env["ZIPPER_TESTS"] ?? "") !== ""

/** All of these, or so many of them. */
export const sampled = <A>(all: ReadonlyArray<A>, count: number): ReadonlyArray<A> =>
  isThorough ? all : some(all, count)

/** So many of them, others every time. */
export const some = <A>(all: ReadonlyArray<A>, count: number): ReadonlyArray<A> =>
  all
    .map((one) => [Math.random(), one] as const)
    .sort(([a], [b]) => a - b)
    .slice(0, count)
    .map(([, one]) => one)
