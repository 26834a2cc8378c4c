import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Notification } from "../notify/Notifier.ts"
import { namesOf } from "../store/PublishedArchive.ts"
import { count, firstNames } from "../text/Text.ts"
import * as Archive from "./ArchiveResult.ts"
import type { JobMessages } from "./Messages.ts"
import * as Prune from "./PruneResult.ts"
import * as Replication from "./ReplicationResult.ts"
import * as Replicas from "./VerifyReplicasResult.ts"
import * as Verify from "./VerifyResult.ts"

/** What messages say. A text is undefined where `notify_on` does not ask for it. Messages.ts sends them, Alerts.ts decides when. */

export type NotifyOn = "failure" | "success" | "recovery"

/** Which messages a job sends, and what they name. */
export interface MessageOptions {
  /** Id of the run, as in the log. */
  readonly run: string
  readonly host: string
  readonly notify_on: ReadonlyArray<NotifyOn>
  /** After so many hours a failure that lasts is reported again. */
  readonly reminder_hours: number
}

type Options = Omit<MessageOptions, "reminder_hours">

/** At most this many folders or datasets are named in one message. */
const named = 20

/** Names of what fails when no folder does. A folder that is called so shares the reminders. */
const ofTarget = "snapshots of the target"
const ofNames = "names of folders"
const hookAfter = "hook after"

/** The messages of the archive job. `whole`: the run is of all folders. */
export const archiveMessages = (options: Options, whole: boolean): JobMessages<Archive.RunSummary> =>
  messagesOf(options, {
    noun: "folder",
    done: "archived",
    documentOf: archiveDocument,
    failing: ({ folders, hook_error, not_archived = [], target_snapshots }) => [
      ...folders.flatMap((result) =>
        result.result === "failed" ? [{ name: result.folder, reason: result.error }] : []
      ),
      ...(not_archived.length === 0 ? [] : [{ name: ofNames, reason: firstNames(not_archived, 5) }]),
      ...(target_snapshots?.error === undefined ? [] : [{ name: ofTarget, reason: target_snapshots.error }]),
      ...(hook_error === undefined ? [] : [{ name: hookAfter, reason: hook_error.replace(`${hookAfter}: `, "") }])
    ],
    // A folder that a whole run does not name is no longer in the source.
    covers: ({ folders }, name) =>
      whole || name === ofTarget || name === hookAfter || folders.some(({ folder }) => folder === name),
    failed: ({ failed, folders, not_archived = [], target_snapshots }) => {
      if (failed > 0) return `${failed} of ${folders.length} folders failed`
      if (not_archived.length > 0) return `${count(not_archived.length, "folder")} cannot be archived`
      return target_snapshots?.error === undefined
        ? `the ${hookAfter} failed`
        : "archived, but snapshots of the target failed"
    },
    succeeded: ({ folders }) => (whole ? "all well" : `all well with ${count(folders.length, "chosen folder")}`),
    totals: Archive.totals,
    ending: ({ source }) => `, ${plain(source)}`
  })

/** Undefined where the summary does not fit the schema: a message goes without it. */
const encoded = <A, I>(schema: Schema.Schema<A, I>, document: NoInfer<A>): I | undefined =>
  Option.getOrUndefined(Schema.encodeOption(schema)(document))

/** What a run that was none for show prints with `--json`. */
export const archiveDocument = (summary: Archive.RunSummary): unknown =>
  encoded(Archive.RunDocument, { ...summary, dry_run: false })

export const replicationMessages = (options: Options, job: string): JobMessages<Replication.ReplicationSummary> => {
  const failing = ({ datasets }: Replication.ReplicationSummary) =>
    datasets.flatMap((result) =>
      result.result === "failed" || result.result === "refused"
        ? [{ name: result.dataset, reason: Replication.describe(result) }]
        : []
    )
  return messagesOf(options, {
    job,
    noun: "dataset",
    done: "replicated",
    documentOf: (summary) => encoded(Replication.ReplicationDocument, { ...summary, dry_run: false }),
    failing,
    failed: (summary) => `${failing(summary).length} of ${summary.datasets.length} datasets were not replicated`,
    succeeded: (summary) => (remarksOf(summary).length === 0 ? "all well" : "done, with remarks"),
    remarks: remarksOf,
    totals: Replication.totals
  })
}

/** What needs attention after a run in which nothing failed. */
const remarksOf = ({ datasets, remarks }: Replication.ReplicationSummary): ReadonlyArray<string> => {
  const bare = datasets.filter(({ result }) => result === "nothing_to_send")
  return [
    ...listed(bare.map((result) => ({ name: result.dataset, reason: Replication.describe(result) }))),
    ...atMost(remarks.map((text) => `- ${plain(text)}`))
  ]
}

export const pruneMessages = (options: Options, job: string): JobMessages<Prune.PruneDocument> =>
  messagesOf(options, {
    job,
    noun: "replica",
    done: "pruned",
    documentOf: (summary) => encoded(Prune.PruneDocument, summary),
    // By replica: the snapshots that are due differ from run to run.
    failing: ({ replicas }) =>
      replicas.flatMap((result) => {
        const [first] = failuresOf(result)
        if (first === undefined) return []
        return [{ name: result.result === "failed" ? result.target : first.name, reason: first.reason }]
      }),
    listed: ({ replicas }) => replicas.flatMap(failuresOf),
    failed: ({ failed, not_found }) =>
      [
        ...(not_found > 0 ? [`${count(not_found, "dataset")} not found`] : []),
        ...(failed > 0 ? [`${count(failed, "snapshot")} could not be destroyed`] : [])
      ].join(", "),
    succeeded: () => "pruned",
    totals: Prune.totals
  })

const failuresOf = (result: Prune.ReplicaResult): ReadonlyArray<Failure> => {
  if (result.result === "not_found") return [{ name: result.dataset, reason: result.error }]
  if (result.result !== "failed") return []
  return (result.failed ?? []).map(({ error, snapshot }) => ({ name: `${result.target}@${snapshot}`, reason: error }))
}

/** The messages of a verify. `whole`: of all folders. */
export const verifyMessages = (options: Options, whole: boolean): JobMessages<Verify.VerifySummary> => {
  const messages = messagesOf<Verify.VerifySummary>(options, {
    noun: "archive",
    done: "verified",
    documentOf: (summary) => encoded(Verify.VerifyDocument, summary),
    failing: Verify.failuresOf,
    covers: ({ folders, left = [], which }, name) =>
      whole
        ? name === Verify.unreadRecords ||
          (name.endsWith(".prev.zip") === (which === "previous") &&
            !left.some((folder) => namesOf(folder, which).zip === name))
        : folders.some(({ folder }) => namesOf(folder, which).zip === name),
    failed: (summary) => {
      const bad = Verify.failuresOf({ ...summary, unread: [] }).length
      if (bad === 0) return "not all that was published is known"
      return `${bad} of ${count(summary.folders.length, "archive")} ${bad === 1 ? "is" : "are"} not good`
    },
    succeeded: ({ folders, left = [], which }) => {
      if (!whole) return `${count(folders.length, "chosen archive")} ${folders.length === 1 ? "is" : "are"} good`
      const all = which === "previous" ? "all previous archives" : "all archives"
      return `${all}${left.length === 0 ? "" : " that were due"} are good`
    },
    totals: Verify.totals
  })
  // A call that found nothing due has no news.
  const hasNews = (summary: Verify.VerifySummary) => summary.folders.length > 0 || messages.failing(summary).length > 0
  return { ...messages, ofSummary: (summary) => (hasNews(summary) ? messages.ofSummary(summary) : undefined) }
}

/** The messages of a verification of a job's replicas. */
export const verifyReplicasMessages = (options: Options, job: string): JobMessages<Replicas.VerifyReplicasDocument> =>
  messagesOf(options, {
    job,
    noun: "replica",
    done: "verified",
    documentOf: (summary) => encoded(Replicas.VerifyReplicasDocument, summary),
    failing: Replicas.failuresOf,
    failed: ({ bad, pools, replicas, source_error }) => {
      if (bad > 0) return `${bad} of ${count(replicas.length, "replica")} ${bad === 1 ? "is" : "are"} not good`
      const [sick] = pools.filter(({ findings }) => findings.length > 0)
      return source_error === undefined && sick ? `the pool ${sick.pool} has errors` : "the source could not be asked"
    },
    succeeded: () => "all replicas are good",
    remarks: ({ pools }) => pools.flatMap(({ remark }) => (remark === undefined ? [] : [`- ${plain(remark)}`])),
    totals: Replicas.totals
  })

type Failure = ReturnType<JobMessages<unknown>["failing"]>[number]

interface Texts<A> extends Pick<JobMessages<A>, "failing" | "documentOf"> {
  /** Left out: all names. */
  readonly covers?: JobMessages<A>["covers"]
  readonly noun: "folder" | "dataset" | "replica" | "archive"
  readonly done: "archived" | "replicated" | "pruned" | "verified"
  readonly job?: string
  /** What a message lists, if that is more than what fails. */
  readonly listed?: (summary: A) => ReadonlyArray<Failure>
  readonly failed: (summary: A) => string
  readonly succeeded: (summary: A) => string
  readonly remarks?: (summary: A) => ReadonlyArray<string>
  readonly totals: (summary: A) => string
  /** Follows the id of the run; left out: the name of the job, if it has one. */
  readonly ending?: (summary: A) => string
}

const messagesOf = <A>({ host, notify_on, run }: Options, texts: Texts<A>): JobMessages<A> => {
  const message = (kind: NotifyOn, what: string, lines: ReadonlyArray<string>): Notification | undefined =>
    notify_on.includes(kind) ? { title: `zipper: ${what} on ${host}`, message: lines.join("\n") } : undefined
  const ofJob = texts.job === undefined ? "" : `${texts.job}: `
  const byJob = texts.job === undefined ? "" : `, job ${plain(texts.job)}`
  const { covers = () => true, documentOf, ending = () => byJob, failing, noun } = texts
  return {
    failing,
    covers,
    documentOf,
    reportOf: (summary) =>
      [...failing(summary).map(({ name, reason }) => `${name}: ${reason}`), texts.totals(summary)].join("\n"),
    ofFailure: (error) => message("failure", `${ofJob}nothing was ${texts.done}`, [plain(error), "", `run ${run}`]),
    ofKilled: (error) => message("failure", `${ofJob}a run was killed`, [plain(error), "", `found by run ${run}`]),
    ofSummary: (summary) => {
      const bad = failing(summary).length > 0
      const lines = bad ? listed((texts.listed ?? failing)(summary)) : (texts.remarks?.(summary) ?? [])
      const end = [texts.totals(summary), `run ${run}${ending(summary)}`]
      return message(bad ? "failure" : "success", ofJob + (bad ? texts.failed : texts.succeeded)(summary), [
        ...lines,
        ...(lines.length > 0 ? [""] : []),
        ...end
      ])
    },
    // One message about all items that work again, and about a job whose runs can begin again.
    ofRecovery: ({ items, job }) => {
      const what = [
        ...(job === undefined ? [] : ["the job works again"]),
        ...(items.length === 0 ? [] : [`${count(items.length, noun)} recovered`])
      ]
      const lines = items.map(
        ({ before, name }) => `- **${plain(name)}** ${texts.done === "verified" ? "is good" : "works"} again; ${before}`
      )
      return message("recovery", ofJob + what.join(", "), [
        ...(job === undefined ? [] : [`No run could begin since ${job.since}; now they do again.`, ""]),
        ...atMost(lines),
        ...(items.length > 0 ? [""] : []),
        `run ${run}`
      ])
    }
  }
}

const listed = (failures: ReadonlyArray<Failure>): ReadonlyArray<string> =>
  atMost(failures.map(({ name, reason }) => `- **${plain(name)}**: ${plain(reason)}`))

const atMost = (lines: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...lines.slice(0, named),
  ...(lines.length > named ? [`- and ${lines.length - named} more`] : [])
]

/** The text of a message for readers that know no Markdown. */
export const withoutMarkdown = (message: string): string =>
  message.replace(/\*\*|\\([\\`*_[\]<>#|])/g, (_, escaped: string | undefined) => escaped ?? "")

// File names may hold Markdown.
const plain = (text: string): string => text.replace(/[\\`*_[\]<>#|]/g, "\\$&")
