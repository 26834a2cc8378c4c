// What the build sets. Run from source there are no worker threads, and no charts in the page of the report.

/** From package.json. */
export const version = process.env.ZIPPER_VERSION ?? "0.0.0-source"

export const workerProgram: string | undefined = process.env.ZIPPER_WORKER

export const pageScript: string | undefined = process.env.ZIPPER_PAGE_SCRIPT
export const pageStyle: string = process.env.ZIPPER_PAGE_STYLE ?? ""

/** Why a node of this version cannot run the program; undefined when it can. The versions of `engines` in package.json. */
export const nodeProblem = (running: string): string | undefined => {
  const [major = 0, minor = 0] = running.split(".").map(Number)
  const isNewEnough = major === 20 ? minor >= 15 : major > 22 || (major === 22 && minor >= 2)
  return isNewEnough ? undefined : `zipper needs node 20.15 or newer (or 22.2 or newer); this is ${running}`
}
