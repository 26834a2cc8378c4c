/** Which job it is, among those of one configuration. */
export type JobKey = { readonly kind: "archive" } | { readonly kind: "replication"; readonly name: string }

export const archiveKey: JobKey = { kind: "archive" }

/**
 * What a job's files are called: `archive`, or `replication-NAME`. Names of jobs are made of letters, digits and `_ . -`
 * (ReplicationJob), so that no two jobs share one.
 */
export const fileNameOf = (key: JobKey): string =>
  key.kind === "archive" ? "archive" : `replication-${key.name}`

/** What a job is called among the others; a replication that is called like the archive job says which it is. */
export const labelOf = (key: JobKey): string =>
  key.kind === "archive" ? "archive" : key.name === "archive" ? "replication-archive" : key.name
