import type { Announcement } from "../notify/Notifier.ts"
import { count } from "../text/Text.ts"
import type { Recovered } from "./Alerts.ts"
import { type RunSummary, totals } from "./ArchiveResult.ts"
import type { PruneSummary } from "./PruneResult.ts"
import * as Prune from "./PruneResult.ts"
import type { ReplicationSummary } from "./ReplicationResult.ts"
import * as Replication from "./ReplicationResult.ts"
import type { VerifySummary } from "./VerifyResult.ts"
import * as Verify from "./VerifyResult.ts"

/** When somebody is told. */
export type NotifyOn = "failure" | "success" | "recovery"

/** At most this many folders or datasets are named in one message. */
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
    const lines = listed(failures.map(({ error, folder }) => ({ name: folder, error })))
    return {
      title: `zipper: ${summary.failed} of ${summary.results.length} folders failed on ${host}`,
      message: [...lines, "", totals(summary), `run ${summary.run}, ${plain(summary.source)}`].join("\n")
    }
  }
  if (!notifyOn.includes("success")) return undefined
  return {
    title: `zipper: all well on ${host}`,
    message: [totals(summary), `run ${summary.run}, ${plain(summary.source)}`].join("\n")
  }
}

/** What to tell of folders or datasets that work again, and of a job that can begin again: one message for all. */
export const ofRecovery = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  options: {
    readonly run: string
    readonly recovered: Recovered | undefined
    readonly noun: "folder" | "dataset" | "replica" | "archive"
    /** Of a replication. */
    readonly job?: string
  }
): Announcement | undefined => {
  if (!notifyOn.includes("recovery") || options.recovered === undefined) return undefined
  const { job: name, noun, run } = options
  const { items, job } = options.recovered
  const what = [
    ...(job === undefined ? [] : ["the job works again"]),
    ...(items.length === 0 ? [] : [`${count(items.length, noun)} recovered`])
  ]
  const lines = items.slice(0, named).map((item) => {
    const before =
      "failing" in item
        ? `it failed since ${item.failing}`
        : item.since === undefined
          ? "it never worked before"
          : `the last time before was ${item.since}`
    return `- **${plain(item.name)}** ${noun === "archive" ? "is good" : "works"} again; ${before}`
  })
  return {
    title: `zipper: ${name === undefined ? "" : `${name}: `}${what.join(", ")} on ${host}`,
    message: [
      ...(job === undefined ? [] : [`No run could begin since ${job.since}; now they do again.`, ""]),
      ...lines,
      ...(items.length > named ? [`- and ${items.length - named} more`] : []),
      ...(items.length > 0 ? [""] : []),
      `run ${run}`
    ].join("\n")
  }
}

/** What failed in a run and what it came to, as plain text: for a service that is pinged. */
export const reportOf = (summary: RunSummary): string =>
  [
    ...summary.results.flatMap((result) =>
      result._tag === "Failed" ? [`${result.folder}: ${result.error}`] : []
    ),
    totals(summary)
  ].join("\n")

/** The same of a replication. */
export const replicationReportOf = (summary: ReplicationSummary): string =>
  [
    ...summary.results.flatMap((result) =>
      result._tag === "Failed" || result._tag === "Refused"
        ? [`${result.dataset}: ${Replication.describe(result)}`]
        : []
    ),
    Replication.totals(summary)
  ].join("\n")

/** What to tell about a run that could not do its work at all. */
export const ofFailure = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  failure: {
    readonly run: string
    readonly message: string
    readonly what: "archived" | "replicated" | "pruned" | "verified"
  }
): Announcement | undefined =>
  notifyOn.includes("failure")
    ? {
        title: `zipper: nothing was ${failure.what} on ${host}`,
        message: `${plain(failure.message)}\n\nrun ${failure.run}`
      }
    : undefined

/** What to tell about a run that was killed, as the one after it found. */
export const ofKilled = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  { message, run }: { readonly run: string; readonly message: string }
): Announcement | undefined =>
  notifyOn.includes("failure")
    ? { title: `zipper: a run was killed on ${host}`, message: `${plain(message)}\n\nfound by run ${run}` }
    : undefined

/** What to tell about a replication that came to its end. */
export const ofReplication = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  summary: ReplicationSummary
): Announcement | undefined => {
  const end = [Replication.totals(summary), `run ${summary.run}, job ${plain(summary.job)}`]
  const bad = summary.results.filter((result) => result._tag === "Failed" || result._tag === "Refused")
  if (bad.length === 0) {
    if (!notifyOn.includes("success")) return undefined
    const looks = remarksOf(summary)
    return {
      title: `zipper: ${summary.job}: ${looks.length === 0 ? "all well" : "done, with remarks"} on ${host}`,
      message: [...looks, ...(looks.length === 0 ? [] : [""]), ...end].join("\n")
    }
  }
  const lines = listed(
    bad.map((result) => ({ name: plain(result.dataset), error: Replication.describe(result) }))
  )
  return notifyOn.includes("failure")
    ? {
        title: `zipper: ${summary.job}: ${bad.length} of ${summary.results.length} datasets were not replicated on ${host}`,
        message: [...lines, "", ...end].join("\n")
      }
    : undefined
}

/** What keeps a run that went well from being all well. */
const remarksOf = ({ remarks, results }: ReplicationSummary): ReadonlyArray<string> => {
  const bare = results.filter(({ _tag }) => _tag === "NothingToSend")
  return [
    ...listed(bare.map((result) => ({ name: plain(result.dataset), error: Replication.describe(result) }))),
    ...remarks.slice(0, named).map((text) => `- ${plain(text)}`),
    ...(remarks.length > named ? [`- and ${remarks.length - named} more`] : [])
  ]
}

/** What to tell about a prune that came to its end. */
export const ofPrune = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  summary: PruneSummary
): Announcement | undefined => {
  const end = [Prune.totals(summary), `run ${summary.run}, job ${plain(summary.job)}`]
  if (summary.failed === 0 && summary.notFound === 0) {
    return notifyOn.includes("success")
      ? { title: `zipper: ${summary.job}: pruned on ${host}`, message: end.join("\n") }
      : undefined
  }
  const lines = listed(
    summary.results.flatMap((result) => {
      if (result._tag === "NotFound") return [{ name: plain(result.dataset), error: result.error }]
      return result._tag === "Pruned"
        ? result.failed.map(({ error, snapshot }) => ({ name: plain(`${result.target}@${snapshot}`), error }))
        : []
    })
  )
  const what = [
    ...(summary.notFound > 0 ? [`${count(summary.notFound, "dataset")} not found`] : []),
    ...(summary.failed > 0 ? [`${count(summary.failed, "snapshot")} could not be destroyed`] : [])
  ]
  return notifyOn.includes("failure")
    ? {
        title: `zipper: ${summary.job}: ${what.join(", ")} on ${host}`,
        message: [...lines, "", ...end].join("\n")
      }
    : undefined
}

/** What to tell about archives that were read back. */
export const ofVerify = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  { run, summary }: { readonly run: string; readonly summary: VerifySummary }
): Announcement | undefined => {
  const end = [Verify.totals(summary), `run ${run}`]
  const bad = Verify.failuresOf(summary)
  if (bad.length === 0) {
    return notifyOn.includes("success")
      ? { title: `zipper: all archives are good on ${host}`, message: end.join("\n") }
      : undefined
  }
  const lines = listed(bad.map(({ name, reason }) => ({ name: plain(name), error: reason })))
  return notifyOn.includes("failure")
    ? {
        title: `zipper: ${bad.length} of ${count(summary.verdicts.length, "archive")} ${bad.length === 1 ? "is" : "are"} not good on ${host}`,
        message: [...lines, "", ...end].join("\n")
      }
    : undefined
}

const listed = (
  failures: ReadonlyArray<{ readonly name: string; readonly error: string }>
): ReadonlyArray<string> => [
  ...failures.slice(0, named).map(({ error, name }) => `- **${name}**: ${plain(error)}`),
  ...(failures.length > named ? [`- and ${failures.length - named} more`] : [])
]

// File names come from strangers: they must not become Markdown.
const plain = (text: string): string => text.replace(/[\\`*_[\]<>#|]/g, "\\$&")
