/** The names that `folders` asks for by default. */
export const fourLetters = /^[A-Z0-9]{4}$/

/** What Disk.stat gives for a folder that is not looked at more closely. */
export const directoryStat = {
  kind: "directory",
  size: 0,
  dev: 1,
  ino: 1,
  nlink: 2,
  uid: 0,
  mode: 0o40755,
  mtimeMs: 0,
  ctimeMs: 0
} as const
