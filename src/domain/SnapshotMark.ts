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
  /** Where the job's archives go; marks of older versions come without. */
  readonly target?: string | undefined
}

/** Of a longer path nothing is said: the value of a property has a limit of 8 KiB. */
const longestTarget = 4000

/** `host=nas,pid=1234,start=…,run=…,job=…,layout=…,target=…`, values percent-encoded. */
export const encode = (mark: SnapshotMark): string =>
  [
    ["host", mark.host],
    ["pid", String(mark.pid)],
    ["start", mark.start],
    ["run", mark.run],
    ["job", mark.job],
    ["layout", mark.layout],
    ...(mark.target === undefined || encodeURIComponent(mark.target).length > longestTarget
      ? []
      : [["target", mark.target]])
  ]
    .map(([key, value]) => `${key}=${encodeURIComponent(value ?? "")}`)
    .join(",")

/** Undefined when it is not one that {@link encode} gives. */
export const decode = (text: string): SnapshotMark | undefined => {
  const match =
    /^host=([^,=]*),pid=(\d{1,10}),start=([^,=]*),run=([^,=]*),job=([^,=]*),layout=([^,=]*)(?:,target=([^,=]*))?$/.exec(
      text
    )
  if (match === null) return undefined
  try {
    const [host = "", pid = "", start = "", run = "", job = "", layout = ""] = match
      .slice(1, 7)
      .map((value) => decodeURIComponent(value))
    const target = match[7] === undefined ? {} : { target: decodeURIComponent(match[7]) }
    return { host, pid: Number(pid), start, run, job, layout, ...target }
  } catch {
    return undefined
  }
}
