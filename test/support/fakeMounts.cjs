// Loaded before the program (node --require): the kernel's list of mounts has the dataset FAKE_DATASET at FAKE_MOUNTPOINT.
const promises = require("node:fs/promises")

const { readFile } = promises
promises.readFile = async (path, ...rest) => {
  const content = await readFile(path, ...rest)
  if (path !== "/proc/self/mountinfo") return content
  return `${content}9999 1 0:99 / ${process.env.FAKE_MOUNTPOINT} rw - zfs ${process.env.FAKE_DATASET} rw\n`
}
