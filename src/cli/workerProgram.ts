/** What worker threads run, as a text: set by the build. Run from source there is none, and no threads. */
export const workerProgram: string | undefined = process.env.ZIPPER_WORKER
