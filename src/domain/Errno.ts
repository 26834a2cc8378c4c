/**
 * Errors of the operating system: which of them a later try can mend. A full disk or a missing permission is
 * still there a second later, so trying again only delays the message.
 */
const transientCodes: ReadonlySet<string> = new Set([
  "EAGAIN",
  "EBUSY",
  "EINTR",
  "EIO",
  "EMFILE",
  "ENFILE",
  "ENOMEM",
  "ESTALE",
  "ETIMEDOUT",
  "ECONNRESET",
  "ECONNREFUSED",
  "EPIPE"
])

/** The errno name ("ENOSPC") of an error thrown by node, if it carries one. */
export const codeOf = (cause: unknown): string | undefined =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : undefined

/** Whether the same operation may succeed when it is tried again. */
export const isTransientCode = (code: string | undefined): boolean =>
  code !== undefined && transientCodes.has(code)

/**
 * Whether it is about who asks, and not about what is asked for: the rights or the resources of this process. Nothing is known then
 * of what lies there.
 */
export const isAboutUs = (code: string | undefined): boolean =>
  code !== undefined && ["EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM"].includes(code)

const meanings: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EISDIR: "is a directory",
  EEXIST: "already exists",
  ENOSPC: "no space left on the device",
  EDQUOT: "quota exceeded",
  EROFS: "read-only file system",
  EIO: "input/output error",
  EMFILE:
    "too many open files for this process: raise its limit (ulimit -n), or lower compression.threads and max_workers",
  ENFILE: "too many open files in the system",
  ELOOP: "is a symbolic link, or too many of them",
  EXDEV: "crosses file systems",
  EBUSY: "device or resource busy",
  ENAMETOOLONG: "name too long",
  ENXIO: "is a fifo that nobody reads, a socket, or a device that is not there"
}

/** The errno in words a person knows: "permission denied (EACCES)". */
export const explain = (cause: unknown): string => {
  const code = codeOf(cause)
  const words = code === undefined ? undefined : meanings[code]
  if (words !== undefined) return `${words} (${code})`
  return cause instanceof Error ? cause.message : String(cause)
}

/** What to do about an error of writing, to go after its message: "; free some space or raise the quota". */
export const adviceOnWriting = (code: string | undefined): string => {
  switch (code) {
    case "EACCES":
      return "; give the user that runs this job permission, or run it as its owner"
    case "EPERM":
      return "; run it as its owner; if root is refused as well, that or its folder is immutable (see lsattr, or ls -lo on FreeBSD)"
    case "EROFS":
      return "; remount it writable (zfs: readonly=off)"
    case "ENOSPC":
    case "EDQUOT":
      return "; free some space or raise the quota"
    default:
      return ""
  }
}
