import { constants } from "node:fs"

/**
 * What FreeBSD and Linux do each in a way of its own, one entry a concern. FreeBSD's come from its manual pages and headers;
 * no test has run there. Other differences lie where they belong: cron in check/Crontab.ts, the default configuration in
 * config.
 */
export interface Platform {
  readonly name: string
  /** The tests run there. */
  readonly tested: boolean
  /** The file in which the kernel lists the mounts that this process sees. Elsewhere the program mount prints them. */
  readonly mountList: string | undefined
  /** The folder with a path for each open file of this process, which leads to it wherever its own path leads by now. */
  readonly openFiles: string | undefined
  /** Flags of open that make a lock file, locked where `locksOnOpen`. Not blocking: a fifo in its place must not hang. */
  readonly lockFlags: number
  /** The kernel locks a file while opening it, and refuses with EAGAIN. Elsewhere flock(1) locks it. */
  readonly locksOnOpen: boolean
  /** /proc says when a process started. Elsewhere ps does. */
  readonly startInProc: boolean
  /** Names of errors that neither `os.constants` nor libuv has. */
  readonly errors: Readonly<Record<number, string>>
}

export const platformOf = (name: NodeJS.Platform): Platform =>
  name === "linux" ? linux : { ...bsd, name: name === "freebsd" ? "FreeBSD" : name, ...(bsds.has(name) ? {} : neither) }

const lockFile = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW

const linux: Platform = {
  name: "Linux",
  tested: true,
  mountList: "/proc/self/mountinfo",
  openFiles: "/proc/self/fd",
  lockFlags: lockFile | constants.O_NONBLOCK,
  locksOnOpen: false,
  startInProc: true,
  errors: {
    52: "EBADE",
    85: "ERESTART",
    87: "EUSERS",
    108: "ESHUTDOWN",
    112: "EHOSTDOWN",
    117: "EUCLEAN",
    121: "EREMOTEIO",
    123: "ENOMEDIUM",
    124: "EMEDIUMTYPE",
    126: "ENOKEY",
    127: "EKEYEXPIRED",
    128: "EKEYREVOKED",
    129: "EKEYREJECTED",
    133: "EHWPOISON"
  }
}

/** fcntl.h of FreeBSD and macOS; node has no names for these. */
const O_NONBLOCK = 0x4
const O_EXLOCK = 0x20

const bsds: ReadonlySet<NodeJS.Platform> = new Set(["freebsd", "darwin"])

const bsd: Omit<Platform, "name"> = {
  tested: false,
  mountList: undefined,
  openFiles: undefined,
  lockFlags: lockFile | O_EXLOCK | O_NONBLOCK,
  locksOnOpen: true,
  startInProc: false,
  errors: {
    58: "ESHUTDOWN",
    64: "EHOSTDOWN",
    68: "EUSERS",
    71: "EREMOTE",
    79: "EFTYPE",
    80: "EAUTH",
    97: "EINTEGRITY"
  }
}

/** A system of another family: its flags and numbers are not those of the BSDs. */
const neither: Partial<Platform> = { lockFlags: linux.lockFlags, locksOnOpen: false, errors: {} }

/** The system that this process runs on. */
export const platform = platformOf(process.platform)
