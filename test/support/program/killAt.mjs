// Loaded before the program (node --import): ends it with SIGKILL just before its Nth change below the folder KILL_BELOW.
// With KILL_COUNT, a file, it only counts, and writes the names of the operations there.
import { writeFileSync } from "node:fs"
import fs from "node:fs/promises"

const below = process.env.KILL_BELOW ?? "/nowhere"
const last = Number(process.env.KILL_AT ?? 0)
const seen = []

const step = (name, path) => {
  if (!String(path).startsWith(below)) return
  seen.push(`${name} ${path}`)
  if (process.env.KILL_COUNT !== undefined) writeFileSync(process.env.KILL_COUNT, seen.join("\n"))
  if (seen.length === last) process.kill(process.pid, "SIGKILL")
}

// The name that a change is about: what a rename or a link gives.
for (const [name, at] of Object.entries({ rename: 1, link: 1, unlink: 0, mkdir: 0, rmdir: 0 })) {
  const real = fs[name]
  fs[name] = (...given) => {
    step(name, given[at])
    return real(...given)
  }
}

const open = fs.open
fs.open = async (path, flags, ...rest) => {
  const writes = typeof flags === "number" ? (flags & 3) !== 0 : /[wa+]/.test(flags ?? "r")
  if (writes) step("open", path)
  const file = await open(path, flags, ...rest)
  if (writes || String(path).startsWith(below)) {
    const sync = file.sync.bind(file)
    file.sync = () => {
      step("sync", path)
      return sync()
    }
  }
  return file
}
