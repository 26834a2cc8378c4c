/** A job among those of one configuration. */
export type JobKey = { readonly kind: "archive" } | { readonly kind: "replication"; readonly name: string }

export const archiveJobKey: JobKey = { kind: "archive" }

/** The name of a job's files: `archive`, or `replication-NAME`. The schema keeps names of jobs safe for files. */
export const jobFileName = (key: JobKey): string => (key.kind === "archive" ? "archive" : `replication-${key.name}`)

/** The name of a job in messages; a replication named like the archive job gets a prefix. */
export const jobLabel = (key: JobKey): string =>
  key.kind === "archive" ? "archive" : key.name === "archive" ? "replication-archive" : key.name
