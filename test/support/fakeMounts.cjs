// Loaded before the program (node --require): the kernel's list of mounts has the dataset FAKE_DATASET at FAKE_MOUNTPOINT, and its
// snapshots are file systems of their own, as long as their names do not match FAKE_UNMOUNTED. Nothing is changed without FAKE_DATASET.
const promises = require("node:fs/promises")

const { open, readFile } = promises
const list = "/proc/self/mountinfo"
const line = ({ FAKE_DATASET: dataset, FAKE_MOUNTPOINT: mountpoint } = process.env) =>
  dataset === undefined ? "" : `9999 1 0:99 / ${mountpoint} rw - zfs ${dataset} rw\n`
promises.readFile = async (path, ...rest) => {
  const content = await readFile(path, ...rest)
  return path === list ? `${content}${line()}` : content
}

promises.open = async (path, ...rest) => {
  const file = await open(path, ...rest)
  if (line() === "") return file
  if (path === list) {
    const whole = file.readFile.bind(file)
    file.readFile = async () => Buffer.concat([await whole(), Buffer.from(line())])
    return file
  }
  const [, name] = /\/\.zfs\/snapshot\/([^/]+)$/.exec(path.toString("latin1")) ?? []
  if (name === undefined || new RegExp(process.env.FAKE_UNMOUNTED ?? "^$").test(name)) return file
  const stat = file.stat.bind(file)
  file.stat = async (options) => {
    const stats = await stat(options)
    stats.dev += typeof stats.dev === "bigint" ? 1n : 1
    return stats
  }
  return file
}
