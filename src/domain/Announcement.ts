import { type RunSummary, totals } from "./RunResult.ts"

/** When somebody is told. */
export type NotifyOn = "failure" | "success"

/** A message about a run: title and Markdown. */
export interface Announcement {
  readonly title: string
  readonly message: string
}

/** At most this many folders are named in one message. */
const named = 20

/** What to tell about a run that came to its end; undefined when nobody wants to hear it. */
export const ofSummary = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  summary: RunSummary
): Announcement | undefined => {
  if (summary.failed > 0) {
    if (!notifyOn.includes("failure")) return undefined
    const failures = summary.results.filter((result) => result._tag === "Failed")
    const lines = failures.slice(0, named).map(({ folder, error }) => `- **${folder}**: ${plain(error)}`)
    const more = failures.length > named ? [`- and ${failures.length - named} more`] : []
    return {
      title: `zipper: ${summary.failed} of ${summary.results.length} folders failed on ${host}`,
      message: [...lines, ...more, "", totals(summary), `run ${summary.run}, ${plain(summary.source)}`].join(
        "\n"
      )
    }
  }
  if (!notifyOn.includes("success")) return undefined
  return {
    title: `zipper: all well on ${host}`,
    message: [totals(summary), `run ${summary.run}, ${plain(summary.source)}`].join("\n")
  }
}

/** What to tell about a run that could not do its work at all. */
export const ofFailure = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  failure: { readonly run: string; readonly message: string }
): Announcement | undefined =>
  notifyOn.includes("failure")
    ? {
        title: `zipper: nothing was archived on ${host}`,
        message: `${plain(failure.message)}\n\nrun ${failure.run}`
      }
    : undefined

// File names come from strangers: they must not become Markdown.
const plain = (text: string): string => text.replace(/[\\`*_[\]<>#|]/g, "\\$&")
