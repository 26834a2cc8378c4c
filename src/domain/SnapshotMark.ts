/** The user property that marks a snapshot as ours. */
export const property = "zipper:run"

/** What our user property says: who took the snapshot, and of what. */
export interface SnapshotMark {
  readonly host: string
  readonly pid: number
  /** When that process started, in the words of its system: tells a process from a later one with the same pid. */
  readonly start: string
  readonly run: string
  readonly job: string
  /** SourceLayout.fingerprint. */
  readonly layout: string
}

/** `host=nas,pid=1234,start=…,run=…,job=…,layout=…`, values percent-encoded. */
export const encode = (mark: SnapshotMark): string =>
  [
    ["host", mark.host],
    ["pid", String(mark.pid)],
    ["start", mark.start],
    ["run", mark.run],
    ["job", mark.job],
    ["layout", mark.layout]
  ]
    .map(([key, value]) => `${key}=${encodeURIComponent(value ?? "")}`)
    .join(",")

/** Undefined when it is not one that {@link encode} gives. */
export const decode = (text: string): SnapshotMark | undefined => {
  const match =
    /^host=([^,=]*),pid=(\d{1,10}),start=([^,=]*),run=([^,=]*),job=([^,=]*),layout=([^,=]*)$/.exec(text)
  if (match === null) return undefined
  try {
    const [host = "", pid = "", start = "", run = "", job = "", layout = ""] = match
      .slice(1)
      .map((value) => decodeURIComponent(value))
    return { host, pid: Number(pid), start, run, job, layout }
  } catch {
    return undefined
  }
}
