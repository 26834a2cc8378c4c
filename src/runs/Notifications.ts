import type { Notification } from "../notify/Notifier.ts"
import { count } from "../text/Text.ts"
import type { Recovered } from "./Alerts.ts"
import * as Archive from "./ArchiveResult.ts"
import * as Prune from "./PruneResult.ts"
import * as Replication from "./ReplicationResult.ts"
import type { RunMessages } from "./superviseRun.ts"
import * as Verify from "./VerifyResult.ts"

/** The texts of messages. Each is undefined where `notify_on` does not ask for it. */

export type NotifyOn = "failure" | "success" | "recovery"

/** At most this many folders or datasets are named in one message. */
const named = 20

/** The messages of a run of the archive job. */
export const archiveMessages = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  { run, whole }: { readonly run: string; readonly whole: boolean }
): RunMessages<Archive.RunSummary> => ({
  failing: archiveFailures,
  // A folder that a whole run does not name is no longer in the source.
  covers: ({ folders }, name) => whole || folders.some(({ folder }) => folder === name),
  reportOf: (summary) => report(archiveFailures(summary), Archive.totals(summary)),
  ofFailure: (message) => ofFailure(host, notifyOn, { run, message, what: "archived" }),
  ofKilled: (message) => ofKilled(host, notifyOn, { run, message }),
  ofRecovery: (recovered) => ofRecovery(host, notifyOn, { run, recovered, noun: "folder" }),
  ofSummary: (summary) =>
    ofSummary(notifyOn, {
      bad: archiveFailures(summary),
      failed: `zipper: ${summary.failed} of ${summary.folders.length} folders failed on ${host}`,
      succeeded: `zipper: all well on ${host}`,
      end: [Archive.totals(summary), `run ${run}, ${plain(summary.source)}`]
    })
})

const archiveFailures = ({ folders }: Archive.RunSummary) =>
  folders.flatMap((result) => (result.result === "failed" ? [{ name: result.folder, reason: result.error }] : []))

/** The messages of a run of a replication job. */
export const replicationMessages = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  { job, run }: { readonly run: string; readonly job: string }
): RunMessages<Replication.ReplicationSummary> => ({
  failing: replicationFailures,
  covers: () => true,
  reportOf: (summary) => report(replicationFailures(summary), Replication.totals(summary)),
  ofFailure: (message) => ofFailure(host, notifyOn, { run, message, what: "replicated" }),
  ofKilled: (message) => ofKilled(host, notifyOn, { run, message }),
  ofRecovery: (recovered) => ofRecovery(host, notifyOn, { run, recovered, noun: "dataset", job }),
  ofSummary: (summary) => {
    const bad = replicationFailures(summary)
    const remarks = remarksOf(summary)
    return ofSummary(notifyOn, {
      bad: withPlainNames(bad),
      failed: `zipper: ${job}: ${bad.length} of ${summary.datasets.length} datasets were not replicated on ${host}`,
      succeeded: `zipper: ${job}: ${remarks.length === 0 ? "all well" : "done, with remarks"} on ${host}`,
      remarks,
      end: [Replication.totals(summary), `run ${run}, job ${plain(job)}`]
    })
  }
})

const replicationFailures = ({ datasets }: Replication.ReplicationSummary) =>
  datasets.flatMap((result) =>
    result.result === "failed" || result.result === "refused"
      ? [{ name: result.dataset, reason: Replication.describe(result) }]
      : []
  )

/** What needs attention after a run in which nothing failed. */
const remarksOf = ({ datasets, remarks }: Replication.ReplicationSummary): ReadonlyArray<string> => {
  const bare = datasets.filter(({ result }) => result === "nothing_to_send")
  return [
    ...listed(bare.map((result) => ({ name: plain(result.dataset), reason: Replication.describe(result) }))),
    ...atMost(remarks.map((text) => `- ${plain(text)}`))
  ]
}

/** The message of a prune. */
export const ofPrune = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  summary: Prune.PruneDocument
): Notification | undefined => {
  const what = [
    ...(summary.not_found > 0 ? [`${count(summary.not_found, "dataset")} not found`] : []),
    ...(summary.failed > 0 ? [`${count(summary.failed, "snapshot")} could not be destroyed`] : [])
  ]
  return ofSummary(notifyOn, {
    bad: withPlainNames(
      summary.replicas.flatMap((result) => {
        if (result.result === "not_found") return [{ name: result.dataset, reason: result.error }]
        if (result.result !== "failed") return []
        return (result.failed ?? []).map(({ error, snapshot }) => ({
          name: `${result.target}@${snapshot}`,
          reason: error
        }))
      })
    ),
    failed: `zipper: ${summary.job}: ${what.join(", ")} on ${host}`,
    succeeded: `zipper: ${summary.job}: pruned on ${host}`,
    end: [Prune.totals(summary), `run ${summary.run}, job ${plain(summary.job)}`]
  })
}

/** The message of a verify. */
export const ofVerify = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  { run, summary }: { readonly run: string; readonly summary: Verify.VerifySummary }
): Notification | undefined => {
  const bad = Verify.failuresOf(summary)
  return ofSummary(notifyOn, {
    bad: withPlainNames(bad),
    failed: `zipper: ${bad.length} of ${count(summary.folders.length, "archive")} ${bad.length === 1 ? "is" : "are"} not good on ${host}`,
    succeeded: `zipper: all archives are good on ${host}`,
    end: [Verify.totals(summary), `run ${run}`]
  })
}

/** About a run or a command that could not do its work at all. */
export const ofFailure = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  failure: {
    readonly run: string
    readonly message: string
    readonly what: "archived" | "replicated" | "pruned" | "verified"
  }
): Notification | undefined =>
  notifyOn.includes("failure")
    ? {
        title: `zipper: nothing was ${failure.what} on ${host}`,
        message: `${plain(failure.message)}\n\nrun ${failure.run}`
      }
    : undefined

/** About a run that was killed; `run` found its marker. */
const ofKilled = (
  host: string,
  notifyOn: ReadonlyArray<NotifyOn>,
  { message, run }: { readonly run: string; readonly message: string }
): Notification | undefined =>
  notifyOn.includes("failure")
    ? { title: `zipper: a run was killed on ${host}`, message: `${plain(message)}\n\nfound by run ${run}` }
    : undefined

/** One message about all items that work again, and about a job whose runs can begin again. */
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
): Notification | undefined => {
  if (!notifyOn.includes("recovery") || options.recovered === undefined) return undefined
  const { job: name, noun, run } = options
  const { items, job } = options.recovered
  const what = [
    ...(job === undefined ? [] : ["the job works again"]),
    ...(items.length === 0 ? [] : [`${count(items.length, noun)} recovered`])
  ]
  const lines = items.map((item) => {
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
      ...atMost(lines),
      ...(items.length > 0 ? [""] : []),
      `run ${run}`
    ].join("\n")
  }
}

interface Failure {
  readonly name: string
  readonly reason: string
}

/** `bad`, with names that are safe in Markdown: what failed; without it, the message is one of success. */
const ofSummary = (
  notifyOn: ReadonlyArray<NotifyOn>,
  texts: {
    readonly bad: ReadonlyArray<Failure>
    readonly failed: string
    readonly succeeded: string
    readonly remarks?: ReadonlyArray<string>
    readonly end: ReadonlyArray<string>
  }
): Notification | undefined => {
  const { bad, end, remarks = [] } = texts
  const [kind, title, lines] =
    bad.length > 0
      ? (["failure", texts.failed, listed(bad)] as const)
      : (["success", texts.succeeded, remarks] as const)
  if (!notifyOn.includes(kind)) return undefined
  return { title, message: [...lines, ...(lines.length > 0 ? [""] : []), ...end].join("\n") }
}

/** What failed in a run, as plain text: for the ping. */
const report = (failures: ReadonlyArray<Failure>, totals: string): string =>
  [...failures.map(({ name, reason }) => `${name}: ${reason}`), totals].join("\n")

const listed = (failures: ReadonlyArray<Failure>): ReadonlyArray<string> =>
  atMost(failures.map(({ name, reason }) => `- **${name}**: ${plain(reason)}`))

const atMost = (lines: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...lines.slice(0, named),
  ...(lines.length > named ? [`- and ${lines.length - named} more`] : [])
]

const withPlainNames = (failures: ReadonlyArray<Failure>): ReadonlyArray<Failure> =>
  failures.map(({ name, reason }) => ({ name: plain(name), reason }))

// File names may hold Markdown.
const plain = (text: string): string => text.replace(/[\\`*_[\]<>#|]/g, "\\$&")
