import { createHash } from "node:crypto"
import type { PageParts } from "../report/Page.ts"

// What the page holds beside its text, set by the build. Run from source there is none: tables without charts.
const script: string | undefined = process.env.ZIPPER_PAGE_SCRIPT
const style: string = process.env.ZIPPER_PAGE_STYLE ?? ""

const sourceOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/**
 * The page's own program and style sheet, and a policy under which a browser runs these two by their digests, and no other: not
 * what a name of a file might smuggle in, and nothing from the network.
 */
export const pageParts = (): PageParts => ({
  script,
  style,
  policy: [
    "default-src 'none'",
    `script-src ${script === undefined ? "'none'" : sourceOf(script)}`,
    `style-src ${sourceOf(style)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'"
  ].join("; ")
})

/** Set by the build, from package.json. */
export const version = process.env.ZIPPER_VERSION ?? "0.0.0-source"

/** What worker threads run, as a text: set by the build. Run from source there is none, and no threads. */
export const workerProgram: string | undefined = process.env.ZIPPER_WORKER
