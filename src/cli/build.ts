// What the build sets. Run from source there are no worker threads, and no charts in the page of the report.

/** From package.json. */
export const version = process.env.ZIPPER_VERSION ?? "0.0.0-source"

export const workerProgram: string | undefined = process.env.ZIPPER_WORKER

export const pageScript: string | undefined = process.env.ZIPPER_PAGE_SCRIPT
export const pageStyle: string = process.env.ZIPPER_PAGE_STYLE ?? ""
