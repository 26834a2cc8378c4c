import { constants } from "node:os"
import { getSystemErrorMap } from "node:util"
import { platform } from "./Platform.ts"

/** The errno name ("ENOSPC") of an error of node's, or another code of node's own ("ERR_OUT_OF_RANGE"), if it has one. */
export const codeOf = (cause: unknown): string | undefined => {
  if (typeof cause !== "object" || cause === null || !("code" in cause) || typeof cause.code !== "string")
    return undefined
  if (!cause.code.startsWith(unknownToNode)) return cause.code
  const number = "errno" in cause ? Number(cause.errno) : Number(/-?\d+$/.exec(cause.code)?.[0])
  return Number.isInteger(number) ? nameOf(number) : cause.code
}

const unknownToNode = "Unknown system error"

const nameOf = (errno: number): string => {
  const number = Math.abs(errno)
  const [known] = getSystemErrorMap().get(-number) ?? []
  return known ?? named.get(number) ?? platform.errors[number] ?? `errno ${number}`
}

const named: ReadonlyMap<number, string> = new Map(
  // The first name of a number stays, as in node's own errors: EAGAIN, not EWOULDBLOCK.
  Object.entries(constants.errno)
    .map(([name, number]) => [number, name] as const)
    .reverse()
)

/** What `read` gives, or `otherwise` where it throws, as for a file that is missing or closed to this process. */
export const valueOr = <A, B>(read: () => A, otherwise: B): A | B => {
  try {
    return read()
  } catch {
    return otherwise
  }
}

const anyOf = (codes: string) => {
  const all: ReadonlySet<string> = new Set(codes.split(" "))
  return (code: string | undefined): boolean => code !== undefined && all.has(code)
}

/** Whether the same operation may succeed when it is tried again. A full disk or a missing permission is still there then. */
export const isTransientCode = anyOf(
  "EAGAIN EBUSY EINTR EIO EMFILE ENFILE ENOMEM ENOBUFS ENOLCK ESTALE EREMOTEIO ETIMEDOUT EHOSTDOWN EHOSTUNREACH " +
    "ENETDOWN ENETUNREACH ENETRESET ENOTCONN ECONNABORTED ECONNRESET ECONNREFUSED EPIPE"
)

/** Whether this process lacks rights. */
export const isDenied = anyOf("EACCES EPERM")

/** Whether this process lacks rights or resources: then nothing is known of the file itself. */
export const isAboutUs = anyOf("EACCES EPERM EMFILE ENFILE ENOMEM")

/** Whether the system reports damage: the file may never be readable again. */
export const isDamage = anyOf("EIO EUCLEAN EFSCORRUPTED EINTEGRITY EBADMSG EBADE EHWPOISON")

/** The error in words: "permission denied (EACCES)". An error without a code keeps its own message. */
export const explain = (cause: unknown): string => {
  const code = codeOf(cause)
  const words = code === undefined ? undefined : (meanings[code] ?? systemWords(code))
  if (words !== undefined) return `${words} (${code})`
  const message = cause instanceof Error ? cause.message : String(cause)
  return message.startsWith(unknownToNode)
    ? `an error that the system has no words for (${code ?? "no code"})`
    : message
}

const systemWords = (code: string): string | undefined => {
  const number = Object.entries(constants.errno).find(([name]) => name === code)?.[1]
  return number === undefined ? undefined : getSystemErrorMap().get(-number)?.[1]
}

/** What to do about an error of writing, to go after its message: "; remount it writable". */
export const adviceOnWriting = (code: string | undefined): string => advice[code ?? ""] ?? ""

/** The same of reading what a run has written. */
export const adviceOnReading = (code: string | undefined): string =>
  isDenied(code) ? "; do this as the user who runs the job" : ""

const advice: Readonly<Record<string, string>> = {
  EACCES: "; give the user that runs this job permission, or run it as its owner",
  EPERM:
    "; run it as its owner; if root is refused as well, that or its folder is immutable (see lsattr, or ls -lo on FreeBSD)",
  EROFS: "; remount it writable (zfs: readonly=off)",
  ENOSPC: "; free some space (or inodes, where df -i shows that none are left) or raise the quota",
  EDQUOT: "; free some space or raise the quota of this user, group, project or dataset",
  EFBIG: "; use a file system that takes larger files"
}

const meanings: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EISDIR: "is a directory",
  EEXIST: "already exists",
  ENOSPC: "no space left on the device",
  EDQUOT: "the quota is used up",
  EROFS: "read-only file system",
  EIO: "input/output error: the disk, its connection or the file system is failing, see dmesg and zpool status",
  EUCLEAN: "the file system is damaged: check it (fsck), see dmesg",
  EFSCORRUPTED: "the file system is damaged: check it (fsck), see dmesg",
  EINTEGRITY: "the file system is damaged: check it (fsck), see dmesg",
  EBADMSG: "damaged data: the file system or the disk is damaged, see dmesg",
  EBADE: "a checksum does not match: the file system or the disk is damaged, see dmesg and zpool status",
  EHWPOISON: "the memory that holds it is broken, see dmesg",
  EREMOTEIO: "input/output error of the remote side or of the device, see dmesg",
  ESTALE: "stale file handle: the server or another mount has replaced or removed it; mount it again if it stays so",
  ENOLCK: "no locks available: the file server does not grant one, or has no more",
  ENOKEY: "the key of the encrypted folder is not loaded",
  EKEYEXPIRED: "the key of the encrypted folder or of the login at the server has expired",
  EKEYREVOKED: "the key of the encrypted folder or of the login at the server was revoked",
  EKEYREJECTED: "the key of the encrypted folder or of the login at the server was rejected",
  ENOMEDIUM: "there is no medium in the drive",
  ENOTCONN: "the file system is not connected to its server or program any more: mount it again",
  EHOSTDOWN: "the file server cannot be reached",
  EHOSTUNREACH: "the host cannot be reached",
  EFBIG: "file too large for the file system, or for the limit of this user (ulimit -f)",
  ENOTSUP: "the file system cannot do that",
  EOPNOTSUPP: "the file system cannot do that",
  ENOSYS: "the file system cannot do that",
  EINVAL: "invalid argument: the file system refuses this name, value or operation",
  EILSEQ: "the file system refuses the name: it is not in the encoding that it wants",
  EOVERFLOW: "a size or a time is larger than this system can tell",
  ERR_OUT_OF_RANGE: "a size or a time is larger than this program can work with",
  ERR_FS_FILE_TOO_LARGE: "the file is larger than this program can read at once",
  EMFILE:
    "too many open files for this process: raise its limit (ulimit -n), or lower compression.threads and max_workers",
  ENFILE: "too many open files in the system",
  ELOOP: "is a symbolic link, or too many of them",
  EXDEV: "crosses file systems",
  EBUSY: "device or resource busy",
  ENAMETOOLONG: "name too long",
  ENXIO: "is a fifo that no process reads, a socket, or a device that is not there"
}
